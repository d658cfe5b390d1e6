"""`sdsnn compare`: runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .output import print_table


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with a report.json of `sdsnn report`.")],
    prices: Annotated[str, typer.Option("--prices", help="Price list by which energies are compared.")] = "davies2018",
    out: Annotated[Path | None, typer.Option("--out", help="HTML page to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare runs side by side.

    Marks the runs that no other run beats in both accuracy and energy.
    """
    from sdsnn.deploy.energy.prices import price_list_names
    from sdsnn.deploy.report.compare import compare_html, compare_rows, compare_to_json, read_lines
    from sdsnn_core.errors import ConfigError
    from sdsnn_core.files import write_text

    lines = read_lines(runs)
    known = sorted({name for line in lines for name in line.joules} | set(price_list_names()))
    if prices not in known:
        raise ConfigError([f"--prices: expected one of {', '.join(known)}, got {prices}"])
    if out is not None:
        write_text(out, compare_html(lines, prices))
    if as_json:
        typer.echo(json.dumps(compare_to_json(lines, prices)))
        return
    # One row per quantity and one column per run: names and numbers stay whole in a narrow terminal.
    headings, *rows = zip(*compare_rows(lines, prices), strict=True)
    title = "runs; * no other run on the same data is more accurate for less energy"
    print_table(["", *headings[1:]], rows, title=title)
