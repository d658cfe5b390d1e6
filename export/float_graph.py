"""A float NIR graph as neurons with linear maps between them, one step of Euler written out.

Whatever lies between two sets of neurons (convolutions, pooling, flattening, weights, scales) is one linear map with a
bias. Every neuron model here is, per step,

    u <- (1 - a) u + g x          g: what the weights' sum x is multiplied with
    v <- (1 - b) v + u + c
    spike where v > theta, and there v = 0

with v counted from the reset voltage. `Convention` says how tau, r and dt make a, b and g:

    euler        a, b = dt/tau; g = b r (LIF), a w_in b r (CubaLIF), dt r (IF). NIR's equations; norse, snnTorch,
                 spikingjelly, lava-dl, Spyx
    exponential  b = 1 - exp(-dt/tau); g = 1. sinabs and rockpool, which do not scale the input by r
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.convolution import convolution_output_shape
from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Shape

Floats = npt.NDArray[np.float64]
Convention = Literal["euler", "exponential"]

NEURONS: Final = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")
LINEAR: Final = ("Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Scale", "Delay")
KNOWN: Final = ("Input", "Output", *NEURONS, *LINEAR)


@dataclass(frozen=True, eq=False)
class FloatNeurons:
    """Neurons of one node, all parameters (size,) float64.

    a, b: decays of u and v per step. gain: g. bias: c. threshold, start: counted from the reset voltage. fires: False
    for a leaky integrator, which is read by its voltage. through_current: the bias of its weights has to pass u.
    """

    shape: Shape
    a: Floats
    b: Floats
    gain: Floats
    bias: Floats
    threshold: Floats
    start: Floats
    fires: bool
    through_current: bool


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What lies between two nodes: y = matrix x + bias, x arriving `delay` (size of the source, seconds) later.

    convolution: the single Conv2d or pooling that it is, as (weight, stride, padding, dilation, groups), else None.
    """

    source: str
    target: str
    matrix: Any  # scipy.sparse.csr_matrix (n_post, n_pre) float64
    bias: Floats
    delay: Floats
    out_shape: Shape
    convolution: tuple[Floats, tuple[int, int], tuple[int, int], tuple[int, int], int] | None


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """inputs, outputs: name -> shape, name -> source. maps: by the name of the last weight node on their way."""

    inputs: Mapping[str, Shape]
    neurons: Mapping[str, FloatNeurons]
    maps: Mapping[str, LinearMap]
    outputs: Mapping[str, str]
    dt: float


def inlined(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges with subgraphs put in place of their node, inner names as 'subgraph.node'."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    doors: dict[str, tuple[list[str], list[str]]] = {}
    for name, node in graph.nodes.items():
        if type(node).__name__ != "NIRGraph":
            nodes[name] = node
            continue
        inner_nodes, inner_edges = inlined(node)
        ports = {n for n, item in inner_nodes.items() if type(item).__name__ in ("Input", "Output")}
        nodes.update({f"{name}.{n}": item for n, item in inner_nodes.items() if n not in ports})
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges if not {a, b} & ports]
        entries = [f"{name}.{b}" for a, b in inner_edges if a in ports and b not in ports]
        exits = [f"{name}.{a}" for a, b in inner_edges if b in ports and a not in ports]
        doors[name] = (entries, exits)
    for a, b in graph.edges:
        for source in doors[a][1] if a in doors else [a]:
            edges += [(source, target) for target in (doors[b][0] if b in doors else [b])]
    return nodes, edges


