"""A float graph simulated in float64, in the timing of a Network: what quantisation is measured against."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .conventions import WRITERS, Convention, Firing
from .graph import FloatGraph
from .operators import Floats

Trains = dict[str, npt.NDArray[np.uint8]]
CHUNK_BYTES = 2**28  # of one operator's result at a time


def order_of(graph: FloatGraph) -> list[str]:
    """Return the neurons in the order in which they act within a step of their framework.

    Depth first from the inputs, so that every map leads to later neurons, but for those that close a loop: these
    bring the spikes of the last step.
    """
    done: list[str] = []
    visited: set[str] = set()
    after: dict[str, list[str]] = {}
    for each_map in graph.maps.values():
        after.setdefault(each_map.source, []).append(each_map.target)
    for root in (*graph.inputs, *graph.neurons):
        stack: list[tuple[str, Iterator[str]]] = [] if root in visited else [(root, iter(after.get(root, [])))]
        visited.add(root)
        while stack:
            name, targets = stack[-1]
            target = next((each for each in targets if each not in visited), None)
            if target is None:
                done.append(name)
                stack.pop()
            else:
                visited.add(target)
                stack.append((target, iter(after.get(target, []))))
    return [name for name in reversed(done) if name in graph.neurons]


def start_steps(graph: FloatGraph) -> dict[str, int]:
    """Return for every input (0) and every set of neurons how many steps later than its framework a Network runs it.

    A framework passes spikes on within a step, a Network from one step to the next; so neurons at the end of a path of
    n maps run n steps later. Of several paths the longest counts. Maps that close a loop are left out.
    """
    order = order_of(graph)
    place = {name: i for i, name in enumerate(order)}
    result = dict.fromkeys((*graph.inputs, *graph.neurons), 0)
    for name in (*graph.inputs, *order):
        for each_map in graph.maps.values():
            if each_map.source == name and (name in graph.inputs or place[name] < place[each_map.target]):
                result[each_map.target] = max(result[each_map.target], result[name] + 1)
    return result


def map_delays(graph: FloatGraph) -> dict[str, npt.NDArray[np.int64]]:
    """Return for every map the steps (size of its source) beyond the one of transport, which may be negative.

    They hold what keeps paths of different length in step, and the graph's own delays, rounded to whole steps. A map
    that closes a loop brings the spikes of the last step, unless the graph itself delays them by a step or more.
    """
    start = start_steps(graph)
    place = {name: i for i, name in enumerate(order_of(graph))}
    result = {}
    for name, found in graph.maps.items():
        own = np.rint(found.delay / graph.dt).astype(np.int64)
        closes = found.source in place and place[found.source] >= place[found.target]
        feedback = np.where(own > 0, 0, 1) if closes else 0
        result[name] = own + feedback + start[found.target] - start[found.source] - 1
    return result


class Dynamics(Protocol):
    """What neurons and maps do in a run: floats, or the integers that stand for them."""

    def rest(self, name: str, n_samples: int) -> Any:
        """Return the state of neurons before their first step."""
        ...

    def apply(self, key: str, spikes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what a map makes of spikes (batch, size of its source)."""
        ...

    def constant(self, name: str) -> npt.NDArray[Any]:
        """Return the drive (size,) that reaches neurons in every step."""
        ...

    def step(self, name: str, state: Any, drive: npt.NDArray[Any]) -> tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the next state, the spikes, and the voltages before reset, all (samples, size)."""
        ...


class FloatDynamics:
    """The float graph itself; its neurons fire as `writer`'s do by default, with NIR's reset where it is None."""

    def __init__(self, graph: FloatGraph, writer: Convention | None = None) -> None:
        self.graph, self.writer = graph, writer

    def rest(self, name: str, n_samples: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return current 0, the voltage that neurons start from, and that they have not spiked: now, and lately."""
        voltage = np.tile(self.graph.neurons[name].start, (n_samples, 1))
        return np.zeros_like(voltage), voltage, np.zeros_like(voltage), np.zeros_like(voltage)

    def apply(self, key: str, spikes: npt.NDArray[Any]) -> Floats:
        """Return the weighted sums of spikes."""
        return self.graph.maps[key].operator.apply(spikes.astype(np.float64))

    def constant(self, name: str) -> Floats:
        """Return the biases of the linear nodes in front of neurons."""
        return self.graph.biases[name]

    def step(self, name: str, state: Any, drive: Floats) -> tuple[Any, npt.NDArray[Any], Floats]:
        """Return one step of the recursion in `conventions.py`."""
        neurons, (u, held, last, remaining) = self.graph.neurons[name], state
        firing, theta = Firing(neurons.at_threshold), neurons.threshold
        if self.writer is not None:
            firing = self.writer.fires_as(neurons.through_current)
        u = (1 - neurons.a) * u + neurons.gain * drive
        v = np.where(remaining > 0, held, (1 - neurons.b) * held + u + neurons.bias)
        if firing.late:
            v = v - last * theta
        spike = np.zeros(v.shape, bool)
        if neurons.fires:
            spike = (v >= theta if firing.at_threshold else v > theta) & (remaining == 0)
        number = spike.astype(np.float64)
        if firing.several:
            number *= np.clip(np.divide(v, theta, out=np.ones_like(v), where=theta > 0).astype(int), 1, 255)
        after = v if firing.late else v - number * theta if firing.subtracts else np.where(spike, 0.0, v)
        remaining = np.where(spike, neurons.refractory, np.maximum(remaining - 1, 0))
        return (u, after, number, remaining), number, v


