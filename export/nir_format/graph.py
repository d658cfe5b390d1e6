"""A NIR graph as the readers see it: its nodes made one at a time, and one line for what is wrong with a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdsnn.train.data.hdf5 import DAMAGED
from sdsnn_core.errors import FileError, SdsnnError, one_line
from sdsnn_core.network import Shape

from .extension import EXTENSIONS, node_of
from .writer import import_nir

KNOWN = ("Input", "Output", "Affine", "Linear", "Conv2d", "Scale", "CubaLIF", "Delay", *EXTENSIONS)
SMALL = 2**16  # bytes of a node that is kept
WEIGHTS = ("Affine", "Linear", "Conv2d", "Scale")


@dataclass(frozen=True)
class Graph:
    """A NIR graph whose nodes are made when asked for; kinds: their type names."""

    nodes: Mapping[str, Any]
    kinds: Mapping[str, str]
    edges: list[tuple[str, str]]
    metadata: Mapping[str, Any]

    def before(self, name: str) -> list[str]:
        """Names of the nodes with an edge to `name`, in the order of the edges."""
        return [a for a, b in self.edges if b == name]

    def after(self, name: str) -> list[str]:
        """Names of the nodes with an edge from `name`."""
        return [b for a, b in self.edges if a == name]


class _FileNodes(Mapping[str, Any]):
    """The nodes of an open NIR file, read one at a time. Small ones are kept, since they are asked for often."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._small: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self._small:
            return self._small[name]
        nir = import_nir()
        try:
            values = self._group[name].plain()
            own = values.get("type") in EXTENSIONS
            node = node_of(nir, values["type"], values) if own else nir.dict2NIRNode(values)
        except SdsnnError:
            raise
        except DAMAGED as error:
            raise FileError(f"node {name!r}: cannot be read ({one_line(error)})") from error
        if sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray)) <= SMALL:
            self._small[name] = node
        return node

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)


def text_of(value: Any) -> str:
    """Return a text of an HDF5 file, which may come as bytes."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def open_graph(file: Any) -> Graph:
    """Read everything but the nodes' arrays."""
    root = file.get("node")
    if root is None or "type" not in root or text_of(root["type"][()]) != "NIRGraph" or "nodes" not in root:
        raise FileError("expected a NIR graph (a group 'node' of type NIRGraph), got an HDF5 file without one")
    kinds = {}
    for name, group in root["nodes"].items():
        if "type" not in group:
            raise FileError(f"node {name!r}: expected a type, got none")
        kinds[name] = text_of(group["type"][()])
    edges = [(text_of(a), text_of(b)) for a, b in root["edges"][()]] if "edges" in root else []
    metadata = root.get("metadata", {})
    texts = {key: value[()] for key, value in metadata.items() if hasattr(value, "dtype")}
    return Graph(_FileNodes(root["nodes"]), kinds, edges, texts)


def nir_shape(graph: Graph, name: str) -> Shape:
    """Return the shape that an Input or CubaLIF node has in the file."""
    node = graph.nodes[name]
    if graph.kinds[name] in EXTENSIONS:
        return tuple(int(size) for size in np.asarray(node.shape))
    shape = node.input_type["input"] if graph.kinds[name] == "Input" else np.shape(node.v_threshold)
    return tuple(int(size) for size in shape)
