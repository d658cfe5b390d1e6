"""`sdsnn sweep`: many runs on the workers of a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .output import counting_bar, print_table


def sweep(
    file: Annotated[Path, typer.Argument(help="A TOML file: config, seeds, and [grid] or [search].")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs. Default: the file's own key, or runs/<file>.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine. Default: one for each core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler that runs, as tcp://host:8786.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train, export and report at every point of a grid or a search.

    The runs go to the workers of a Dask cluster. Give the same command again to go on after an interruption: finished
    runs are kept, and started ones resume.
    """
    from ..sweep.cluster import connect
    from ..sweep.plan import read_sweep
    from ..sweep.sweep import run_sweep
    from ..sweep.table import rows

    config = read_sweep(file)
    folder = out or Path(config.out or Path("runs") / file.stem)
    with connect(scheduler, workers or os.cpu_count() or 1) as client:
        typer.echo(f"dashboard: {client.dashboard_link}", err=True)
        with counting_bar("runs", quiet) as show:
            points = run_sweep(config, folder, client, show)
    if as_json:
        typer.echo(json.dumps([point._asdict() for point in points]))
        return
    headings, *cells = rows(points)
    title = "* no other point is more accurate on validation for fewer operations"
    print_table(headings, cells, title=title, left=range(len(headings)))
    typer.echo(
        f"{folder}: {sum(len(point.runs) for point in points)} runs; compare them with sdsnn compare {folder}/*seed*"
    )
