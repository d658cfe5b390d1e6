"""`python -m sdsnn_core` is the `sdsnn` command."""

from .cli import app

if __name__ == "__main__":
    app(prog_name="sdsnn")
