"""What a chip does otherwise than a float graph, cause by cause: the bins that each cause alone changes, in floats.

Quantising is not among the causes: here the numbers stay floats, so that what a `NodeReport` says of rounding and what
it says of structure do not mix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import DECAY_UNITY

from .graph import FloatGraph
from .operators import Floats
from .run import Trains, float_run

LATE: Final = "feedback over several layers, which comes later"
ROUNDED: Final = "delays of parts of a step (measured by rounding them the other way)"
NO_LEAK: Final = "leaks below 1/8192 per step, which become none"


def costs_of(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], trains: Trains, wanted: Trains
) -> dict[str, dict[str, int]]:
    """Return neurons -> cause -> (sample, step, neuron) bins that differ where this cause alone acts.

    Args:
        graph: what `read_graph` returned.
        inputs: name -> (samples, steps, size) spikes or counts.
        trains: the graph's spikes in the timing of a Network, as `float_run` returns them.
        wanted: its spikes in its framework's timing, at a Network's steps.
    """
    others = {LATE: wanted} if wanted is not trains else {}
    others |= {cause: float_run(variant, inputs)[0] for cause, variant in _variants(graph)}
    costs: dict[str, dict[str, int]] = {name: {} for name in trains}
    for cause, other in others.items():
        for name, train in trains.items():
            if differing := int((train != other[name]).sum()):
                costs[name][cause] = differing
    return costs


def _variants(graph: FloatGraph) -> Iterator[tuple[str, FloatGraph]]:
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
    neurons = {}
    for name, n in graph.neurons.items():
        a, b = _without_small(n.a), _without_small(n.b)
        if (a != n.a).any() or (b != n.b).any():
            neurons[name] = replace(n, a=a, b=b)
    if neurons:
        yield NO_LEAK, replace(graph, neurons={**graph.neurons, **neurons})


def _without_small(decay: Floats) -> Floats:
    """Return decays with 0 for those that round to 0 of 4096."""
    return np.where(np.rint(DECAY_UNITY * decay) == 0, 0.0, decay)
