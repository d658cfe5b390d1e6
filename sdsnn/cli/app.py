"""The `sdsnn` command: mounts the commands of the stages and turns user errors into one line and exit status 2.

This is the one module of the core that names the stages; it imports their thin command modules, which import torch,
Lava and the rest only when a command runs.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from sdsnn_core.errors import SdsnnError

from . import commands as deploy_commands
from . import export as export_commands
from . import train as train_commands
from .doctor import doctor

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C stopped


def guarded(command: Callable[..., Any]) -> Callable[..., None]:
    """Wrap a command: an SdsnnError becomes one line on stderr and exit status 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except SdsnnError as error:
            typer.echo(f"sdsnn: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interruption:
            typer.echo(f"sdsnn: {interruption or 'interrupted'}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone (`sdsnn ... | head`); there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return run


app = typer.Typer(
    name="sdsnn",
    help="Train spiking networks whose structure develops, and take what survives to a Loihi-class chip, bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _commands in (train_commands.COMMANDS, export_commands.COMMANDS, deploy_commands.COMMANDS, {"doctor": doctor}):
    for _name, _command in _commands.items():
        app.command(_name)(guarded(_command))


def main() -> None:
    """Run the command line."""
    app()