def read_graph(graph: Any, dt: float, convention: Convention) -> FloatGraph:
    """Return `graph` (nir.NIRGraph) as neurons and linear maps.

    Raises UnsupportedNode for a node without a rule, NetworkError for parameters that make no stable neuron or shapes
    that do not fit, each naming the node.
    """
    nodes, edges = inlined(graph)
    kinds = {name: type(node).__name__ for name, node in nodes.items()}
    for name, kind in kinds.items():
        if kind not in KNOWN:
            raise UnsupportedNode(f"node {name!r}: got a {kind}, allowed are {', '.join(KNOWN)}")
    shapes = {name: _shape(nodes[name].input_type["input"]) for name, kind in kinds.items() if kind == "Input"}
    for name, kind in kinds.items():
        if (
            kind in NEURONS
            and (given := np.shape(getattr(nodes[name], "v_threshold", nodes[name].r)))
            and np.prod(given) > 1
        ):
            shapes[name] = _shape(given)
    walker = _Walker(nodes, kinds, edges, dt)
    maps: dict[str, LinearMap] = {}
    waiting = [name for name, kind in kinds.items() if kind == "Input" or kind in NEURONS]
    # A neuron whose parameters are single values takes its shape from what arrives; so walk as shapes become known.
    while waiting:
        ready = [name for name in waiting if name in shapes]
        if not ready:
            raise NetworkError(f"node {waiting[0]!r}: its shape is not known; allowed are nodes that an Input reaches")
        for source in ready:
            waiting.remove(source)
            for found in walker.maps_from(source, shapes[source]):
                if shapes.setdefault(found.target, found.out_shape) != found.out_shape and np.prod(
                    shapes[found.target]
                ) != np.prod(found.out_shape):
                    raise NetworkError(
                        f"node {found.target!r}: has shape {shapes[found.target]}, what arrives from {source!r} has "
                        f"{found.out_shape}"
                    )
                maps[walker.fresh(maps)] = found
    neurons = {
        name: _neurons(nodes[name], kind, shapes[name], dt, convention, f"node {name!r}")
        for name, kind in kinds.items()
        if kind in NEURONS
    }
    outputs = {name: "" for name, kind in kinds.items() if kind == "Output"}
    for name in outputs:
        before = [a for a, b in edges if b == name]
        if len(before) != 1:
            raise NetworkError(f"node {name!r}: got {len(before)} sources, allowed is one")
        outputs[name] = before[0] if kinds[before[0]] in NEURONS else name
    for name, source in outputs.items():
        if source == name:  # weights straight into the output: a sum that is read and forgotten in every step
            size = int(np.prod(shapes[name]))
            one, none = np.ones(size), np.zeros(size)
            neurons[name] = FloatNeurons(shapes[name], one, one, one, none, none, none, False, False)
    inputs = {name: shapes[name] for name, kind in kinds.items() if kind == "Input"}
    return FloatGraph(inputs, neurons, maps, outputs, dt)


def _shape(given: Any) -> Shape:
    """Return a node's shape as (N,) or (C, H, W); (C, L) becomes (C, 1, L)."""
    shape = tuple(int(size) for size in np.asarray(given).reshape(-1))
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return shape or (1,)


class _Walker:
    """Follows edges from neurons through linear nodes to the next neurons."""

    def __init__(
        self, nodes: Mapping[str, Any], kinds: Mapping[str, str], edges: list[tuple[str, str]], dt: float
    ) -> None:
        self.nodes, self.kinds, self.dt = nodes, kinds, dt
        self.after: dict[str, list[str]] = {}
        for a, b in edges:
            if a not in nodes or b not in nodes:
                raise NetworkError(f"edge {a!r} -> {b!r}: one of its nodes is missing")
            self.after.setdefault(a, []).append(b)
        self.last = ""

    def fresh(self, taken: Mapping[str, Any]) -> str:
        name = self.last
        while name in taken:
            name += "_"
        return name

    def maps_from(self, source: str, shape: Shape) -> Any:
        """Yield the map to every neuron that `source` reaches; `self.last` names its last linear node."""
        size = int(np.prod(shape))
        stack: list[tuple[str, list[str]]] = [(name, []) for name in self.after.get(source, [])]
        while stack:
            name, way = stack.pop(0)
            if name in way:
                raise UnsupportedNode(f"node {name!r}: a loop without neurons; allowed are loops through neurons")
            kind = self.kinds[name]
            if kind in LINEAR:
                stack += [(b, [*way, name]) for b in self.after.get(name, [])]
                continue
            if kind == "Output" and not way:
                continue
            matrix: Any = sparse.identity(size, format="csr")
            bias, delay, here = np.zeros(size), np.zeros(size), shape
            convolution = None
            for step, linear in enumerate(way):
                node = self.nodes[linear]
                if self.kinds[linear] == "Delay":
                    delay = delay + self._delay(node, step, size, f"node {linear!r}")
                    continue
                part, shift, after, convolution = _linear(node, self.kinds[linear], here, f"node {linear!r}")
                matrix, bias, here = part @ matrix, part @ bias + shift, after
            weights = [n for n in way if self.kinds[n] not in ("Delay", "Flatten")]
            self.last = weights[-1] if weights else f"{source}-{name}"
            single = len([n for n in way if self.kinds[n] != "Delay"]) == 1
            yield LinearMap(
                source,
                name,
                sparse.csr_matrix(matrix),
                bias,
                delay,
                here,
                convolution if single and len(shape) == 3 else None,
            )

    def _delay(self, node: Any, step: int, size: int, where: str) -> Floats:
        values = np.asarray(node.delay, np.float64).reshape(-1)
        if values.size != 1 and (values != values[0]).any() and (step or values.size != size):
            raise UnsupportedNode(
                f"{where}: got delays that differ behind weights, allowed is before them, or one for all"
            )
        return np.broadcast_to(values if values.size == size and not step else values[:1], (size,))


