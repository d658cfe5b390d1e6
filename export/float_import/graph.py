"""A float NIR graph as neurons with linear maps between them.

Whatever lies between two sets of neurons (convolutions, pooling, flattening, weights, scales) is one linear map with a
bias; subgraphs are put in place of their node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Shape

from .nodes import NEURONS, FloatNeurons, Floats, Kernel, Writer, linear_of, neurons_of, recognised

LINEAR: Final = ("Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Scale", "Delay")
KNOWN: Final = ("Input", "Output", *NEURONS, *LINEAR)


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
    convolution: Kernel | None


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """inputs, outputs: name -> shape, name -> source. maps: by the name of the last weight node on their way.

    dt: seconds of a step. writer: whose conventions the parameters were read by.
    """

    inputs: Mapping[str, Shape]
    neurons: Mapping[str, FloatNeurons]
    maps: Mapping[str, LinearMap]
    outputs: Mapping[str, str]
    dt: float
    writer: Writer


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


def read_graph(graph: Any, dt: float, writer: Writer | None = None) -> FloatGraph:
    """Return `graph` (nir.NIRGraph) as neurons and linear maps.

    dt: the step in seconds, which NIR does not store. writer: who wrote it; None recognises the writer by its
    parameters or raises NetworkError.

    Raises UnsupportedNode for a node without a rule, NetworkError for parameters that make no stable neuron or shapes
    that do not fit, each naming the node.
    """
    nodes, edges = inlined(graph)
    kinds = {name: type(node).__name__ for name, node in nodes.items()}
    for name, kind in kinds.items():
        if kind not in KNOWN:
            raise UnsupportedNode(f"node {name!r}: expected {', '.join(KNOWN)}, got a {kind}")
    shapes = {
        name: _shape(_of_one_sample(nodes[name].input_type["input"], [nodes[b] for a, b in edges if a == name]))
        for name, kind in kinds.items()
        if kind == "Input"
    }
    for name, kind in kinds.items():
        if (
            kind in NEURONS
            and (given := np.shape(getattr(nodes[name], "v_threshold", nodes[name].r)))
            and np.prod(given) > 1
        ):
            shapes[name] = _shape(given)
    if writer is None:
        writer = recognised({name: (nodes[name], kind) for name, kind in kinds.items() if kind in NEURONS}, dt)
    walker = _Walker(nodes, kinds, edges, dt)
    maps: dict[str, LinearMap] = {}
    waiting = [name for name, kind in kinds.items() if kind == "Input" or kind in NEURONS]
    # A neuron whose parameters are single values takes its shape from what arrives; so walk as shapes become known.
    while waiting:
        ready = [name for name in waiting if name in shapes]
        if not ready:
            raise NetworkError(f"node {waiting[0]!r}: expected a path from an Input, got none")
        for source in ready:
            waiting.remove(source)
            for found in walker.maps_from(source, shapes[source]):
                if shapes.setdefault(found.target, found.out_shape) != found.out_shape and np.prod(
                    shapes[found.target]
                ) != np.prod(found.out_shape):
                    raise NetworkError(
                        f"node {found.target!r}: expected input of shape {shapes[found.target]}, got "
                        f"{found.out_shape} from {source!r}"
                    )
                maps[walker.fresh(maps)] = found
    neurons = {
        name: neurons_of(nodes[name], kind, shapes[name], dt, writer, f"node {name!r}")
        for name, kind in kinds.items()
        if kind in NEURONS
    }
    outputs = {name: "" for name, kind in kinds.items() if kind == "Output"}
    for name in outputs:
        before = [a for a, b in edges if b == name]
        if len(before) != 1:
            raise NetworkError(f"node {name!r}: expected one source, got {len(before)}")
        outputs[name] = before[0] if kinds[before[0]] in NEURONS else name
    for name, source in outputs.items():
        if source == name:  # weights straight into the output: a sum that is read and forgotten in every step
            size = int(np.prod(shapes[name]))
            one, none = np.ones(size), np.zeros(size)
            neurons[name] = FloatNeurons(shapes[name], one, one, one, none, none, none, False, False)
    inputs = {name: shapes[name] for name, kind in kinds.items() if kind == "Input"}
    return FloatGraph(inputs, neurons, maps, outputs, dt, writer)


def _of_one_sample(given: Any, readers: list[Any]) -> Any:
    """Return an Input's shape without axes of samples and steps, which rockpool writes (and others, if let)."""
    shape = np.asarray(given).reshape(-1)
    kinds = {type(node).__name__ for node in readers}
    widths = {np.shape(node.weight)[-1] for node in readers if type(node).__name__ in ("Linear", "Affine")}
    if widths == {shape[-1]} and shape.size > 1:
        return shape[-1:]
    return shape[-3:] if kinds & {"Conv2d", "SumPool2d", "AvgPool2d"} else shape


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

    def maps_from(self, source: str, shape: Shape) -> Iterator[LinearMap]:
        """Yield the map to every neuron that `source` reaches; `self.last` names its last linear node."""
        size = int(np.prod(shape))
        stack: list[tuple[str, list[str]]] = [(name, []) for name in self.after.get(source, [])]
        while stack:
            name, way = stack.pop(0)
            if name in way:
                raise UnsupportedNode(f"node {name!r}: expected loops through neurons, got one without")
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
                part, shift, after, convolution = linear_of(node, self.kinds[linear], here, f"node {linear!r}")
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
            raise UnsupportedNode(f"{where}: expected one delay for all behind weights, got several")
        return np.broadcast_to(values if values.size == size and not step else values[:1], (size,))
