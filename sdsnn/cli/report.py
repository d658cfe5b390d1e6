"""`sdsnn report`: one page and one JSON file about a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .drive import BinWidth, DataPath, Rate, Sensor, Steps, Target, options_of


def report(
    network: Annotated[
        Path,
        typer.Argument(help="A run folder, or a .nir or .net file with --data or --rate.", metavar="RUN"),
    ],
    data: DataPath = None,
    rate: Rate = None,
    chip: Annotated[str, typer.Option("--chip", help="Chip for placement and energy.")] = "loihi2",
    samples: Annotated[
        int | None,
        typer.Option(
            min=0, help="Samples to record; 0 for none. Default: as many as fit in 256 MiB, or 16 random ones."
        ),
    ] = None,
    steps: Steps = None,
    bin_width: BinWidth = None,
    sensor: Sensor = None,
    target: Target = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to. Default: the run folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Also print report.json.")] = False,
) -> None:
    """Write report.html and report.json of a run or a network.

    They hold accuracy, structure, activity, placement, energy and the certificate. Of a network alone they are named
    NAME.report.html and NAME.report.json and hold what needs no run.
    """
    from sdsnn.deploy.report.report import make_report, write_report

    from ..zoo.zoo import results_folder

    options = options_of(steps, bin_width, sensor)
    result = make_report(network, chip=chip, samples=samples, data=data, rate=rate, options=options, target=target)
    page, data = write_report(result, out or results_folder(network))
    if as_json:
        typer.echo(json.dumps(result.data))
        return
    typer.echo(f"{page} and {data.name}")
    for part, why in result.data["absent"].items():
        typer.echo(f"  missing: {part}: {why}")
