"""A network over events that come in as lines of text; what its outputs send goes out step by step.

A line in is an event: its time, its place, and a value where the input is graded. Places are `x y p` for an input
(C, H, W), or `x y` where C is 1, and the number of the channel for an input (N,). Fields are separated by spaces,
tabs or commas. A time alone says how far time has come without an event. Lines that begin with `#` are skipped.

A line out is `step,neuron,value`: a spike (value 1), a message, or for an output read by its voltage the voltage of
every neuron. A step runs when a line of a later one comes in, and the last one at the end of the input.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Input, Network

from ..engine.stream import open_stream

SILENCE: Final = 256  # steps without events that run at once


class Delays(NamedTuple):
    """How long each step took, from the line that ended it to the last line out: seconds, in order."""

    seconds: npt.NDArray[np.float64]

    def __str__(self) -> str:
        if not self.seconds.size:
            return "no steps"
        middle, late = np.percentile(self.seconds * 1e6, [50, 99])
        return (
            f"{self.seconds.size} steps, {middle:.0f} us each (median), {late:.0f} us (99 %), "
            f"{self.seconds.max() * 1e6:.0f} us at most"
        )


def follow(
    network: Network,
    lines: Iterable[str],
    emit: Callable[[str], None],
    *,
    bin_width: float = 1.0,
    reset_every: int = 0,
    reset_offset: int = 1,
) -> Delays:
    """Run a network over lines of events as they come.

    Args:
        network: A network of one input.
        lines: What comes in; the time of the first line is the beginning of step 0.
        emit: Takes a step's lines out, with their ends, as one text; called for steps in which an output sent.
        bin_width: Duration of a step in the unit of the times.
        reset_every, reset_offset: As of `Engine.run`.

    Returns:
        The time that each step took.

    Raises:
        NetworkError: More than one input, or values that the input does not take.
        FileError: A line that is no event of this input, or of a step that has run.
    """
    if len(network.inputs) != 1:
        raise NetworkError(f"follow: expected a network with one input, got {', '.join(sorted(network.inputs))}")
    if not bin_width > 0:
        raise NetworkError(f"follow: expected a bin width above 0, got {bin_width:g}")
    port = next(iter(network.inputs.values()))
    states = [output.source for output in network.outputs.values() if output.signal == "voltage"]
    stream = open_stream(network, record_state=states, reset_every=reset_every, reset_offset=reset_offset)
    stream.push(np.zeros((1, port.size), np.uint8))  # compiles
    stream.reset()
    seconds: list[float] = []
    for chunk, events in _chunks(port, lines, bin_width):
        begin = time.perf_counter()
        bins = np.zeros((chunk, port.size), np.int64)
        for place, value in events:
            bins[0, place] += value
        first = stream.steps[0]
        text = "".join(_lines(network, stream.push(np.clip(bins, port.min_value, port.max_value)), first))
        if text:
            emit(text)
        spent = (time.perf_counter() - begin) / chunk
        seconds += [spent] * chunk
    return Delays(np.array(seconds))


def _chunks(port: Input, lines: Iterable[str], bin_width: float) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield numbers of steps to run, and the events (place, value) of the first of them."""
    first: float | None = None
    step = 0
    events: list[tuple[int, int]] = []
    for number, line in enumerate(lines, 1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0].startswith("#"):
            continue
        when, event = _parsed(port, fields, f"line {number}")
        first = when if first is None else first
        at = math.floor((when - first) / bin_width)
        if at < step:
            raise FileError(f"line {number}: expected events from step {step} on, got one of step {at}, which has run")
        while at > step:
            chunk = 1 if events else min(at - step, SILENCE)
            yield chunk, events
            step, events = step + chunk, []
        if event is not None:
            events.append(event)
    if first is not None:
        yield 1, events


def _parsed(port: Input, fields: list[str], where: str) -> tuple[float, tuple[int, int] | None]:
    """Return the time of a line, and its event."""
    shape = port.shape
    axes = 1 if len(shape) == 1 else 2 if shape[0] == 1 else 3
    names = {1: "channel", 2: "x y", 3: "x y p"}[axes]
    try:
        when, numbers = float(fields[0]), [int(field) for field in fields[1:]]
    except ValueError:
        when, numbers = math.nan, []
    if not math.isfinite(when) or len(numbers) not in {0, axes, axes + port.graded}:
        wanted = f"time {names}" + (" and a value" if port.graded else "")
        raise FileError(f"{where}: expected {wanted}, got {' '.join(fields)[:60]}")
    if not numbers:
        return when, None
    place = numbers[0] if axes == 1 else (numbers[2] if axes == 3 else 0, numbers[1], numbers[0])
    limits = shape if isinstance(place, tuple) else (shape[0],)
    if any(not 0 <= n < limit for n, limit in zip(np.atleast_1d(place).tolist(), limits, strict=True)):
        raise FileError(f"{where}: expected a place in an input of shape {shape}, got {' '.join(fields[1 : 1 + axes])}")
    flat = int(np.ravel_multi_index(place, shape)) if isinstance(place, tuple) else place
    value = numbers[axes] if len(numbers) > axes else 1
    if not port.min_value <= value <= port.max_value:
        raise FileError(f"{where}: expected a value of {port.min_value}..{port.max_value}, got {value}")
    return when, (flat, value)


def _lines(network: Network, activity: Activity, first: int) -> Iterator[str]:
    """Yield the lines out of a chunk whose first step is `first`."""
    several = len(network.outputs) > 1
    for name, output in network.outputs.items():
        begin = f"{name}," if several else ""
        if output.signal == "voltage":
            values = activity.voltage[output.source][0]
            steps, neurons = np.indices(values.shape).reshape(2, -1)
        else:
            values = activity.spikes[output.source][0]
            steps, neurons = np.nonzero(values)
        for step, neuron, value in zip(steps.tolist(), neurons.tolist(), values[steps, neurons].tolist(), strict=True):
            yield f"{begin}{first + step},{neuron},{value}\n"
