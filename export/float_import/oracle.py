"""A float NIR graph run node by node, as NIR defines it: what arrives at a node is added, then the node acts.

This is the check on `flatten.py`, `graph.py`, `operators.py` and `run.py`. It uses neither their graph, their maps nor
their timing: it runs the graph as it stands in the file, nested graphs included, every linear node works on arrays with
its own few lines, and a node asks its sources for what they send. Shared are what NIR leaves open: what a writer's
numbers mean (`conventions.py`, through `neurons_of`), the shape of a sample, and the order of neurons in a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError

from .file import FloatFile, FloatNode
from .graph import FloatGraph
from .nodes import NEURONS
from .run import float_run, framework_run, late_maps, order_of, start_steps

Values = npt.NDArray[np.float64]
TIE = 1e-6  # of the threshold: closer than this, the order of additions in float64 may decide


@dataclass
class _State:
    """Of one set of neurons: current, voltage, and what it sends, all (samples, size); the step it acted in last."""

    u: Values
    v: Values
    sends: Values
    margin: Values
    acted: int = -1
    free: int | npt.NDArray[np.int64] = 0  # the first step that no refractory period takes


class _Scope:
    """A graph of the file, or one nested in it. name: '' for the whole, else 'subgraph.' before its nodes' names."""

    def __init__(self, name: str, file: FloatFile, outer: _Scope | None = None, own: str = "") -> None:
        self.name, self.nodes, self.outer, self.own = name, file.nodes, outer, own
        self.before: dict[str, list[str]] = {}
        for a, b in file.edges:
            sources = self.before.setdefault(b, [])
            if a not in sources:
                sources.append(a)
        self.inner = {
            key: _Scope(f"{name}{key}.", node, self, key)
            for key, node in file.nodes.items()
            if isinstance(node, FloatFile)
        }

    def port(self, kind: str) -> str:
        """Return the name of the Input or Output of a nested graph."""
        return next(key for key, node in self.nodes.items() if isinstance(node, FloatNode) and node.kind == kind)

    def each(self) -> Iterator[tuple[_Scope, str, FloatNode]]:
        """Yield every node of this graph and of those in it."""
        for key, node in self.nodes.items():
            if isinstance(node, FloatNode):
                yield self, key, node
        for scope in self.inner.values():
            yield from scope.each()


