"""The command `sdsnn simulate`. Heavy imports happen inside, when it runs."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sdsnn_core.network import Network

    from .simulate import Simulation


def simulate(
    network: Annotated[Path, typer.Argument(help="A network file: .nir, or .net of netx.", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(help="An .npz: spikes (samples, steps, *shape) uint8; labels optional.", show_default=False),
    ],
    backend: Annotated[str, typer.Option(help="engine, reference or lava.")] = "engine",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps per sample; default those of the data.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use only the first so many.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine; default every core.")] = None,
    memory: Annotated[int, typer.Option(min=1, help="MiB of samples and results in memory at once.")] = 1024,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Run a network over a data set: accuracy, confusion, spikes and synaptic events per inference, throughput."""
    import itertools

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sdsnn_core.errors import ConfigError

    from . import simulate as stage

    if backend not in stage.BACKENDS:
        raise ConfigError([f"--backend: got {backend!r}, allowed {', '.join(stage.BACKENDS)}"])
    archive = stage.Archive(data)
    loaded = stage.read_network(network)
    total = len(archive) if samples is None else min(samples, len(archive))
    columns = (TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("simulate", total=total)
        result = stage.simulate(
            loaded,
            itertools.islice(archive, total),
            None if archive.labels is None else archive.labels[:total],
            backend=backend,  # type: ignore[arg-type]
            n_steps=steps,
            memory_limit=memory * 2**20,
            n_threads=threads,
            progress=lambda done: bar.update(task, completed=done),
        )
    _print(loaded, result)
    if json:
        typer.echo(json_format.dumps(result.to_json()))


def _print(network: Network, result: Simulation) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 100)
    accuracy = "no labels" if result.accuracy is None else f"accuracy {result.accuracy:.2%}"
    console.print(f"{result.n_samples} samples on {result.backend}: {accuracy}", highlight=False)
    activity = Table("layer", "neurons", "spikes", "rate", "synaptic events", title="per inference")
    per_sample = result.steps / result.n_samples
    for name, spikes in result.spikes.items():
        size = network.size_of(name)
        arriving = sum(result.events[key] for key, _ in network.incoming(name))
        rate = f"{spikes / (size * per_sample):.3%}"
        activity.add_row(name, str(size), f"{spikes:.1f}", rate, "" if name in network.inputs else f"{arriving:.0f}")
    activity.add_row("all", "", f"{sum(result.spikes.values()):.1f}", "", f"{sum(result.events.values()):.0f}")
    console.print(activity)
    if result.confusion is not None and len(result.confusion) <= 32:
        confusion = Table("", *map(str, range(len(result.confusion))), title="confusion: true class by row")
        for index, row in enumerate(result.confusion):
            confusion.add_row(str(index), *map(str, row))
        console.print(confusion)
    numbers = result.to_json()
    console.print(
        f"{result.seconds:.3g} s: {numbers['samples_per_second']:.4g} samples/s, {numbers['steps_per_second']:.4g} "
        f"steps/s, {numbers['events_per_second']:.4g} synaptic events/s",
        highlight=False,
    )


COMMANDS = {"simulate": simulate}
