"""What a chip does otherwise than a float graph, cause by cause: the bins that each cause alone changes, in floats.

Quantising is not among the causes: here the numbers stay floats, so that what a `NodeReport` says of rounding and what
it says of structure do not mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import DECAY_UNITY

from .conventions import WRITERS, Convention, Firing
from .graph import FloatGraph
from .operators import Floats
from .run import FloatDynamics, Trains, float_run, simulate

LATE: Final = "feedback over several layers, which comes later"
ROUNDED: Final = "delays of parts of a step (measured by rounding them the other way)"
ABOVE: Final = "spikes above the threshold only, not at it"
NO_LEAK: Final = "leaks below 1/8192 per step, which become none"


class Runs(NamedTuple):
    """Runs of one graph in floats, all in the timing of a Network.

    trains: as `float_run` returns them. wanted: in the framework's timing, at a Network's steps. defaults: writer ->
    as its neurons fire by default.
    """

    trains: Trains
    wanted: Trains
    defaults: Mapping[str, Trains]


def costs_of(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], runs: Runs, exact: Set[str]
) -> dict[str, dict[str, int]]:
    """Return neurons -> cause -> (sample, step, neuron) bins that differ where this cause alone acts.

    Args:
        graph: what `read_graph` returned.
        inputs: name -> (samples, steps, size) spikes or counts.
        runs: of the graph on these inputs.
        exact: neurons whose integers spike at the threshold itself, where the floats do.
    """
    others = {LATE: runs.wanted} if runs.wanted is not runs.trains else {}
    others |= {cause: float_run(variant, inputs)[0] for cause, variant in _variants(graph, exact)}
    others |= {
        f"{firing} by itself": simulate(graph, inputs, FloatDynamics(graph, Convention(firing=also)))[0]
        for firing, also in _single(graph, runs.defaults)
    }
    costs: dict[str, dict[str, int]] = {name: {} for name in runs.trains}
    for name, train in runs.trains.items():
        cuba = graph.neurons[name].through_current
        defaults = {default_of(writer, cuba): other for writer, other in runs.defaults.items()}
        for cause, other in {**others, **defaults}.items():
            if differing := int((train != other[name]).sum()):
                costs[name][cause] = differing
    return costs


def default_of(writer: str, cuba: bool) -> str:
    """Return what neurons of a writer do by default, in words; cuba: neurons with a current of their own."""
    return f"{WRITERS[writer].fires_as(cuba)}, the default of {writer}"


def _single(graph: FloatGraph, writers: Iterable[str]) -> Iterator[tuple[Firing, Firing]]:
    """Yield each difference of neurons that differ from NIR's in several ways, and how neurons with it alone fire."""
    read_at_threshold = any(neurons.at_threshold for neurons in graph.neurons.values())
    parts = [WRITERS[writer].firing.alone() for writer in writers]
    for single in dict.fromkeys(firing for alone in parts if len(alone) > 1 for firing in alone):
        yield single, replace(single, at_threshold=single.at_threshold or read_at_threshold)


def _variants(graph: FloatGraph, exact: Set[str]) -> Iterator[tuple[str, FloatGraph]]:
    """Yield each cause that occurs, with a graph that differs from `graph` by it alone."""
    maps = {}
    for name, m in graph.maps.items():
        steps = m.delay / graph.dt
        rounded = np.rint(steps)
        part = np.where(np.abs(steps - rounded) > 1e-6, np.sign(steps - rounded), 0.0)
        if part.any():
            maps[name] = replace(m, delay=(rounded + part) * graph.dt)
    if maps:
        yield ROUNDED, replace(graph, maps={**graph.maps, **maps})
    leaks, above = {}, {}
    for name, n in graph.neurons.items():
        a, b = _without_small(n.a), _without_small(n.b)
        if (a != n.a).any() or (b != n.b).any():
            leaks[name] = replace(n, a=a, b=b)
        if n.at_threshold and name not in exact:
            above[name] = replace(n, at_threshold=False)
    for cause, neurons in ((NO_LEAK, leaks), (ABOVE, above)):
        if neurons:
            yield cause, replace(graph, neurons={**graph.neurons, **neurons})


def _without_small(decay: Floats) -> Floats:
    """Return decays with 0 for those that round to 0 of 4096."""
    return np.where(np.rint(DECAY_UNITY * decay) == 0, 0.0, decay)