class _Run:
    """The graph in motion."""

    def __init__(self, graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self.graph, self.root, self.t = graph, _Scope("", graph.file), 0
        self.inputs = {name: np.asarray(x, np.float64) for name, x in inputs.items()}
        self.n_samples, self.n_steps, _ = next(iter(self.inputs.values())).shape
        self.places = {f"{scope.name}{key}": (scope, key) for scope, key, _ in self.root.each()}
        self.state: dict[str, _State] = {}
        for scope, key, node in self.root.each():
            if node.kind in NEURONS:
                start = np.tile(graph.neurons[f"{scope.name}{key}"].start, (self.n_samples, 1))
                self.state[f"{scope.name}{key}"] = _State(np.zeros_like(start), start, *(np.zeros_like(start),) * 2)
        self.acting = ""
        self.upstream = {name: self._upstream(name) for name in self.state}
        self.past: dict[str, list[Values]] = {
            f"{scope.name}{key}": [] for scope, key, node in self.root.each() if node.kind == "Delay"
        }

    def step(self) -> dict[str, Values]:
        """Let all neurons act once and return what each Output shows, (samples, size)."""
        for name in order_of(self.graph):
            if name in self.state:
                self._act(*self.places[name])
        shown = {
            key: self._arriving(self.root, key).reshape(self.n_samples, -1)
            for key, node in self.root.nodes.items()
            if isinstance(node, FloatNode) and node.kind == "Output"
        }
        now = {name: self._arriving(*self.places[name]).reshape(self.n_samples, -1) for name in self.past}
        for name, past in self.past.items():
            past.append(now[name])
        self.t += 1
        return shown

    def _act(self, scope: _Scope, key: str) -> None:
        """Let neurons act in this step, unless they have; their sources act first, but those in a loop with them."""
        name = f"{scope.name}{key}"
        neurons, state = self.graph.neurons[name], self.state[name]
        if state.acted == self.t or self.acting in self.upstream[name]:
            return
        before, self.acting = self.acting, name
        drive = self._arriving(scope, key).reshape(self.n_samples, -1)
        self.acting, state.acted = before, self.t
        state.u = (1 - neurons.a) * state.u + neurons.gain * drive
        integrated = (1 - neurons.b) * state.v + state.u + neurons.bias
        state.v = np.where(self.t >= state.free, integrated, state.v)
        if not neurons.fires:
            state.sends = state.v
            return
        state.margin = np.abs(state.v - neurons.threshold) / np.maximum(np.abs(neurons.threshold), 1e-12)
        spike = state.v >= neurons.threshold if neurons.at_threshold else state.v > neurons.threshold
        spike = spike & (self.t >= state.free)
        state.v = np.where(spike, 0.0, state.v)
        state.free = np.where(spike, self.t + 1 + neurons.refractory, state.free)
        state.sends = spike.astype(np.float64)

    def _upstream(self, name: str) -> set[str]:
        """Return the neurons from which a way leads to these."""
        found: set[str] = set()
        seen: set[str] = set()
        stack = self._before(*self.places[name])
        while stack:
            scope, key = stack.pop()
            if (full := f"{scope.name}{key}") in seen:
                continue
            seen.add(full)
            if full in self.state:
                found.add(full)
            stack += self._before(scope, key)
        return found

    def _before(self, scope: _Scope, key: str) -> list[tuple[_Scope, str]]:
        """Return what a node hands on: its sources, for a nested graph or its Input what is on the other side."""
        if key in scope.inner:
            inner = scope.inner[key]
            return [(inner, inner.port("Output"))]
        node = scope.nodes[key]
        if scope.outer is not None and isinstance(node, FloatNode) and node.kind == "Input":
            scope, key = scope.outer, scope.own
        return [(scope, source) for source in scope.before.get(key, [])]

    def _arriving(self, scope: _Scope, key: str) -> Values:
        """Return the sum of what the sources of a node send, in the shape that a sample has there."""
        parts = [self._sent(scope, source) for source in scope.before.get(key, [])]
        if not parts and scope is self.root and scope.nodes[key].kind in ("Linear", "Affine"):  # type: ignore[union-attr]
            parts = [self._sent_by_input(name) for name in self.inputs if name not in scope.nodes]  # its Input was lost
        if not parts:
            return np.zeros((self.n_samples, self.graph.neurons[f"{scope.name}{key}"].a.size))
        total = parts[0]
        for part in parts[1:]:
            total = total + part.reshape(total.shape)
        return total

    def _sent_by_input(self, name: str) -> Values:
        return self.inputs[name][:, self.t].reshape(self.n_samples, *self.graph.inputs[name])

    def _sent(self, scope: _Scope, key: str) -> Values:
        """Return what a node sends in this step."""
        node, name = scope.nodes[key], f"{scope.name}{key}"
        if isinstance(node, FloatFile):
            inner = scope.inner[key]
            return self._arriving(inner, inner.port("Output"))
        if node.kind == "Input":
            return self._sent_by_input(key) if scope.outer is None else self._arriving(scope.outer, scope.own)
        if name in self.state:
            self._act(scope, key)
            return self.state[name].sends.reshape(self.n_samples, *self.graph.neurons[name].shape)
        x = self._arriving(scope, key)
        if node.kind == "Delay":
            return self._delayed(name, node, x)
        if node.kind == "Flatten":
            return x.reshape(self.n_samples, -1)
        if node.kind == "Scale":
            return _scaled(x, np.asarray(node["scale"], np.float64))
        if node.kind in ("Linear", "Affine"):
            product = np.einsum("oi,ni->no", np.asarray(node["weight"], np.float64), x.reshape(self.n_samples, -1))
            return np.asarray(product + np.asarray(node.get("bias", 0.0), np.float64).reshape(1, -1))
        if node.kind in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
            return _windows(node, x)
        return x

    def _delayed(self, name: str, node: FloatNode, now: Values) -> Values:
        flat = now.reshape(self.n_samples, -1)
        steps = np.rint(np.asarray(node["delay"], np.float64).reshape(-1) / self.graph.dt).astype(int)
        steps = np.broadcast_to(steps, flat.shape[1:])
        history = [*self.past[name], flat]
        rows = [history[self.t - d][:, i] if self.t >= d else np.zeros(self.n_samples) for i, d in enumerate(steps)]
        return np.stack(rows, axis=1).reshape(now.shape)


def _scaled(x: Values, factor: Values) -> Values:
    if factor.ndim == 2 and x.ndim == 4:  # (C, L) on an image of one row
        factor = factor[:, None, :]
    if factor.ndim == 1 and x.ndim == 4 and factor.size == x.shape[1]:
        factor = factor[:, None, None]
    return x * (factor.reshape(x.shape[1:]) if factor.size == x[0].size else factor)


def _windows(node: FloatNode, x: Values) -> Values:
    """Return a convolution or pooling of x (samples, C, H, W), window by window."""
    channels = x.shape[1]
    if node.kind.endswith("Pool2d"):
        ky, kx = np.broadcast_to(np.asarray(node["kernel_size"]).reshape(-1), (2,)).astype(int)
        kernel = np.full((channels, 1, ky, kx), 1.0 / (ky * kx) if node.kind == "AvgPool2d" else 1.0)
        groups, bias, dilation = channels, np.zeros(1), np.array([1, 1])
    else:
        kernel = np.asarray(node["weight"], np.float64)
        kernel = kernel[:, :, None, :] if kernel.ndim == 3 else kernel
        groups, bias = int(np.asarray(node["groups"]).flat[0]), np.asarray(node["bias"], np.float64).reshape(-1)
        dilation = _both(node["dilation"], node.kind == "Conv1d", 1)
    stride = _both(node["stride"], node.kind == "Conv1d", 1)
    reach = dilation * (np.array(kernel.shape[2:]) - 1)
    padding = node["padding"]
    if isinstance(padding, str):
        total = reach if padding == "same" else np.zeros(2, int)
        front, back = total // 2, total - total // 2
    else:
        front = back = _both(padding, node.kind == "Conv1d", 0)
    padded = np.pad(x, ((0, 0), (0, 0), (front[0], back[0]), (front[1], back[1])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(reach + 1), (2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    per_group, parts = kernel.shape[0] // groups, []
    for group in range(groups):
        chosen = windows[:, group * kernel.shape[1] : (group + 1) * kernel.shape[1]]
        filters = kernel[group * per_group : (group + 1) * per_group]
        parts.append(np.tensordot(chosen, filters, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2))
    out = np.concatenate(parts, axis=1)
    return out + bias.reshape(1, -1, 1, 1)


def _both(values: Any, one_axis: bool, default: int) -> npt.NDArray[np.int64]:
    flat = np.asarray(values).reshape(-1).astype(np.int64)
    return np.array([default, flat[0]]) if one_axis else np.broadcast_to(flat, (2,))


def refuse_misreading(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    """Compare the maps' float run with the graph run node by node; return how many (neuron, step) bins were compared.

    Compared are the spikes of all neurons, and what every Output shows, voltages included.

    Args:
        graph: what `read_graph` returned.
        inputs: name -> (samples, steps, size).

    Raises:
        NetworkError: naming the first node that differs: the file would be misread, which nothing behind this point
            could notice.
    """
    if late_maps(graph):
        (spikes, voltages), late = framework_run(graph, inputs), dict.fromkeys(graph.neurons, 0)
    else:
        (spikes, voltages), late = float_run(graph, inputs), start_steps(graph)
    run = _Run(graph, inputs)
    open_samples = np.ones(run.n_samples, bool)
    bins = 0
    firing = [name for name in order_of(graph) if name in run.state and graph.neurons[name].fires]
    for t in range(run.n_steps):
        shown = run.step()
        for name in firing:
            if t + late[name] >= run.n_steps:
                continue
            state, mapped = run.state[name], spikes[name][:, t + late[name]]
            bins += int(open_samples.sum()) * mapped.shape[1]
            differs = (mapped != state.sends) & open_samples[:, None]
            _refuse(name, t, differs & (state.margin >= TIE), (state.sends, mapped), "spikes of neuron")
            open_samples &= ~differs.any(axis=1)  # a tie: from here on both are right
        for name, value in shown.items():
            source = graph.outputs[name]
            if t + late[source] >= run.n_steps:
                continue
            trains = spikes if graph.neurons[source].fires else voltages
            mapped = np.asarray(trains[source][:, t + late[source]], np.float64)
            differs = np.abs(mapped - value) > TIE * max(1.0, float(np.abs(value).max(initial=0.0)))
            bins += int(open_samples.sum()) * mapped.shape[1]
            _refuse(name, t, differs & open_samples[:, None], (value, mapped), "at place")
    return bins


def _refuse(
    name: str, t: int, differs: npt.NDArray[np.bool_], values: tuple[Values, npt.NDArray[Any]], of: str
) -> None:
    """Raise NetworkError for the first place that differs; values: as NIR defines them, and as the maps have them."""
    if differs.any():
        place = tuple(int(i) for i in np.argwhere(differs)[0])
        raise NetworkError(
            f"node {name!r}: expected {values[0][place]:g} {of} {place[1]} in step {t} as NIR defines the graph, got "
            f"{values[1][place]:g} from the maps it was read as; this graph cannot be imported"
        )
