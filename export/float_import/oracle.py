"""A float NIR graph run node by node, as NIR defines it: what arrives at a node is added, then the node acts.

This is the check on `graph.py`, `operators.py` and `run.py`. It uses neither their maps nor their timing: nested
graphs are looked into where they stand, every linear node works on arrays with its own few lines, and a step is one
round over the neurons. Only what a writer's numbers mean (`conventions.py`, through `neurons_of`) is shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError

from .graph import FloatGraph
from .nodes import NEURONS
from .run import float_run, framework_run, late_maps, order_of, start_steps

Values = npt.NDArray[np.float64]
TIE = 1e-6  # of the threshold: closer than this, the order of additions in float64 may decide


@dataclass
class _State:
    """Of one set of neurons: current, voltage, and what it sends, all (samples, size)."""

    u: Values
    v: Values
    sends: Values
    acted: int = -1  # the last step in which it acted
    margin: Values = field(default_factory=lambda: np.zeros((0, 0)))


class _Run:
    """The graph in motion. order: in which neurons act within a step; later ones see the spikes of earlier ones."""

    def __init__(self, graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], order: Sequence[str]) -> None:
        self.graph, self.order = graph, order
        self.inputs = {name: np.asarray(x, np.float64) for name, x in inputs.items()}
        self.n_samples, self.n_steps, _ = next(iter(self.inputs.values())).shape
        self.before: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for a, b in dict.fromkeys(graph.edges):
            self.before[b].append(a)
        self.state = {}
        for name, neurons in graph.neurons.items():
            start = np.tile(neurons.start, (self.n_samples, 1))
            self.state[name] = _State(np.zeros_like(start), start, np.zeros_like(start))
        self.past: dict[str, list[Values]] = {name: [] for name, n in graph.nodes.items() if n.kind == "Delay"}

    def step(self, t: int) -> None:
        """Let all neurons act once, then note what stands in front of each Delay."""
        for name in self.order:
            drive = self._arriving(name, t)
            self._act(name, drive, t)
        for name, past in self.past.items():
            past.append(self._arriving(name, t).reshape(self.n_samples, -1))

    def _act(self, name: str, drive: Values, t: int) -> None:
        neurons, state = self.graph.neurons[name], self.state[name]
        flat = drive.reshape(self.n_samples, -1)
        state.u = (1 - neurons.a) * state.u + neurons.gain * flat
        state.v = (1 - neurons.b) * state.v + state.u + neurons.bias
        state.acted = t
        if not neurons.fires:
            state.sends = state.v
            return
        spike = state.v > neurons.threshold
        state.margin = np.abs(state.v - neurons.threshold) / np.maximum(np.abs(neurons.threshold), 1e-12)
        state.v = np.where(spike, 0.0, state.v)
        state.sends = spike.astype(np.float64)

    def _arriving(self, name: str, t: int) -> Values:
        """Return the sum of what the sources of a node send, in the shape that a sample has there."""
        parts = [self._sent(source, t) for source in self.before.get(name, [])]
        if not parts:
            return np.zeros((self.n_samples, self.graph.neurons[name].a.size))
        total = parts[0]
        for part in parts[1:]:
            total = total + part.reshape(total.shape)
        return total

    def _sent(self, name: str, t: int) -> Values:
        """Return what a node sends now; neurons that have not acted in this step still send what they sent last."""
        node = self.graph.nodes[name]
        if node.kind == "Input":
            return self.inputs[name][:, t].reshape(self.n_samples, *self.graph.inputs[name])
        if name in self.state and node.kind in NEURONS:
            return self.state[name].sends.reshape(self.n_samples, *self.graph.neurons[name].shape)
        if node.kind == "Delay":
            return self._delayed(name, t)
        x = self._arriving(name, t)
        if node.kind == "Flatten":
            return x.reshape(self.n_samples, -1)
        if node.kind == "Scale":
            return self._scaled(x, np.asarray(node["scale"], np.float64))
        if node.kind in ("Linear", "Affine"):
            product = np.einsum("oi,ni->no", np.asarray(node["weight"], np.float64), x.reshape(self.n_samples, -1))
            return np.asarray(product + np.asarray(node.get("bias", 0.0), np.float64).reshape(1, -1))
        if node.kind in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
            return _windows(node, x)
        return x

    def _delayed(self, name: str, t: int) -> Values:
        now = self._arriving(name, t)
        steps = np.rint(np.asarray(self.graph.nodes[name]["delay"], np.float64).reshape(-1) / self.graph.dt).astype(int)
        flat = now.reshape(self.n_samples, -1)
        steps = np.broadcast_to(steps, flat.shape[1:])
        history = [*self.past[name], flat]
        rows = [history[t - d][:, i] if t >= d else np.zeros(self.n_samples) for i, d in enumerate(steps)]
        return np.stack(rows, axis=1).reshape(now.shape)

    def _scaled(self, x: Values, factor: Values) -> Values:
        if factor.ndim == 2 and x.ndim == 4:  # (C, L) on an image of one row
            factor = factor[:, None, :]
        if factor.ndim == 1 and x.ndim == 4 and factor.size == x.shape[1]:
            factor = factor[:, None, None]
        return x * (factor.reshape(x.shape[1:]) if factor.size == x[0].size else factor)


def _windows(node: Any, x: Values) -> Values:
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

    inputs: name -> (samples, steps, size). Raises NetworkError naming the first set of neurons that differs: the file
    would be misread, which nothing behind this point could notice.
    """
    if late_maps(graph):
        mapped, late = framework_run(graph, inputs), dict.fromkeys(graph.neurons, 0)
    else:
        (mapped, _), late = float_run(graph, inputs), start_steps(graph)
    run = _Run(graph, inputs, order_of(graph))
    open_samples = np.ones(run.n_samples, bool)
    bins = 0
    firing = [name for name in order_of(graph) if graph.neurons[name].fires and name in graph.nodes]
    firing = [name for name in firing if graph.nodes[name].kind in NEURONS]
    for t in range(run.n_steps):
        run.step(t)
        for name in firing:
            state = run.state[name]
            if t + late[name] >= run.n_steps:
                continue
            expected = state.sends
            differs = (mapped[name][:, t + late[name]] != expected) & open_samples[:, None]
            bins += int(open_samples.sum()) * expected.shape[1]
            if not differs.any():
                continue
            tied = ~differs | (state.margin < TIE)
            if not tied.all():
                sample, neuron = (int(i) for i in np.argwhere(~tied)[0])
                raise NetworkError(
                    f"node {name!r}: expected {int(expected[sample, neuron])} spikes of neuron {neuron} in step {t} as "
                    f"NIR defines the graph, got {int(mapped[name][sample, t + late[name], neuron])} from the maps it "
                    "was read as; this graph cannot be imported"
                )
            open_samples &= ~differs.any(axis=1)
    return bins
