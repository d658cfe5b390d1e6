"""The command `sdsnn simulate`. Heavy imports happen inside, when it runs."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sdsnn.deploy.simulate.simulation import Simulation
    from sdsnn_core.network import Network, Shape

WIDEST = 32  # classes of a confusion table that is printed


def simulate(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Spikes or events, .npz or .npy; a folder of recordings; or a run folder, for its test split. "
            "Default: the run folder itself.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="engine, reference or lava.")] = "engine",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps per sample; default those of the data.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use only the first so many.")] = None,
    bin_width: Annotated[
        float | None, typer.Option(help="Events: duration of a step in the unit of their times.")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="Events for a flat input: the sensor they come from, as C,H,W.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine; default every core.")] = None,
    memory: Annotated[int, typer.Option(min=1, help="MiB of samples and results in memory at once.")] = 1024,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Run a network over a data set: accuracy, confusion, spikes and synaptic events per inference, throughput."""
    import itertools

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sdsnn.deploy.simulate import simulation as stage
    from sdsnn.deploy.simulate.samples import FORMS, open_samples
    from sdsnn.deploy.simulate.targets import check_target
    from sdsnn_core.errors import FileError
    from sdsnn_core.files import write_json

    check_target(target)
    shape = _sensor(sensor)
    if data is None and not network.is_dir():
        raise FileError(f"data: none given for {network}; allowed is {FORMS}")
    loaded = stage.read_network(network)
    found = open_samples(network if data is None else data)
    total = len(found) if samples is None else min(samples, len(found))
    columns = (TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("simulate", total=total)
        result = stage.simulate(
            loaded,
            itertools.islice(found, total),
            None if found.labels is None else found.labels[:total],
            target=target,
            n_steps=steps,
            memory_limit=memory * 2**20,
            n_threads=threads,
            bin_width=bin_width,
            sensor_shape=shape,
            progress=lambda done: bar.update(task, completed=done),
        )
    _print(loaded, result, found.classes)
    if result.measured:
        # Beside the network, where `sdsnn report` looks for it.
        folder = network if network.is_dir() else network.parent
        write_json(folder / "measured.json", {"network_sha256": result.network_sha256, **result.measured})
    if json:
        typer.echo(json_format.dumps(result.to_json()))


def _sensor(text: str | None) -> Shape | None:
    """Return (C, H, W) of '2,34,34'. Raises ConfigError for anything else."""
    from sdsnn_core.errors import ConfigError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError([f"--sensor: got {text!r}, allowed three numbers C,H,W such as 2,34,34"])
    return tuple(map(int, parts))


def _print(network: Network, result: Simulation, classes: tuple[str, ...]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 100, highlight=False)
    accuracy = "no labels" if result.accuracy is None else f"accuracy {result.accuracy:.2%}"
    console.print(f"{result.n_samples} samples on {result.target}: {accuracy}")
    console.print("per inference:")
    activity = Table()
    for column in ("layer", "neurons", "spikes", "rate", "synaptic events into it"):
        activity.add_column(column, justify="left" if column == "layer" else "right")
    per_sample = result.steps / result.n_samples
    for name, spikes in result.spikes.items():
        size = network.size_of(name)
        arriving = sum(result.events[key] for key, _ in network.incoming(name))
        events = "" if name in network.inputs else f"{arriving:,.1f}"
        activity.add_row(name, f"{size:,}", f"{spikes:,.1f}", f"{spikes / (size * per_sample):.2%}", events)
    neurons = sum(network.size_of(name) for name in network.populations)
    spiking = sum(result.spikes[name] for name in network.populations)
    rate = f"{spiking / (neurons * per_sample):.2%}"
    activity.add_section()
    activity.add_row("all populations", f"{neurons:,}", f"{spiking:,.1f}", rate, f"{sum(result.events.values()):,.1f}")
    console.print(activity)
    if result.confusion is not None and len(result.confusion) <= WIDEST:
        names = [classes[i] if i < len(classes) else str(i) for i in range(len(result.confusion))]
        console.print("confusion: true class by row, prediction by column")
        confusion = Table("", *names)
        for name, row in zip(names, result.confusion, strict=True):
            confusion.add_row(name, *(str(n) if n else "." for n in row))
        console.print(confusion)
    numbers = result.to_json()
    speed = ", ".join(
        f"{_readable(numbers[f'{what}_per_second'])} {unit}/s"
        for what, unit in (("samples", "samples"), ("steps", "steps"), ("events", "synaptic events"))
    )
    console.print(f"{result.seconds:.3g} s: {speed}")
    for name, value in result.measured.items():
        console.print(f"measured {name}: {value}")


def _readable(number: float) -> str:
    """Return a number with three digits or more, and never an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


COMMANDS: dict[str, Any] = {"simulate": simulate}