def late_maps(graph: FloatGraph) -> set[str]:
    """Return the maps whose spikes come later than in their framework: feedback over several layers."""
    return {name for name, delay in map_delays(graph).items() if delay.min(initial=0) < 0}


def float_run(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[Trains, dict[str, Floats]]:
    """Simulate in floats; neurons that start n steps late start in step n, when the first spikes can reach them.

    Args:
        graph: what `read_graph` returned.
        inputs: name -> (samples, steps, size) spikes or counts.

    Returns:
        Neurons -> (samples, steps, size) uint8 spikes, and neurons -> the same of float64 voltages before reset.
        Delays that would be negative (feedback over several layers) are taken as 0.
    """
    return simulate(graph, inputs, FloatDynamics(graph))


def default_runs(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Trains]:
    """Return writer -> the spikes that its neurons send by default, as `float_run` returns them.

    The writers are those whose files read as this one does; those whose neurons do what NIR's do are left out.
    """
    runs: dict[str, Trains] = {}
    known: dict[tuple[Firing, Firing], Trains] = {}
    for name, other in WRITERS.items():
        firing = (other.fires_as(False), other.fires_as(True))
        if other.reads_as(WRITERS[graph.writer]) and firing != (Firing(), Firing()):
            if firing not in known:
                known[firing] = simulate(graph, inputs, FloatDynamics(graph, other))[0]
            runs[name] = known[firing]
    return runs


def simulate(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], dynamics: Dynamics
) -> tuple[Trains, dict[str, npt.NDArray[Any]]]:
    """Return spikes and voltages of all neurons in the timing of a Network, as `float_run` does."""
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    trains: dict[str, npt.NDArray[Any]] = dict(inputs)
    voltages: dict[str, npt.NDArray[Any]] = {}
    start = start_steps(graph)
    steps = {name: np.maximum(delay, 0) for name, delay in map_delays(graph).items()}
    for group in _groups(graph):
        for name in group:
            shape = (n_samples, n_steps, graph.neurons[name].a.size)
            trains[name], voltages[name] = np.zeros(shape, np.uint8), np.zeros(shape)
        inside = {key for key, m in graph.maps.items() if m.source in group and m.target in group}
        drive = {name: _drive(graph, name, trains, steps, inside, dynamics) for name in group}
        state = {name: dynamics.rest(name, n_samples) for name in group}
        for t in range(n_steps):
            for key in inside:
                m = graph.maps[key]
                for d in np.unique(steps[key]):
                    if t - 1 - d >= 0:
                        drive[m.target][:, t] += dynamics.apply(key, trains[m.source][:, t - 1 - d] * (steps[key] == d))
            for name in group:
                if t >= start[name]:
                    state[name], spike, voltages[name][:, t] = dynamics.step(name, state[name], drive[name][:, t])
                    trains[name][:, t] = spike
    return {name: trains[name] for name in graph.neurons}, voltages


