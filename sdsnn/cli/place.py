"""`sdsnn place`: a network on the cores of a chip."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from .drive import BinWidth, DataPath, Rate, Sensor, Steps, options_of
from .output import console, print_table, progress_bar


def place(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder that holds network.nir.")],
    chip: Annotated[str, typer.Option("--chip", help="Name of a chip (`--chip list` shows them) or a TOML file.")] = (
        "loihi2"
    ),
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            help="cores: the fewest. latency: the shortest step. energy: the least energy of events and traffic. "
            "balance: the fewest cores with even work. All but cores need --data, --rate or a run folder.",
        ),
    ] = "cores",
    data: DataPath = None,
    rate: Rate = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples of the data that the placement is judged by.")] = 16,
    steps: Steps = None,
    bin_width: BinWidth = None,
    sensor: Sensor = None,
    unpruned: Annotated[
        list[str] | None,
        typer.Option("--unpruned", metavar="NODE=UNITS", help="Units of a population before pruning."),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE.svg", help="Draw the cores.")] = None,
    advice: Annotated[
        bool | None,
        typer.Option(
            "--advice/--no-advice",
            help="Also place variants: which limit binds, which change saves. Default: up to 50,000 neurons.",
        ),
    ] = None,
    bound: Annotated[bool, typer.Option("--bound", help="Compute a tighter lower bound, which takes longer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Place a network on the cores of a chip.

    It takes as few cores as possible, or places for speed, energy or even work. Prints cores and memory, the limit that
    binds, what would help, and the same for the unpruned network.
    """
    from sdsnn.deploy.placement.chip import chip_names, load_chip
    from sdsnn.deploy.placement.explain import explain
    from sdsnn.deploy.placement.network_limits import whole_chip_lines
    from sdsnn.deploy.placement.text import placement_lines, placement_tables, placement_to_json
    from sdsnn.deploy.report.cores import save_placement_picture
    from sdsnn.deploy.report.picture import check_picture
    from sdsnn.deploy.report.pricing import activity_for_placement
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
    loaded, before = read_for_placement(network)
    if not target.placeable:
        fits, lines = whole_chip_lines(loaded, target)
        typer.echo(json.dumps({"chip": target.name, "fits": fits, "lines": lines}) if as_json else "\n".join(lines))
        raise typer.Exit(0 if fits else 2)
    options = options_of(steps, bin_width, sensor)
    activity = activity_for_placement(loaded, network, target, objective, data, rate, samples, options)
    with progress_bar() as progress:
        report = explain(
            loaded,
            target,
            units or before,
            objective=objective,
            activity=activity,
            advice=advice,
            tight_bound=bound,
            progress=progress,
        )
    if picture is not None and report.placement is not None:
        save_placement_picture(report.placement, picture)
    if as_json:
        typer.echo(json.dumps(placement_to_json(report)))
    else:
        for table in placement_tables(report):
            print_table(table.headings, table.rows, title=table.title, left=(table.left,))
        for line in placement_lines(report)[1 if report.refusal else 0 :]:
            console().print(line, markup=False)
    if report.refusal is not None:
        raise report.refusal


def unpruned_units(options: list[str]) -> dict[str, int]:
    """Read NODE=UNITS options. Raises ConfigError with every problem."""
    from sdsnn_core.errors import ConfigError

    wrong = [option for option in options if not re.fullmatch(r"[^=]+=0*[1-9][0-9]*", option)]
    if wrong:
        raise ConfigError([f"--unpruned: expected NODE=UNITS with at least 1 unit, got {option}" for option in wrong])
    return {name: int(number) for name, _, number in (option.partition("=") for option in options)}
