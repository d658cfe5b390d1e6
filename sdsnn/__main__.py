"""`python -m sdsnn` is the `sdsnn` command."""

from .cli.app import app

if __name__ == "__main__":
    app(prog_name="sdsnn")
