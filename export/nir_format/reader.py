"""NIR -> Network, for graphs whose floats stand for Loihi's integers: our own files and others in the same dialect.

Every number that decides a spike is read from the graph's floats. Our metadata add only what NIR has no place for
(names, order, delays' form, exponents, initial voltages, ports); they never overrule a float, so a file that was
edited elsewhere means what its floats say. Where its structure changed, the metadata fit no longer and the reader
says so. Float networks that stand for no integers are refused here; they need quantising.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode, one_line
from sdsnn_core.network import Network

from .dialect import METADATA_KEY
from .floats import floats_alone
from .graph import KNOWN, MALFORMED, Graph, open_graph
from .hints import with_metadata


def read_nir(path: str | Path, *, dt: float | None = None, metadata: bool = True) -> Network:
    """Read a NIR file as a Network.

    dt: step in seconds of a file without our metadata, which NIR does not store. metadata: False ignores ours and reads
    the floats alone (needs dt). Raises FileError for a missing, damaged or foreign file, UnsupportedNode for a node
    without an integer meaning, NetworkError for values that stand for no integer; each names file and node.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise FileError(f"{path}: is not an HDF5 file; allowed are NIR graphs (.nir)")
    try:
        with h5py.File(path, "r") as file:
            return _build(open_graph(file), dt, metadata)
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error
    except MALFORMED as error:
        raise FileError(f"{path}: damaged HDF5 file ({one_line(error)})") from error


def from_nir(graph: Any, *, dt: float | None = None, metadata: bool = True) -> Network:
    """Return the Network that a nir.NIRGraph stands for; parameters and errors as `read_nir`."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    given = graph.metadata if isinstance(graph.metadata, Mapping) else {}
    return _build(Graph(graph.nodes, kinds, [(a, b) for a, b in graph.edges], given), dt, metadata)


def _build(graph: Graph, dt: float | None, metadata: bool) -> Network:
    for name, kind in graph.kinds.items():
        if kind not in KNOWN:
            raise UnsupportedNode(f"node {name!r}: got a {kind}, allowed are {', '.join(KNOWN)}")
    for edge in graph.edges:
        for end in edge:
            if end not in graph.kinds:
                raise NetworkError(f"edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}")
    if metadata and METADATA_KEY in graph.metadata:
        return with_metadata(graph)
    if dt is None:
        raise NetworkError("no step given: NIR does not store it; give dt in seconds (most writers use 1e-4)")
    return floats_alone(graph, dt)
