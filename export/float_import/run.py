"""A float graph simulated in float64, in the timing of a Network: what quantisation is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph import FloatGraph


def depths(graph: FloatGraph) -> dict[str, int]:
    """Return for every input (0) and every set of neurons how many steps later than its framework a Network runs it.

    A framework passes spikes on within a step, a Network from one step to the next; so neurons at the end of a path of
    n maps run n steps later. Of several paths the longest counts. Maps that close a loop are left out.
    """
    order: list[str] = []
    back: set[str] = set()
    state: dict[str, int] = {}

    def visit(name: str) -> None:
        state[name] = 1
        for key, found in graph.maps.items():
            if found.source == name:
                if state.get(found.target) == 1:
                    back.add(key)
                elif found.target not in state:
                    visit(found.target)
        state[name] = 2
        order.append(name)

    for name in (*graph.inputs, *graph.neurons):
        if name not in state:
            visit(name)
    result = dict.fromkeys((*graph.inputs, *graph.neurons), 0)
    for name in reversed(order):
        for key, found in graph.maps.items():
            if found.source == name and key not in back:
                result[found.target] = max(result[found.target], result[name] + 1)
    return result


def map_delays(graph: FloatGraph) -> dict[str, npt.NDArray[np.int64]]:
    """Return for every map the steps (size of its source) beyond the one of transport, which may be negative.

    They hold what keeps paths of different length in step, and the graph's own delays, rounded to whole steps.
    """
    depth = depths(graph)
    result = {}
    for name, found in graph.maps.items():
        loop = depth[found.target] <= depth[found.source]
        extra = depth[found.target] - depth[found.source] - (0 if loop else 1)
        result[name] = np.rint(found.delay / graph.dt).astype(np.int64) + extra
    return result


def float_run(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]
) -> tuple[dict[str, npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.float64]]]:
    """Simulate; neurons of depth n start in step n, when the first spikes can reach them.

    inputs: name -> (samples, steps, size). Returns neurons -> (samples, steps, size) uint8 spikes, and float64 voltages
    (before reset). Delays that would be negative (feedback over several layers) are taken as 0.
    """
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    trains: dict[str, npt.NDArray[Any]] = dict(inputs)
    voltages: dict[str, npt.NDArray[np.float64]] = {}
    state = {}
    for name, n in graph.neurons.items():
        trains[name] = np.zeros((n_samples, n_steps, n.a.size), np.uint8)
        voltages[name] = np.zeros((n_samples, n_steps, n.a.size))
        state[name] = (np.zeros((n_samples, n.a.size)), np.tile(n.start, (n_samples, 1)))
    depth = depths(graph)
    steps = {name: np.maximum(delay, 0) for name, delay in map_delays(graph).items()}
    for t in range(n_steps):
        drive = {name: np.zeros((n_samples, n.a.size)) for name, n in graph.neurons.items()}
        for name, m in graph.maps.items():
            drive[m.target] += m.bias
            for d in np.unique(steps[name]):
                if t - 1 - d >= 0:
                    arriving = trains[m.source][:, t - 1 - d] * (steps[name] == d)
                    drive[m.target] += (m.matrix @ arriving.T).T
        for name, n in graph.neurons.items():
            if t < depth[name]:
                continue
            u, v = state[name]
            u = (1 - n.a) * u + n.gain * drive[name]
            v = (1 - n.b) * v + u + n.bias
            voltages[name][:, t] = v
            if n.fires:
                spike = v > n.threshold
                trains[name][:, t] = spike
                v = np.where(spike, 0.0, v)
            state[name] = (u, v)
    return {name: trains[name] for name in graph.neurons}, voltages
