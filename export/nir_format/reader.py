"""NIR -> Network, for graphs whose floats stand for Loihi's integers: our own files and others in the same dialect.

Every number that decides a spike is read from the graph's floats. Our metadata add only what NIR has no place for
(names, order, delays' form, exponents, initial voltages, ports); they never overrule a float, so a file that was
edited elsewhere means what its floats say. Where its structure changed, the metadata fit no longer and the reader
says so. Float networks that stand for no integers are refused here; they need quantising.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdsnn.train.data.hdf5 import open_hdf5
from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Network

from .dialect import METADATA_KEY
from .floats import floats_alone
from .graph import KNOWN, Graph, open_graph
from .hints import with_metadata


def read_nir(path: str | Path, *, dt: float | None = None, metadata: bool = True) -> Network:
    """Read a NIR file whose floats stand for integers as a Network.

    Args:
        path: The file.
        dt: Step in seconds, which NIR does not store; needed for files without our metadata.
        metadata: False ignores our metadata and reads the floats alone (needs `dt`).

    Returns:
        The network: identical to the one that `write_nir` wrote.

    Raises:
        FileError: The file is missing, damaged or no NIR graph.
        UnsupportedNode: A node without an integer meaning.
        NetworkError: Values that stand for no integer (`sdsnn import` quantises them), or no `dt`.
    """
    with open_hdf5(Path(path), "a NIR graph (.nir)") as file:
        return _build(open_graph(file), dt, metadata)


def from_nir(graph: Any, *, dt: float | None = None, metadata: bool = True) -> Network:
    """Return the Network that a nir.NIRGraph stands for; parameters and errors as `read_nir`."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    own = graph.metadata if isinstance(graph.metadata, Mapping) else {}
    return _build(Graph(graph.nodes, kinds, [(a, b) for a, b in graph.edges], own), dt, metadata)


def _build(graph: Graph, dt: float | None, metadata: bool) -> Network:
    for name, kind in graph.kinds.items():
        if kind not in KNOWN:
            raise UnsupportedNode(f"node {name!r}: expected one of {', '.join(KNOWN)}, got {kind}")
    for edge in graph.edges:
        for end in edge:
            if end not in graph.kinds:
                raise NetworkError(f"edge {edge[0]!r} -> {edge[1]!r}: expected two nodes of the graph, got {end!r}")
    if metadata and METADATA_KEY in graph.metadata:
        return with_metadata(graph)
    if dt is None:
        raise NetworkError(
            "dt: expected the step in seconds, which NIR does not store, got none (most writers use 1e-4)"
        )
    return floats_alone(graph, dt)
