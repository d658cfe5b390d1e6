"""Float neurons and weights -> Loihi integers, with an account of what that costs, node by node.

Only weight * gain / threshold and bias / threshold can be observed, so every population has one free scale s, in state
units per float unit:

    weight = round(W g s / 64), even, -256..254    threshold = round(theta s / 64)    bias = round(c s)
    decays = round(4096 a), round(4096 b)

`scale_search` chooses s: the largest that clips no weight, or a smaller or larger one that does better on data.
Neurons deep in the graph run later in a Network than in their framework (`float_run.depths`): delays keep paths of
different length in step, and an initial voltage undoes the steps in which only a bias arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core import reference
from sdsnn_core.arithmetic import before_decay
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    DECAY_UNITY,
    DELAY_MAX,
    NEVER_FIRES,
    THRESHOLD_MAX,
    Convolution,
    Input,
    Network,
    Node,
    Output,
    Population,
    Projection,
    Synapses,
)
from sdsnn_core.nodes import legal_name

from ..nir_format.dialect import smallest_form
from .graph import FloatGraph, LinearMap
from .nodes import FloatNeurons, Floats
from .run import depths, float_run, map_delays
from .scale import integer_weights, search_scale

Trains = Mapping[str, npt.NDArray[np.uint8]]


@final
@dataclass(frozen=True)
class NodeReport:
    """What quantising one population changed.

    weight_error: largest |error| of a weight, relative to the largest weight. threshold_error: largest relative error.
    decay_error: largest |error| of a decay (per step). saturated: weights, thresholds and biases that were clipped.
    vanished: weights that became 0. rate_float, rate: spikes per neuron and step. silenced: neurons that spiked in the
    float graph and no longer do. differing: share of (neuron, step) bins that differ. notes: what is only approximate.
    """

    name: str
    neurons: int
    scale: float
    weight_error: float
    threshold_error: float
    decay_error: float
    saturated: int
    vanished: int
    rate_float: float
    rate: float
    silenced: int
    differing: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@final
@dataclass(frozen=True, eq=False)
class Quantised:
    """The network, and a report for each population in its order."""

    network: Network
    reports: tuple[NodeReport, ...]


def quantise(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], *, calibrate: bool) -> Quantised:
    """Return the Network nearest to `graph`.

    inputs: name -> (samples, steps, size) spikes or counts, on which rates are compared. calibrate: let them choose the
    scales too. Raises NetworkError for delays or thresholds that no integers can stand for.
    """
    trains, _ = float_run(graph, inputs)
    everything = {**inputs, **trains}
    names = _names(graph)
    nodes: dict[str, Node] = {
        names[name]: Input(shape, max(1, int(inputs[name].max()))) for name, shape in graph.inputs.items()
    }
    projections: dict[str, Projection] = {}
    costs: dict[str, dict[str, Any]] = {}
    delays, depth = _checked_delays(graph), depths(graph)
    for name, neurons in graph.neurons.items():
        arriving = {key: m for key, m in graph.maps.items() if m.target == name}
        data = everything if calibrate else None
        scale = search_scale(neurons, arriving, {key: delays[key] for key in arriving}, data, trains[name], depth[name])
        population, cost = _population(neurons, arriving, scale, depth[name])
        nodes[names[name]] = population
        for key, found in arriving.items():
            made, clipped, vanished, error = _projection(graph, names, found, neurons, scale, delays[key])
            projections[legal_name(key, {*nodes, *projections, *names.values()})] = made
            cost["saturated"] += clipped
            cost["vanished"] += vanished
            cost["weight_error"] = max(cost["weight_error"], error)
            cost["notes"] += _notes(found, neurons, delays[key])
        costs[name] = cost
    for name, source in graph.outputs.items():
        nodes[legal_name(name, {*nodes, *projections})] = Output(
            names[source], "spikes" if graph.neurons[source].fires else "voltage"
        )
    provenance = {"import": {"writer": graph.writer, "dt": graph.dt}}
    network = Network(nodes, projections, graph.dt, provenance)
    got = reference.run(network, {names[name]: np.asarray(x, np.uint8) for name, x in inputs.items()}).spikes
    reports = tuple(
        _report(names[name], neurons, costs[name], trains[name], got[names[name]])
        for name, neurons in graph.neurons.items()
    )
    return Quantised(network, reports)


def _names(graph: FloatGraph) -> dict[str, str]:
    taken: set[str] = set()
    result = {}
    for name in (*graph.inputs, *graph.neurons):
        result[name] = legal_name(name, taken)
        taken.add(result[name])
    return result


def _checked_delays(graph: FloatGraph) -> dict[str, npt.NDArray[np.int64]]:
    """Return the delays of every map in steps; negative ones, of feedback over several layers, are 0."""
    result = {name: np.maximum(steps, 0) for name, steps in map_delays(graph).items()}
    for name, steps in result.items():
        if steps.size and steps.max() > DELAY_MAX:
            raise NetworkError(
                f"node {name!r}: expected delays of up to {DELAY_MAX} steps, got {int(steps.max())} (paths of "
                "different length counted)"
            )
    return result


def _population(
    neurons: FloatNeurons, arriving: Mapping[str, LinearMap], scale: float, depth: int
) -> tuple[Population, dict[str, Any]]:
    def shaped(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return smallest_form(np.asarray(values, np.int64).reshape(neurons.shape))

    current, voltage = np.rint(DECAY_UNITY * neurons.a), np.rint(DECAY_UNITY * neurons.b)
    decay_error = max(
        float(np.abs(current / DECAY_UNITY - neurons.a).max()), float(np.abs(voltage / DECAY_UNITY - neurons.b).max())
    )
    threshold = np.full(neurons.a.shape, float(NEVER_FIRES))
    threshold_error, saturated = 0.0, 0
    if neurons.fires:
        wanted = neurons.threshold * scale / 64
        threshold = np.clip(np.rint(wanted), 0, THRESHOLD_MAX)
        saturated += int((wanted > THRESHOLD_MAX + 1).sum())
        safe = np.maximum(np.abs(wanted), 1e-12)
        threshold_error = float(np.max(np.abs(threshold - wanted) / safe)) if (wanted > 0).any() else 0.0
    constant = neurons.bias * scale
    for found in arriving.values():
        # Through the current a constant drive settles at drive / a; for a = 0 it grows without end.
        held = neurons.gain * found.bias * scale
        constant = constant + np.divide(held, neurons.a, out=np.zeros_like(held), where=neurons.a > 0)
    exponent = 0
    while exponent < BIAS_EXP_MAX and np.abs(constant).max(initial=0.0) > BIAS_MAX << exponent:
        exponent += 1
    bias = np.clip(np.rint(constant / 2**exponent), -BIAS_MAX, BIAS_MAX)
    saturated += int((np.abs(constant) > (BIAS_MAX + 0.5) * 2**exponent).sum())
    start = _start(np.rint(neurons.start * scale), bias.astype(np.int64) << exponent, voltage.astype(np.int64), depth)
    population = Population(
        neurons.shape,
        shaped(current),
        shaped(voltage),
        shaped(threshold),
        shaped(bias),
        exponent if bias.any() else 6,
        shaped(np.clip(start, -(2**31) + 1, 2**31 - 1)),
    )
    cost = {
        "scale": scale,
        "weight_error": 0.0,
        "threshold_error": threshold_error,
        "decay_error": decay_error,
        "saturated": saturated,
        "vanished": 0,
        "notes": _start_notes(neurons, start, bias, scale, depth),
    }
    return population, cost


def _start(
    wanted: Floats, bias: npt.NDArray[np.int64], decay: npt.NDArray[np.int64], depth: int
) -> npt.NDArray[np.int64]:
    """Return the voltage from which `depth` steps of bias alone lead to `wanted`; where b = 1 nothing carries over."""
    voltage = wanted.astype(np.int64)
    for _ in range(depth):
        voltage = before_decay(voltage - bias, decay)
    return voltage


def _start_notes(
    neurons: FloatNeurons, start: npt.NDArray[np.int64], bias: Floats, scale: float, depth: int
) -> list[str]:
    if depth and neurons.fires and (start > neurons.threshold * scale).any():
        return ["a negative bias needs a start above the threshold: the first steps differ"]
    if depth and (neurons.b >= 1).any() and (bias > 0).any():
        return ["with a voltage decay of 1 a bias acts before the first input"]
    return []


def _projection(
    graph: FloatGraph,
    names: Mapping[str, str],
    found: LinearMap,
    neurons: FloatNeurons,
    scale: float,
    delay: npt.NDArray[np.int64],
) -> tuple[Projection, int, int, float]:
    """Return the projection, and how many weights were clipped, vanished, and by how much they are wrong at most."""
    source, target = names[found.source], names[found.target]
    kernel = found.convolution
    shape = graph.neurons[found.source].shape if found.source in graph.neurons else graph.inputs[found.source]
    per_channel = neurons.gain.reshape(neurons.shape[0], -1)
    whole = delay.reshape(shape[0], -1) if len(shape) == 3 else delay.reshape(-1, 1)
    fits = found.out_shape == neurons.shape and (per_channel == per_channel[:, :1]).all()
    if kernel is not None and fits and (whole == whole[:, :1]).all():
        wanted = kernel[0] * per_channel[:, :1, None, None] * (scale / 64)
        weights, clipped, vanished, error = integer_weights(wanted)
        late = whole[:, 0] if (whole[:, 0] != whole[0, 0]).any() else np.asarray(whole[0, 0])
        return Convolution(source, target, weights, *kernel[1], late), clipped, vanished, error
    matrix = found.matrix.tocoo()
    wanted = matrix.data * neurons.gain[matrix.row] * (scale / 64)
    weights, clipped, vanished, error = integer_weights(wanted)
    order = np.lexsort((matrix.row, matrix.col))
    order = order[weights[order] != 0]
    each = delay[matrix.col[order]]
    one = np.asarray(delay[0]) if delay.size and (delay == delay[0]).all() else each
    made = Synapses(source, target, matrix.col[order], matrix.row[order], weights[order], one)
    return made, clipped, vanished, error


def _notes(found: LinearMap, neurons: FloatNeurons, delay: npt.NDArray[np.int64]) -> list[str]:
    notes = []
    if found.bias.any() and neurons.through_current and (neurons.a < 1).any():
        notes.append("a bias that passes the current acts at once instead of settling")
    return notes


def _report(
    name: str,
    neurons: FloatNeurons,
    cost: dict[str, Any],
    wanted: npt.NDArray[np.uint8],
    got: npt.NDArray[np.uint8],
) -> NodeReport:
    spiked = wanted.any(axis=(0, 1)) & ~got.any(axis=(0, 1))
    return NodeReport(
        name,
        int(neurons.a.size),
        rate_float=float(wanted.mean()),
        rate=float(got.mean()),
        silenced=int(spiked.sum()),
        differing=float((wanted != got).mean()),
        **{**cost, "notes": tuple(dict.fromkeys(cost["notes"]))},
    )
