"""`sdsnn simulate`: a network over a data set, on any back end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .drive import BinWidth, Rate, Sensor, sensor_shape
from .output import console, counting_bar, print_table

if TYPE_CHECKING:
    from sdsnn.deploy.simulate.simulation import Simulation
    from sdsnn_core.network import Network

WIDEST = 32  # classes of a confusion table that is printed


def simulate(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Spikes or events, .npz or .npy; a recording or a folder of them (docs/data.md); or a run folder, for "
            "its test split. Default: the run folder itself.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="Back end: engine, reference, nir, netx, lava or loihi2.")] = "engine",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps per sample. Default: those of the data.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use only the first N samples.")] = None,
    input_max: Annotated[
        int | None, typer.Option(min=1, max=255, help="Largest value of an input bin, for a .net that takes counts.")
    ] = None,
    readout: Annotated[
        Literal["spikes", "voltage"] | None,
        typer.Option(help="Read the output by its spikes or by its voltage.", show_default=False),
    ] = None,
    bin_width: BinWidth = None,
    time_unit: Annotated[Literal["us", "ms", "s"], typer.Option(help="Events in arrays: unit of their times.")] = "us",
    axes: Annotated[
        Literal["time-first", "time-last"], typer.Option(help="Arrays: where the time axis of a sample is.")
    ] = "time-first",
    sensor: Sensor = None,
    rate: Rate = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.svg", help="Draw the spikes of the first sample.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Spread the samples on the workers of a Dask scheduler, as tcp://host:8786 (docs/sweep.md)."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the spikes of populations to this .npz (docs/data.md).", show_default=False),
    ] = None,
    populations: Annotated[
        str | None, typer.Option(help="--write: names, with commas. Default: all populations.", show_default=False)
    ] = None,
    form: Annotated[
        Literal["events", "raster"], typer.Option("--as", help="--write: a list of spikes, or bins of 0 and 1.")
    ] = "events",
    reset_every: Annotated[
        int, typer.Option(min=0, help="Reset all neurons every N steps within a sample (docs/engine.md). 0: never.")
    ] = 0,
    reset_offset: Annotated[
        int, typer.Option(min=0, help="--reset-every: step of the first reset of layer 0; layer k is reset k later.")
    ] = 1,
    follow: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            show_default=False,
            help="Read events as they come, one line each, and print outputs step by step (docs/engine.md).",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine. Default: every core.")] = None,
    memory: Annotated[int, typer.Option(min=1, help="Limit for samples and results in memory, in MiB.")] = 1024,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Simulate a data set on any back end.

    Prints accuracy, confusion, spikes and synaptic events per inference, and throughput.
    """
    import itertools
    from contextlib import nullcontext

    from sdsnn.deploy.report.page import save_raster
    from sdsnn.deploy.report.picture import check_picture
    from sdsnn.deploy.simulate.backends import find_backend
    from sdsnn.deploy.simulate.measure import spikes_at
    from sdsnn.deploy.simulate.recorder import SpikeRecorder, check_target
    from sdsnn.deploy.simulate.samples import FORMS, open_samples
    from sdsnn.deploy.simulate.simulation import Options, simulate_data, simulate_first
    from sdsnn.export.files import read_network
    from sdsnn.train.data.recordings import Convention
    from sdsnn.train.data.spike_files import Samples
    from sdsnn_core.errors import ConfigError, FileError
    from sdsnn_core.files import write_json

    from ..sweep.cluster import connect
    from ..zoo.zoo import results_folder

    if follow is not None:
        if data is not None or write is not None or target != "engine" or as_json:
            raise ConfigError(["--follow: expected no data, --target, --write and --json beside it, got one"])
        _follow(
            read_network(network, input_max=input_max, readout=readout),
            follow,
            bin_width or 1.0,
            reset_every,
            reset_offset,
        )
        return
    find_backend(target)
    shape = sensor_shape(sensor)
    if write is not None:
        check_target(write)
    elif populations is not None:
        raise ConfigError(["--populations: names what --write keeps, got no --write"])
    if plot is not None:
        check_picture(plot)
    if rate is not None and data is not None:
        raise ConfigError([f"--rate: random spikes in the place of data, got both --rate and {data}"])
    if data is None and rate is None and not network.is_dir():
        raise FileError(f"data: expected {FORMS} or --rate, got none for {network}")
    loaded = read_network(network, input_max=input_max, readout=readout)
    names = [name.strip() for name in populations.split(",")] if populations else []
    recorder = None if write is None else SpikeRecorder(loaded, names)
    if rate is None:
        opened = open_samples(network if data is None else data, Convention(time_unit, axes))
    else:
        drawn = next(iter(spikes_at(loaded, rate, samples, steps).values()))
        opened = Samples(drawn, len(drawn))
    options = Options(
        steps,
        memory * 2**20,
        threads,
        bin_width,
        shape,
        cut=opened.counted,
        reset_every=reset_every,
        reset_offset=reset_offset,
    )
    total = len(opened) if samples is None else min(samples, len(opened))
    cluster = nullcontext() if scheduler is None else connect(scheduler, 1)
    with cluster as client, counting_bar("simulate", quiet, transient=True) as show, recorder or nullcontext():
        show(0, total)
        result = simulate_data(
            loaded,
            itertools.islice(opened, total),
            None if opened.labels is None else opened.labels[:total],
            backend=target,
            options=options,
            progress=lambda done: show(done, total),
            recorder=recorder,
            client=client,
        )
        if recorder is not None and write is not None:
            recorder.write(write, form, result.predictions, result.labels)
    if plot is not None:
        save_raster(loaded, simulate_first(loaded, opened, backend=target, options=options), plot)
    _print(loaded, result, opened.classes)
    if result.measured:
        # Beside the network, where `sdsnn report` looks for it.
        folder = results_folder(network) or (network if network.is_dir() else network.parent)
        write_json(folder / "measured.json", {"network_sha256": result.network_sha256, **result.measured})
    if as_json:
        typer.echo(json.dumps(result.to_json()))


