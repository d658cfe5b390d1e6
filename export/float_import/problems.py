"""What cannot work in a quantised graph: found before a file is written, each a line that names the node."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import THRESHOLD_MAX, CubaLif, RefractoryLif

from .graph import FloatGraph
from .nodes import LINEAR, NEURONS
from .quantise import Quantised
from .scale import signed, weights_of, with_weights


def problems_of(graph: FloatGraph, result: Quantised, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """Return what makes the network useless, in the order of the file; nothing where it works."""
    return (*_structure(graph), *_values(graph, result))


def _structure(graph: FloatGraph) -> Iterator[str]:
    after: dict[str, set[str]] = {}
    for a, b in graph.edges:
        after.setdefault(a, set()).add(b)
    feeders = {name: {m.source for m in graph.maps.values() if m.target == name} for name in graph.neurons}
    driven = {name: bool(graph.biases[name].any() or n.bias.any()) for name, n in graph.neurons.items()}
    useful = _upstream_of_outputs(graph)
    for name, node in graph.nodes.items():
        if node.kind in NEURONS and not feeders[name] and not driven[name]:
            yield f"node {name!r}: nothing reaches these neurons"
        elif node.kind in NEURONS and feeders[name] == {name} and not driven[name]:
            yield f"node {name!r}: nothing but its own spikes reaches these neurons"
        if node.kind in LINEAR and not after.get(name):
            yield f"node {name!r}: its result leads nowhere"
        elif node.kind in NEURONS and name not in useful:
            yield f"node {name!r}: its spikes reach no Output"


def _upstream_of_outputs(graph: FloatGraph) -> set[str]:
    before: dict[str, set[str]] = {}
    for a, b in graph.edges:
        before.setdefault(b, set()).add(a)
    upstream = {name for name, node in graph.nodes.items() if node.kind == "Output"}
    stack = list(upstream)
    while stack:
        for source in before.get(stack.pop(), ()):
            if source not in upstream:
                upstream.add(source)
                stack.append(source)
    return upstream


def _values(graph: FloatGraph, result: Quantised) -> Iterator[str]:
    for report, (name, neurons) in zip(result.reports, graph.neurons.items(), strict=True):
        population = result.network.populations[report.name]
        assert isinstance(population, CubaLif | RefractoryLif)
        for weights in report.vanished_maps:
            yield f"node {weights!r}: all its weights round to 0 beside the others of {name!r}"
        if neurons.fires and report.vanished and (population.threshold >= THRESHOLD_MAX).all():
            yield f"node {name!r}: all thresholds are at their limit, {THRESHOLD_MAX}"
        if neurons.fires and (reach := _reach(graph, name, result)) is not None:
            yield f"node {name!r}: no neuron can reach its threshold, of which {reach:.3g} is the most"
        elif neurons.fires and report.rate_float > 0 and report.rate == 0:
            yield f"node {name!r}: spikes in floats (rate {report.rate_float:.4f}), never in integers"
    firing = [r for r, n in zip(result.reports, graph.neurons.values(), strict=True) if n.fires]
    if firing and not any(report.rate_float for report in firing):
        largest = max((float(np.max(np.abs(n.gain))) for n in graph.neurons.values()), default=0.0)
        yield f"no neuron spikes on this input, in floats either (largest gain {largest:.3g})"


def _reach(graph: FloatGraph, name: str, result: Quantised) -> float | None:
    """Return how much of its threshold the nearest neuron can reach at most, None where one can pass it."""
    neurons = graph.neurons[name]
    drive = graph.biases[name] * neurons.gain
    for key, linear in graph.maps.items():
        if linear.target == name:
            source = result.network.inputs.get(linear.source)
            operator = signed(linear.operator, neurons, f"node {key!r}")
            positive = with_weights(operator, np.maximum(weights_of(operator), 0.0))
            largest = np.full((1, int(np.prod(linear.operator.shape))), source.max_value if source else 1.0)
            drive = drive + positive.apply(largest)[0] * np.abs(neurons.gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        settled = np.where(drive > 0, drive / neurons.a, drive) + neurons.bias
        highest = np.where(settled > 0, settled / neurons.b, settled)
        part = np.where(neurons.threshold > 0, highest / neurons.threshold, np.inf)
    passes = (part >= 1) if neurons.at_threshold else (part > 1)
    return None if passes.any() or not part.size else float(part.max())


def likely_cause(graph: FloatGraph, dt: float) -> str:
    """Return what most often is behind it."""
    return f"First suspects: the writer (read as {graph.writer}), then dt ({dt:g} s)"
