"""`sdsnn check`: what will not run, or would run differently, on the way to a chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def check(
    path: Annotated[Path, typer.Argument(help="A run folder, a .nir or a .net file.")],
    dt: Annotated[float, typer.Option(help="Seconds per step of a float NIR graph, which NIR does not store.")] = 1e-4,
    writer: Annotated[
        str | None, typer.Option(help="The tool that wrote a float NIR graph, if not recognised: norse, sinabs, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """List what will not run on a chip.

    Also lists what would run differently there or in another tool, each with the remedy, and node by node what
    `sdsnn import` would make of a float NIR graph. Exit status 1 if there are errors.
    """
    from sdsnn.export.check.check import check as examine

    findings = examine(path, dt=dt, writer=writer)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"file": str(path), "errors": errors, "findings": [f.as_dict() for f in findings]}))
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{path}: {errors} errors, {len(findings) - errors} warnings and notes")
    if errors:
        raise typer.Exit(1)