def _follow(network: Network, source: str, bin_width: float, reset_every: int, reset_offset: int) -> None:
    """Print what the outputs send while events come in; at the end, how long a step took."""
    import sys

    from sdsnn.deploy.simulate.follow import follow
    from sdsnn_core.errors import FileError

    def emit(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        with sys.stdin if source == "-" else open(source, encoding="utf-8") as lines:
            delays = follow(
                network, lines, emit, bin_width=bin_width, reset_every=reset_every, reset_offset=reset_offset
            )
    except FileError as error:  # of a line
        raise FileError(f"--follow {source}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--follow {source}: expected lines of text, got {type(error).__name__}") from None
    typer.echo(str(delays), err=True)


def _print(network: Network, result: Simulation, classes: tuple[str, ...]) -> None:
    """Print the tables."""
    out = console()
    sensor = next(iter(network.inputs.values())).shape
    out.print(f"data: {result.read.line(classes, sensor)}")
    if warning := result.read.warning():
        out.print(f"note: {warning}")
    accuracy = "no labels" if result.accuracy is None else f"accuracy {result.accuracy:.2%}"
    if result.scores:
        accuracy = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in result.scores.items())
    out.print(f"{result.n_samples} samples on {result.target}: {accuracy}")
    if result.silent:
        share = f"{result.silent} of {result.n_samples} samples ({result.silent / result.n_samples:.2%})"
        out.print(f"the output was silent in {share}: they have no class and count as wrong")
        if result.silent == result.n_samples:
            out.print("if the result is a voltage, use --readout voltage")
    out.print("per inference:")
    per_sample = result.steps / result.n_samples
    rows = []
    for name, spikes in result.spikes.items():
        size = network.size_of(name)
        arriving = sum(result.events[key] for key, _ in network.incoming(name))
        events = "" if name in network.inputs else f"{arriving:,.1f}"
        rows.append((name, f"{size:,}", f"{spikes:,.1f}", f"{spikes / (size * per_sample):.2%}", events))
    neurons = sum(network.size_of(name) for name in network.populations)
    spiking = sum(result.spikes[name] for name in network.populations)
    rate, events = f"{spiking / (neurons * per_sample):.2%}", f"{sum(result.events.values()):,.1f}"
    rows.append(("all populations", f"{neurons:,}", f"{spiking:,.1f}", rate, events))
    print_table(("layer", "neurons", "spikes", "rate", "synaptic events into it"), rows)
    if result.confusion is not None and len(result.confusion) <= WIDEST:
        names = [classes[i] if i < len(classes) else str(i) for i in range(len(result.confusion))]
        out.print("confusion: true class by row, prediction by column")
        lines = [(name, *(n or "." for n in row)) for name, row in zip(names, result.confusion.tolist(), strict=True)]
        print_table(["", *names], lines, left=range(len(names) + 1))
    numbers = result.to_json()
    speed = ", ".join(
        f"{_readable(numbers[f'{what}_per_second'])} {unit}/s"
        for what, unit in (("samples", "samples"), ("steps", "steps"), ("events", "synaptic events"))
    )
    out.print(f"{result.seconds:.3g} s: {speed}")
    for name, value in result.measured.items():
        out.print(f"measured {name}: {value}")


def _readable(number: float) -> str:
    """Return a number with three digits or more, and never an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