def _groups(graph: FloatGraph) -> list[list[str]]:
    """Return the neurons in groups that do not depend on later groups; those of a loop are in one."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    order = order_of(graph)
    place = {name: i for i, name in enumerate(order)}
    pairs = [(place[m.source], place[m.target]) for m in graph.maps.values() if m.source in place]
    rows, columns = (np.array([pair[i] for pair in pairs], int) for i in (0, 1))
    adjacency = csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=(len(order), len(order)))
    _, label = connected_components(adjacency, directed=True, connection="strong")
    groups: dict[int, list[str]] = {}
    for i, name in enumerate(order):
        groups.setdefault(int(label[i]), []).append(name)
    return list(groups.values())


def _drive(
    graph: FloatGraph,
    target: str,
    trains: Mapping[str, npt.NDArray[Any]],
    steps: Mapping[str, npt.NDArray[np.int64]],
    inside: set[str],
    dynamics: Dynamics,
) -> npt.NDArray[Any]:
    """Return what reaches neurons from outside their own loop, constants included: (samples, steps, size)."""
    n_samples, n_steps, size = trains[target].shape
    total = np.tile(dynamics.constant(target), (n_samples * n_steps, 1))
    for key, m in graph.maps.items():
        if m.target != target or key in inside:
            continue
        flat = delayed(trains[m.source], steps[key]).reshape(n_samples * n_steps, -1)
        rows = max(1, CHUNK_BYTES // (8 * max(flat.shape[1], size)))
        for first in range(0, len(flat), rows):
            total[first : first + rows] += dynamics.apply(key, flat[first : first + rows])
    return total.reshape(n_samples, n_steps, size)


def framework_run(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]
) -> tuple[Trains, dict[str, npt.NDArray[Any]]]:
    """Return spikes and voltages as `float_run` does, in the framework's own timing: no step of transport.

    Slower than `float_run`, which is the same but for feedback over several layers.
    """
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    dynamics, order = FloatDynamics(graph), order_of(graph)
    place = {name: i for i, name in enumerate(order)}
    trains: dict[str, npt.NDArray[Any]] = dict(inputs)
    for name in order:
        trains[name] = np.zeros((n_samples, n_steps, graph.neurons[name].a.size), np.uint8)
    voltages = {name: np.zeros(trains[name].shape) for name in order}
    state = {name: dynamics.rest(name, n_samples) for name in order}
    for t in range(n_steps):
        for name in order:
            drive = np.tile(dynamics.constant(name), (n_samples, 1))
            for key, m in graph.maps.items():
                if m.target != name:
                    continue
                own = np.rint(m.delay / graph.dt).astype(np.int64)
                closes = m.source in place and place[m.source] >= place[name]
                steps = np.where(own > 0, own, 1) if closes else own
                for d in np.unique(steps):
                    if t >= d:
                        drive += dynamics.apply(key, trains[m.source][:, t - d] * (steps == d))
            state[name], trains[name][:, t], voltages[name][:, t] = dynamics.step(name, state[name], drive)
    return {name: trains[name] for name in graph.neurons}, voltages


def delayed(train: npt.NDArray[Any], steps: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return spikes (samples, steps, size) as they arrive: one step of transport and `steps` (size,) later."""
    late = np.zeros_like(train)
    for d in np.unique(steps):
        chosen = steps == d
        if d + 1 < train.shape[1]:
            late[:, d + 1 :, chosen] = train[:, : train.shape[1] - d - 1, chosen]
    return late
