"""Options of the commands that run a network: on which data or random spikes, in how many steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sdsnn.deploy.simulate.simulation import Options
    from sdsnn_core.network import Shape

DataPath = Annotated[
    Path | None,
    typer.Option("--data", help="What it runs on: spikes or events, .npz or .npy; recordings; a run folder."),
]
Rate = Annotated[
    float | None, typer.Option(help="Instead of data, random spikes: the share of the input's bins, 0 to 1.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps per sample. Default: those of the data; 64 at random.")]
BinWidth = Annotated[float | None, typer.Option("--bin-width", help="Events: duration of a step in microseconds.")]
Sensor = Annotated[
    str | None, typer.Option("--sensor", help="Events for a flat input: the shape of the sensor, as C,H,W.")
]
Target = Annotated[
    str | None,
    typer.Option(help="sanafe: replay the spikes on SANA-FE too (pip install 'sdsnn[sanafe]').", show_default=False),
]


def options_of(steps: int | None, bin_width: float | None, sensor: str | None) -> Options:
    """Return the options of a simulation. Raises ConfigError for a sensor that is no shape."""
    from sdsnn.deploy.simulate.simulation import Options

    return Options(steps, bin_width=bin_width, sensor_shape=sensor_shape(sensor))


def sensor_shape(text: str | None) -> Shape | None:
    """Return (C, H, W) of '2,34,34'. Raises ConfigError for anything else."""
    from sdsnn_core.errors import ConfigError

    if text is None:
        return None
    if not re.fullmatch(r"\s*0*[1-9][0-9]*\s*(,\s*0*[1-9][0-9]*\s*){2}", text):
        raise ConfigError([f"--sensor: expected three numbers C,H,W such as 2,34,34, got {text}"])
    return tuple(map(int, text.split(",")))
