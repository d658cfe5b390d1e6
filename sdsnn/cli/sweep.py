"""`sdsnn sweep`: many runs on the workers of a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from .output import console


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    from ..sweep.cluster import connect
    from ..sweep.plan import read_sweep
    from ..sweep.sweep import run_sweep
    from ..sweep.table import rows

    config = read_sweep(file)
    folder = out or Path(config.out or Path("runs") / file.stem)
    stderr = Console(stderr=True)
    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with connect(scheduler, workers or os.cpu_count() or 1) as client:
        stderr.print(f"dashboard: {client.dashboard_link}")
        with Progress(*columns, console=stderr, disable=quiet or not stderr.is_terminal) as bar:
            task = bar.add_task("runs", total=None)
            points = run_sweep(
                config, folder, client, lambda done, total: bar.update(task, completed=done, total=total)
            )
    if as_json:
        typer.echo(json.dumps([point._asdict() for point in points]))
        return
    headings, *cells = rows(points)
    table = Table(
        *headings, title="* no other point is more accurate on validation for fewer operations", title_justify="left"
    )
    for row in cells:
        table.add_row(*row)
    console().print(table)
    typer.echo(
        f"{folder}: {sum(len(point.runs) for point in points)} runs; compare them with sdsnn compare {folder}/*seed*"
    )
