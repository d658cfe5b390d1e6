"""`sdsnn check`: what will not run, or would run differently, on the way to a chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def check(
    path: Annotated[Path, typer.Argument(help="A run folder, a .nir or a .net file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """List what will not run on a chip.

    Also lists what would run differently there or in another tool, each with the remedy. Exit status 1 if there are
    errors.
    """
    from sdsnn.export.check.check import check as examine

    findings = examine(path)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"file": str(path), "errors": errors, "findings": [f.as_dict() for f in findings]}))
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{path}: {errors} errors, {len(findings) - errors} warnings and notes")
    if errors:
        raise typer.Exit(1)
