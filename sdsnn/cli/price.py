"""`sdsnn price`: energy and time of an inference, without a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .drive import BinWidth, DataPath, Rate, Sensor, Steps, Target, options_of
from .output import progress_bar


def price(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder that holds network.nir.")],
    data: DataPath = None,
    rate: Rate = None,
    chip: Annotated[str, typer.Option("--chip", help="Chip on which it is placed.")] = "loihi2",
    prices: Annotated[
        list[str] | None, typer.Option("--prices", help="Price list, or a TOML file; default: every list.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples to record. Default: as many as fit in 256 MiB, or 16 random ones."),
    ] = None,
    steps: Steps = None,
    bin_width: BinWidth = None,
    sensor: Sensor = None,
    target: Target = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Price an inference by published energies per event.

    Simulates the network on data (of a run folder: its test split) or on random spikes, places it, and multiplies its
    counted events by every price list.
    """
    from sdsnn.deploy.energy.text import energy_lines, energy_to_json
    from sdsnn.deploy.report.pricing import price_network

    with progress_bar() as progress:
        report = price_network(
            network,
            data=data,
            rate=rate,
            chip=chip,
            prices=prices or (),
            samples=samples,
            options=options_of(steps, bin_width, sensor),
            target=target,
            progress=progress,
        )
    typer.echo(json.dumps(energy_to_json(report)) if as_json else "\n".join(energy_lines(report)))
