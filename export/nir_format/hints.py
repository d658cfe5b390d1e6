"""Our own NIR files: the floats, put in the order and under the names that our metadata keep."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np

from sdsnn_core.errors import FileError, NetworkError, SdsnnError, one_line
from sdsnn_core.network import Convolution, Input, Network, Node, Output, Projection

from .dialect import METADATA_KEY, METADATA_VERSION
from .extension import EXTENSIONS, extension_population
from .graph import Graph, nir_shape, text_of
from .parts import Form, bias_of, convolution_of, population_of, synapses_of


def with_metadata(graph: Graph) -> Network:
    """Return the Network of a graph that carries our metadata. Raises FileError where they do not fit it."""
    try:
        hints = json.loads(text_of(graph.metadata[METADATA_KEY]))
        if hints["version"] != METADATA_VERSION:
            raise NetworkError(f"metadata: expected version {METADATA_VERSION}, got {hints['version']!r}")
        return _from_hints(graph, hints)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, SdsnnError):
            raise
        raise FileError(
            f"metadata {METADATA_KEY!r}: expected those of the writer, got some that do not fit the graph "
            f"({type(error).__name__}: {one_line(error)}); metadata=False reads the floats alone"
        ) from error


def _from_hints(graph: Graph, hints: Mapping[str, Any]) -> Network:
    dt = float(hints["dt"])
    _check_structure(graph, hints)
    described = {entry["name"]: entry for entry in hints["nodes"]}
    sizes = {name: int(np.prod(entry["shape"])) for name, entry in described.items() if "shape" in entry}
    extra = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    projections: dict[str, Projection] = {}
    for entry in hints["projections"]:
        projections[entry["name"]] = _projection_from_hints(graph, entry, described, dt)
        for _, weight_node in entry["parts"]:
            target = entry["target"]
            extra[target] += bias_of(
                graph.nodes[weight_node], graph.nodes[target], dt, nir_shape(graph, target), f"node {weight_node!r}"
            )
    nodes: dict[str, Node] = {}
    for name, entry in described.items():
        if entry["kind"] == "Output":
            nodes[name] = Output(entry["source"], entry["signal"])
            continue
        shape, there = tuple(entry["shape"]), nir_shape(graph, name)
        if int(np.prod(there)) != sizes[name]:
            raise NetworkError(f"node {name!r}: expected shape {shape}, as the metadata say, got {there}")
        if entry["kind"] == "Input":
            nodes[name] = Input(shape, entry["max_value"], entry.get("min_value", 0))
        elif graph.kinds[name] in EXTENSIONS:
            nodes[name] = cast("Node", extension_population(graph.nodes[name], graph.kinds[name], shape))
        else:
            nodes[name] = population_of(graph.nodes[name], shape, dt, f"node {name!r}", extra[name], entry)
    return Network(nodes, projections, hints["dt_s"], hints["provenance"])


def _check_structure(graph: Graph, hints: Mapping[str, Any]) -> None:
    """Raise NetworkError if nodes or edges are not those that were written."""
    nodes = {entry["name"]: entry["kind"] for entry in hints["nodes"]}
    edges = {(entry["source"], entry["name"]) for entry in hints["nodes"] if entry["kind"] == "Output"}
    for entry in hints["projections"]:
        for delay_node, weight_node in entry["parts"]:
            chain = [node for node in (entry["source"], delay_node, weight_node, entry["target"]) if node is not None]
            edges |= set(pairwise(chain))
            nodes.update(dict.fromkeys(chain[1:-1], "weights or delay"))
    for what, written, found in (("nodes", set(nodes), set(graph.kinds)), ("edges", edges, set(graph.edges))):
        if written != found:
            raise NetworkError(
                f"{what}: expected those that sdsnn wrote, got {_names(found - written)} added and "
                f"{_names(written - found)} removed; metadata=False reads the floats alone"
            )


def _names(items: set[Any]) -> str:
    """Return the first three, in order."""
    return ", ".join(item if isinstance(item, str) else " -> ".join(item) for item in sorted(items)[:3]) or "none"


def _projection_from_hints(
    graph: Graph, entry: Mapping[str, Any], described: Mapping[str, Any], dt: float
) -> Projection:
    parts = [(delay_node, weight_node) for delay_node, weight_node in entry["parts"]]
    source, target = entry["source"], entry["target"]
    source_shape, target_shape = (tuple(described[name]["shape"]) for name in (source, target))
    one_delay = entry["delays"] == "one"
    is_synapses = entry["kind"] == "Synapses"
    form = Form(one_delay, entry["weight_exp"], entry["groups"] if entry["kernel"] else 1)
    if entry["kernel"]:
        convolution = convolution_of(graph, (source, target), parts[0], source_shape, dt, form)
        if not is_synapses:
            return replace(convolution, imaginary=bool(entry.get("imaginary")))
        synapses = convolution.synapses(source_shape)  # one to one, written as a 1 x 1 convolution
        return synapses if one_delay else replace(synapses, delay=np.broadcast_to(synapses.delay, synapses.pre.shape))
    sizes = (int(np.prod(source_shape)), int(np.prod(target_shape)))
    synapses = synapses_of(graph, (source, target), parts, sizes, dt, form)
    synapses = replace(synapses, imaginary=bool(entry.get("imaginary")))
    if is_synapses:
        return synapses
    # A convolution that had to be written as a matrix: it is one still if the matrix is the one it stands for.
    own = graph.nodes[parts[0][1]].metadata[METADATA_KEY]
    window = {key: entry[key] for key in ("stride", "padding", "dilation", "groups")}
    delay = own["delay"].reshape(-1)[0] if one_delay else own["delay"]
    more = {"weight_exp": entry["weight_exp"], "imaginary": synapses.imaginary}
    convolution = Convolution(source, target, own["kernel"], delay=delay, **more, **window)
    expanded = convolution.synapses(source_shape)
    wanted, got = (np.broadcast_to(s.delay, s.weight.shape) for s in (expanded, synapses))
    same = np.array_equal(wanted, got) and all(
        np.array_equal(getattr(expanded, key), getattr(synapses, key))
        for key in ("weight_exp", "pre", "post", "weight")
    )
    return convolution if same else synapses
