"""NIR files of others in our dialect, or ours without metadata: a Network from the floats alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Input, Network, Node, Output, Projection, Shape
from sdsnn_core.nodes import legal_name

from .extension import EXTENSIONS
from .graph import WEIGHTS, Graph, nir_shape
from .parts import Form, bias_of, convolution_of, population_of, synapses_of, window_of

Chain = tuple[str, str | None, str, str]  # source, delay node, weight node, target


def floats_alone(graph: Graph, dt: float) -> Network:
    """Return the Network that the floats of a graph stand for with a step of `dt` seconds, metadata or not."""
    names: dict[str, str] = {}
    for name, kind in graph.kinds.items():
        if kind in EXTENSIONS:
            raise UnsupportedNode(f"node {name!r}: {kind} has no floats of NIR; read it with its metadata")
        names[name] = legal_name(name, names.values())
    shapes = {name: nir_shape(graph, name) for name, kind in graph.kinds.items() if kind in ("Input", "CubaLIF")}
    extra = {name: np.zeros(int(np.prod(shape)), np.int64) for name, shape in shapes.items()}
    projections: dict[str, Projection] = {}
    for weight_node, kind in graph.kinds.items():
        if kind not in WEIGHTS:
            continue
        ends = [(s, d, t) for s, d in _sources(graph, weight_node) for t in _targets(graph, weight_node)]
        for source, delay_node, target in ends:
            name = names[weight_node]
            if len(ends) > 1:
                name = legal_name(f"{name}.{source}.{target}", {*names.values(), *projections})
            projections[name] = _plain_projection(graph, names, shapes, (source, delay_node, weight_node, target), dt)
        for target in {end[2] for end in ends}:
            where = f"node {weight_node!r}"
            extra[target] += bias_of(graph.nodes[weight_node], graph.nodes[target], dt, shapes[target], where)
    nodes: dict[str, Node] = {}
    for name, kind in graph.kinds.items():
        if kind == "Input":
            nodes[names[name]] = Input(shapes[name])
        elif kind == "CubaLIF":
            nodes[names[name]] = population_of(graph.nodes[name], shapes[name], dt, f"node {name!r}", extra[name], None)
            _check_edges(graph, name, before=WEIGHTS)
        elif kind == "Output":
            _check_edges(graph, name, before=("CubaLIF",))
            if len(before := graph.before(name)) != 1:
                raise NetworkError(f"node {name!r}: expected one population, got {len(before)} sources")
            nodes[names[name]] = Output(names[before[0]])
    return Network(nodes, projections, dt)


def _check_edges(graph: Graph, name: str, before: tuple[str, ...]) -> None:
    for other in graph.before(name):
        if graph.kinds[other] not in before:
            raise UnsupportedNode(
                f"edge {other!r} -> {name!r}: expected {', '.join(before)} before {graph.kinds[name]}, got "
                f"{graph.kinds[other]}"
            )


def _sources(graph: Graph, weight_node: str) -> list[tuple[str, str | None]]:
    """Return (source, delay node) of everything that feeds a weight node."""
    _check_edges(graph, weight_node, ("Input", "CubaLIF", "Delay"))
    sources: list[tuple[str, str | None]] = []
    for name in graph.before(weight_node):
        if graph.kinds[name] != "Delay":
            sources.append((name, None))
            continue
        _check_edges(graph, name, ("Input", "CubaLIF"))
        sources += [(source, name) for source in graph.before(name)]
    return sources


def _targets(graph: Graph, weight_node: str) -> list[str]:
    for name in graph.after(weight_node):
        _check_edges(graph, name, WEIGHTS if graph.kinds[name] == "CubaLIF" else ("Input", "CubaLIF", "Delay"))
    return graph.after(weight_node)


def _is_matrix(node: Any, source_shape: Shape) -> bool:
    """Return whether a Conv2d is a dense layer: a kernel as large as its input, used in one place."""
    return node.weight.shape[1:] == source_shape and window_of(node, "node").padding == (0, 0)


def _plain_projection(
    graph: Graph, names: Mapping[str, str], shapes: Mapping[str, Shape], chain: Chain, dt: float
) -> Projection:
    source, delay_node, weight_node, target = chain
    part, ends = (delay_node, weight_node), (names[source], names[target])
    if graph.kinds[weight_node] == "Conv2d" and not _is_matrix(graph.nodes[weight_node], shapes[source]):
        return convolution_of(graph, ends, part, shapes[source], dt, Form())
    sizes = (int(np.prod(shapes[source])), int(np.prod(shapes[target])))
    return synapses_of(graph, ends, [part], sizes, dt, Form())