_Linear = tuple[Any, Floats, Shape, tuple[Floats, tuple[int, int], tuple[int, int], tuple[int, int], int] | None]


def _linear(node: Any, kind: str, shape: Shape, where: str) -> _Linear:
    """Return (matrix, bias, output shape, convolution or None) of one linear node."""
    size = int(np.prod(shape))
    if kind == "Flatten":
        return sparse.identity(size, format="csr"), np.zeros(size), (size,), None
    if kind == "Scale":
        factor = np.broadcast_to(np.asarray(node.scale, np.float64), shape).reshape(-1)
        return sparse.diags(factor, format="csr"), np.zeros(size), shape, None
    if kind in ("Linear", "Affine"):
        weight = np.asarray(node.weight, np.float64)
        if weight.ndim != 2 or weight.shape[1] != size:
            raise NetworkError(f"{where} weight: got shape {weight.shape}, allowed (N, {size})")
        shift = np.broadcast_to(np.asarray(getattr(node, "bias", 0.0), np.float64), weight.shape[:1])
        return sparse.csr_matrix(weight), shift, weight.shape[:1], None
    if len(shape) != 3:
        raise NetworkError(f"{where}: got an input of shape {shape}, allowed is (C, H, W)")
    if kind in ("SumPool2d", "AvgPool2d"):
        ky, kx = _two(node.kernel_size)
        weight = np.full((shape[0], 1, ky, kx), 1.0 if kind == "SumPool2d" else 1.0 / (ky * kx))
        parts = (weight, _two(node.stride), _two(node.padding), (1, 1), shape[0])
        bias = 0.0
    else:
        weight = np.asarray(node.weight, np.float64)
        stride, dilation, bias = node.stride, node.dilation, node.bias
        if kind == "Conv1d":
            weight = weight[:, :, None, :]
            stride, dilation = (1, int(np.asarray(stride).flat[0])), (1, int(np.asarray(dilation).flat[0]))
        padding = _padding(node.padding, weight.shape[2:], _two(stride), _two(dilation), kind == "Conv1d", where)
        parts = (weight, _two(stride), padding, _two(dilation), int(np.asarray(node.groups).flat[0]))
    out = convolution_output_shape(shape, parts[0].shape, *parts[1:])
    shift = np.broadcast_to(np.asarray(bias, np.float64).reshape(-1, 1, 1), out).reshape(-1)
    return conv_matrix(shape, out, *parts), shift, out, parts


def _two(values: Any) -> tuple[int, int]:
    y, x = np.broadcast_to(np.asarray(values).reshape(-1), (2,))
    return int(y), int(x)


def _padding(
    given: Any, kernel: Shape, stride: tuple[int, int], dilation: tuple[int, int], one_axis: bool, where: str
) -> tuple[int, int]:
    if not isinstance(given, str):
        return (0, int(np.asarray(given).flat[0])) if one_axis else _two(given)
    if given == "valid":
        return 0, 0
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if stride != (1, 1) or any(r % 2 for r in reach):
        raise UnsupportedNode(f"{where} padding: got 'same' with a stride or an even kernel, allowed are integers")
    return reach[0] // 2, reach[1] // 2


