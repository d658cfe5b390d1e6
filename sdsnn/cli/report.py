"""`sdsnn report`: one page and one JSON file about a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of `sdsnn train` and `sdsnn export`.")],
    chip: Annotated[str, typer.Option("--chip", help="Chip for placement and energy.")] = "loihi2",
    samples: Annotated[
        int | None,
        typer.Option(min=0, help="Test samples to record; 0 for none. Default: as many as fit in 256 MiB."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to. Default: the run folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Also print report.json.")] = False,
) -> None:
    """Write report.html and report.json of a run.

    They hold accuracy, structure, activity, placement, energy and the certificate.
    """
    from sdsnn.deploy.report.report import make_report, write_report

    made = make_report(run, chip=chip, samples=samples)
    page, data = write_report(made, out)
    if as_json:
        typer.echo(json.dumps(made.data))
        return
    typer.echo(f"{page} and {data.name}")
    for part, why in made.data["absent"].items():
        typer.echo(f"  missing: {part}: {why}")
