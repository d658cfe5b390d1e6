"""`python -m sdsnn` is the `sdsnn` command."""

from .cli.app import main

if __name__ == "__main__":
    main()
