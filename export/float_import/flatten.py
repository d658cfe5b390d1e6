"""Nested graphs put in place of their node: their ports stay, as nodes that pass on what arrives."""

from collections.abc import Mapping
from typing import Final

from sdsnn_core.errors import NetworkError

from .file import FloatFile, FloatNode

PORT: Final = FloatNode("Port", {})
Edges = list[tuple[str, str]]


def flattened(graph: FloatFile) -> tuple[dict[str, FloatNode], Edges]:
    """Return nodes and edges without nested graphs, inner names as 'subgraph.node'.

    An edge to a nested graph ends at its Input, one from it starts at its Output; NIR's edges name no port, so that
    there must be one of each. Raises NetworkError naming the nested graph, or the edge without one of its ends.
    """
    nodes: dict[str, FloatNode] = {}
    edges: Edges = []
    doors: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, FloatNode):
            nodes[name] = node
            continue
        inner, inner_edges = flattened(node)
        ports = {kind: [key for key, item in inner.items() if item.kind == kind] for kind in ("Input", "Output")}
        if len(ports["Input"]) != 1 or len(ports["Output"]) != 1:
            raise NetworkError(
                f"node {name!r}: expected a graph with one Input and one Output, got {len(ports['Input'])} and "
                f"{len(ports['Output'])}"
            )
        nodes.update({f"{name}.{key}": PORT if item.kind in ports else item for key, item in inner.items()})
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges]
        doors[name] = (f"{name}.{ports['Input'][0]}", f"{name}.{ports['Output'][0]}")
    for a, b in graph.edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise NetworkError(f"edge {a!r} -> {b!r}: expected two nodes of the graph, got {end!r}")
        edges.append((doors[a][1] if a in doors else a, doors[b][0] if b in doors else b))
    return nodes, edges


def sources_of(edges: Edges) -> Mapping[str, list[str]]:
    """Return target -> its sources, each once, in the order of the edges."""
    result: dict[str, list[str]] = {}
    for a, b in edges:
        sources = result.setdefault(b, [])
        if a not in sources:
            sources.append(a)
    return result
