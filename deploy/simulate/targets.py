"""Where a network can be simulated: a table of targets, each a function from samples to activities.

A target is named by the place of its function, so that nothing of it is imported before it runs:

    run(network, samples, options) -> iterator of Activity

It takes the samples in order, as many at a time as suits it, and yields an Activity for every few of them, with the
counts of all nodes and events of all projections, and the voltage of the populations in `options.states`. Each sample
starts from the initial state. What it does before it returns the iterator is not counted as simulating. To add one,
enter it in TARGETS.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network, Shape

MEMORY_LIMIT = 2**30  # bytes of a portion of samples with its results and working memory
LAVA_AT_ONCE = 32  # samples of one run: starting Lava takes seconds


@final
@dataclass(frozen=True)
class Options:
    """How to run. measured: what a target's probes measured, for the report; a target may fill it.

    n_steps: of every sample, default its own length. memory_limit: bytes. n_threads: default every core. bin_width,
    sensor_shape: of events, see `engine.events_to_dense`. states: populations whose voltage is wanted.
    """

    n_steps: int | None = None
    memory_limit: int = MEMORY_LIMIT
    n_threads: int | None = None
    bin_width: float | None = None
    sensor_shape: Shape | None = None
    states: tuple[str, ...] = ()
    measured: dict[str, Any] = field(default_factory=dict)


Run = Callable[[Network, Iterator[Any], Options], Iterator[Activity]]

TARGETS = {
    "engine": "sdsnn.deploy.simulate.targets:run_engine",
    "reference": "sdsnn.deploy.simulate.targets:run_reference",
    "lava": "sdsnn.deploy.simulate.targets:run_lava",
    "loihi2": "sdsnn.deploy.loihi2.target:run_loihi2",
}


def check_target(name: str) -> None:
    """Raise NetworkError unless `name` is a target."""
    if name not in TARGETS:
        raise NetworkError(f"target: got {name!r}, allowed {', '.join(TARGETS)}")


def find_target(name: str) -> Run:
    """Return the function of a target. Raises NetworkError where there is none of that name."""
    check_target(name)
    module, _, function = TARGETS[name].partition(":")
    run: Run = getattr(importlib.import_module(module), function)
    return run


def run_engine(network: Network, samples: Iterator[Any], options: Options) -> Iterator[Activity]:
    """Run the event engine on all cores."""
    from ..engine import Engine

    engine = Engine(network)
    engine.prepare()
    return engine.stream(
        samples,
        options.n_steps,
        memory_limit=options.memory_limit,
        n_threads=options.n_threads,
        record_state=options.states,
        bin_width=options.bin_width,
        sensor_shape=options.sensor_shape,
    )


def run_reference(network: Network, samples: Iterator[Any], options: Options) -> Iterator[Activity]:
    """Run the plain simulator that says what a network means, sample by sample."""
    from sdsnn_core import reference

    for x in portions(network, samples, options, 1):
        yield reference.run(network, x, record=(), record_state=options.states)


def run_lava(network: Network, samples: Iterator[Any], options: Options) -> Iterator[Activity]:
    """Run Lava's fixed-point processes in a child process. Raises MissingDependency without Lava."""
    from sdsnn.export.lava.run import run_lava as run

    for x in portions(network, samples, options, LAVA_AT_ONCE):
        yield run(network, x, record=(), record_state=options.states)


def portions(
    network: Network, samples: Iterable[Any], options: Options, at_once: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield (samples, steps, channels) arrays of up to `at_once` samples, padded with silence to their longest."""
    from ..engine.inputs import gather

    name = next(iter(network.inputs))
    rest = iter(samples)
    while portion := list(itertools.islice(rest, at_once)):
        arrays = [gather(network, x, options.n_steps, options.bin_width, options.sensor_shape) for x in portion]
        if counts := [n for _, n, _, _ in arrays if n != 1]:
            raise NetworkError(f"samples: got {counts[0]} samples as one, allowed is one at a time")
        padded = np.zeros((len(arrays), max(length for *_, length in arrays), network.size_of(name)), np.uint8)
        for row, (array, *_) in zip(padded, arrays, strict=True):
            row[: array[name].shape[1]] = array[name][0, : len(row)]
        yield padded