def conv_matrix(
    shape: Shape,
    out: Shape,
    weight: Floats,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Any:
    """Return a convolution as a matrix (size of out, size of shape), both in C order; csr float64."""
    c_out, c_in = weight.shape[:2]
    o, i, ky, kx = np.nonzero(weight)
    channel = o // (c_out // groups) * c_in + i
    y = np.arange(out[1]) * stride[0] - padding[0] + ky[:, None] * dilation[0]
    x = np.arange(out[2]) * stride[1] - padding[1] + kx[:, None] * dilation[1]
    inside = ((y >= 0) & (y < shape[1]))[:, :, None] & ((x >= 0) & (x < shape[2]))[:, None, :]
    k, oy, ox = np.nonzero(inside)
    pre = (channel[k] * shape[1] + y[k, oy]) * shape[2] + x[k, ox]
    post = (o[k] * out[1] + oy) * out[2] + ox
    size = (int(np.prod(out)), int(np.prod(shape)))
    return sparse.csr_matrix((weight[o, i, ky, kx][k], (post, pre)), shape=size)


def _neurons(node: Any, kind: str, shape: Shape, dt: float, convention: Convention, where: str) -> FloatNeurons:
    size = int(np.prod(shape))

    def full(name: str, default: float = 0.0) -> Floats:
        values = np.asarray(getattr(node, name, default), np.float64)
        if np.isnan(values).any() or (name.startswith("tau") and (values <= 0).any()):
            raise NetworkError(f"{where} {name}: got {values.min():g}, allowed are positive seconds and numbers")
        if values.size not in (1, size):
            raise NetworkError(f"{where} {name}: got {values.size} values, allowed 1 or {size}")
        return np.broadcast_to(values.reshape(-1), (size,))

    def decay(name: str) -> Floats:
        ratio = dt / full(name)
        if convention == "exponential":
            return -np.expm1(-ratio)
        if (ratio > 1 + 1e-9).any():
            raise NetworkError(f"{where} {name}: got {full(name).min():g} s, allowed is at least dt = {dt:g} s (Euler)")
        return np.minimum(ratio, 1.0)

    cuba = kind.startswith("Cuba")
    if cuba and convention == "exponential":
        raise UnsupportedNode(f"{where}: CubaLIF by the exponential convention has no known writer; allowed 'euler'")
    a = decay("tau_syn") if cuba else np.ones(size)
    unit = convention == "exponential"
    if kind in ("IF", "I"):
        b, gain = np.zeros(size), np.ones(size) if unit else dt * full("r")
    else:
        b = decay("tau_mem" if cuba else "tau")
        gain = np.ones(size) if unit else b * full("r")
    fires = kind in ("LIF", "CubaLIF", "IF")
    reset = full("v_reset") if fires and getattr(node, "v_reset", None) is not None else np.zeros(size)
    threshold = full("v_threshold") - reset if fires else np.zeros(size)
    if fires and (threshold < 0).any():
        raise NetworkError(f"{where} v_threshold: got values below v_reset, allowed are values from v_reset on")
    leak = full("v_leak") if kind not in ("IF", "I") else reset
    return FloatNeurons(
        shape, a, b, gain * (a * full("w_in", 1.0)), b * (leak - reset), threshold, -reset, fires, through_current=cuba
    )


def float_run(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.uint8]]:
    """Simulate in float64 with one step of transport per map, as a Network has it; a bias acts from its layer's start.

    inputs: name -> (samples, steps, size). Returns neurons -> (samples, steps, size) uint8 spikes.
    """
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    trains: dict[str, npt.NDArray[Any]] = dict(inputs)
    state = {}
    for name, n in graph.neurons.items():
        trains[name] = np.zeros((n_samples, n_steps, n.a.size), np.uint8)
        state[name] = (np.zeros((n_samples, n.a.size)), np.tile(n.start, (n_samples, 1)))
    steps = {name: np.rint(m.delay / graph.dt).astype(int) for name, m in graph.maps.items()}
    for t in range(n_steps):
        drive = {name: np.zeros((n_samples, n.a.size)) for name, n in graph.neurons.items()}
        for name, m in graph.maps.items():
            sums = drive[m.target]
            sums += m.bias
            for d in np.unique(steps[name]):
                if t - 1 - d >= 0:
                    sums += (m.matrix @ (trains[m.source][:, t - 1 - d] * (steps[name] == d)).T).T
        for name, n in graph.neurons.items():
            u, v = state[name]
            u = (1 - n.a) * u + n.gain * drive[name]
            v = (1 - n.b) * v + u + n.bias
            if n.fires:
                spike = v > n.threshold
                trains[name][:, t] = spike
                v = np.where(spike, 0.0, v)
            state[name] = (u, v)
    return {name: trains[name] for name in graph.neurons}
