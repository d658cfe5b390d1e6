"""`sdsnn doctor`: show versions and diagnose the installation."""

from __future__ import annotations

import json
import shutil
from typing import Annotated

import typer

NOT_READY = 1


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")] = False) -> None:
    """Show versions and diagnose the installation.

    For each part that fails, prints what does not work without it and the command that installs it. Parts marked
    'absent' are optional. Exits with status 0 if every required part works, and with 1 otherwise.
    """
    from rich.console import Console

    from ..doctor import diagnosis

    with Console(stderr=True).status("") as status:
        result = diagnosis.examine(status.update)
    width = max(60, shutil.get_terminal_size((120, 0)).columns)
    typer.echo(json.dumps(result.as_dict()) if as_json else result.as_text(width))
    if not result.ready:
        raise typer.Exit(NOT_READY)
