"""Commands `place`, `report` and `compare`. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def place(
    network: Annotated[Path, typer.Argument(help="A network in NIR (.nir), or a run folder that holds network.nir.")],
    chip: Annotated[str, typer.Option("--chip", help="Name of a chip (`--chip list` shows them) or a TOML file.")] = (
        "loihi2"
    ),
    unpruned: Annotated[
        list[str] | None,
        typer.Option("--unpruned", metavar="NODE=UNITS", help="Units a population had before pruning."),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE.svg", help="Draw the cores.")] = None,
    advice: Annotated[bool, typer.Option(help="Also place variants: which limit binds, which change saves.")] = True,
    bound: Annotated[bool, typer.Option("--bound", help="Compute a tighter lower bound, which takes longer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Place a network on a chip: cores, memory, the binding limit, and what the unpruned network needs."""
    from rich.console import Console

    from sdsnn.deploy.placement.chip import chip_names, load_chip
    from sdsnn.deploy.placement.explain import explain
    from sdsnn.deploy.placement.text import placement_lines, placement_tables, placement_to_json
    from sdsnn.deploy.placement.whole_chip import whole_chip_lines
    from sdsnn.deploy.report.core_picture import check_picture, save_placement_picture
    from sdsnn.deploy.report.run_data import read_for_placement

    if chip == "list":
        for name in chip_names():
            known = load_chip(name)
            typer.echo(f"{name}: {known.title}. {known.summary}")
        return
    target = load_chip(chip)
    if picture is not None:
        check_picture(picture)
    units = unpruned_units(unpruned or [])
    given, before = read_for_placement(network)
    if not target.placeable:
        fits, lines = whole_chip_lines(given, target)
        typer.echo(json.dumps({"chip": target.name, "fits": fits, "lines": lines}) if as_json else "\n".join(lines))
        raise typer.Exit(0 if fits else 2)
    report = explain(given, target, units or before, advice=advice, tight_bound=bound)
    if picture is not None and report.placement is not None:
        save_placement_picture(report.placement, picture)
    if as_json:
        typer.echo(json.dumps(placement_to_json(report)))
    else:
        console = Console(highlight=False)
        for table in placement_tables(report):
            console.print(table)
        for line in placement_lines(report)[1 if report.refusal else 0 :]:
            console.print(line, markup=False)
    if report.refusal is not None:
        raise report.refusal


def unpruned_units(options: list[str]) -> dict[str, int]:
    """Read NODE=UNITS options. Raises ConfigError with every problem."""
    from sdsnn_core.errors import ConfigError

    units: dict[str, int] = {}
    problems = []
    for option in options:
        name, _, number = option.partition("=")
        if not name or not number.isdigit() or int(number) < 1:
            problems.append(f"--unpruned: expected NODE=UNITS with at least 1 unit, got {option}")
        else:
            units[name] = int(number)
    if problems:
        raise ConfigError(problems)
    return units


def report(
    run: Annotated[Path, typer.Argument(help="Run folder made by `sdsnn train` and `sdsnn export`.")],
    chip: Annotated[str, typer.Option("--chip", help="Chip that placement and energy are for.")] = "loihi2",
    samples: Annotated[
        int | None, typer.Option(min=0, help="Test samples to record; default as many as fit in 256 MiB, 0 for none.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; default the run folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Also print report.json.")] = False,
) -> None:
    """Accuracy, structure, placement, energy and certificate of a run: report.html and report.json."""
    from sdsnn.deploy.report.report import make_report, write_report

    made = make_report(run, chip=chip, samples=samples)
    page, data = write_report(made, out)
    if as_json:
        typer.echo(json.dumps(made.data))
        return
    typer.echo(f"{page} and {data.name}")
    for part, why in made.data["absent"].items():
        typer.echo(f"  not in it: {part}: {why}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders that hold a report.json of `sdsnn report`.")],
    prices: Annotated[str, typer.Option("--prices", help="Price list for the front.")] = "davies2018",
    out: Annotated[Path | None, typer.Option("--out", help="HTML page to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Runs side by side, with the front of accuracy against energy."""
    from rich.console import Console
    from rich.table import Table

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
    headings, *rows = compare_rows(lines, prices)
    # Quantities down, runs across: names and numbers stay whole in a narrow terminal.
    table = Table(
        "", title="runs; * no other run on the same data is more accurate for less energy", title_justify="left"
    )
    for row in rows:
        table.add_column(row[0], justify="right")
    for i, heading in enumerate(headings[1:], 1):
        table.add_row(heading, *(row[i] for row in rows))
    Console(highlight=False).print(table)


COMMANDS = {"place": place, "report": report, "compare": compare}
