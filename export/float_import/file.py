"""NIR files of other tools, read node by node: plain fields, nested graphs, and one line for what is wrong.

The `nir` package checks types while it reads, which refuses legal files (a Conv2d without input_shape, axes of samples
left in) and stops before nested graphs; here every node is only its kind and its arrays. What they mean is decided in
`graph.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from sdsnn.train.data.hdf5 import open_hdf5
from sdsnn_core.errors import FileError, NetworkError

from ..nir_format.graph import text_of

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "Input": ("shape",),
    "Output": (),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Conv1d": ("weight", "stride", "padding", "dilation", "groups", "bias"),
    "Conv2d": ("weight", "stride", "padding", "dilation", "groups", "bias"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Flatten": (),
    "Scale": ("scale",),
    "Delay": ("delay",),
    "Threshold": ("threshold",),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold"),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak"),
    "I": ("r",),
}
OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "Output": ("shape",),
    "Conv1d": ("input_shape",),
    "Conv2d": ("input_shape",),
    "Flatten": ("start_dim", "end_dim", "input_type"),
    "LIF": ("v_reset",),
    "CubaLIF": ("v_reset", "w_in"),
    "IF": ("v_reset",),
    "CubaLI": ("w_in",),
}
_NOT_VALUES: Final = ("type", "metadata", "input_type", "output_type", "name")
MAY_BE_TEXT: Final = ("padding",)
MAY_BE_INFINITE: Final = ("tau", "tau_mem", "tau_syn", "r", "w_in")  # no leak: snnTorch writes beta = 1 so


@final
@dataclass(frozen=True, eq=False)
class FloatNode:
    """One node: `kind` is NIR's name of its type, `fields` its arrays, numbers and texts by NIR's names."""

    kind: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, `default` where the file has none."""
        return self.fields.get(name, default)


@final
@dataclass(frozen=True, eq=False)
class FloatFile:
    """Nodes by name (a FloatFile for a nested graph) and edges, in the file's order."""

    nodes: Mapping[str, FloatNode | FloatFile]
    edges: tuple[tuple[str, str], ...] = field(default=())


def read_float_file(path: Path) -> FloatFile:
    """Return the graph of a NIR file. Raises FileError in one line that names file, node and field."""
    try:
        with open_hdf5(path, "a NIR graph (.nir)") as file:
            return _graph_of(_root(file), "")
    except NetworkError as error:
        raise FileError(str(error)) from None


def _root(file: Any) -> Any:
    root = file.get("node")
    if root is None:
        raise FileError("expected a group 'node' with a NIR graph, got an HDF5 file without it")
    if "type" not in root:
        raise FileError("expected a complete NIR graph, got one without its type: writing it broke off")
    if (kind := _kind(root, "graph")) != "NIRGraph":
        raise FileError(f"expected a NIRGraph, got a single {kind} node; wrap it in a graph with Input and Output")
    return root


def _graph_of(group: Any, where: str) -> FloatFile:
    if "nodes" not in group or "edges" not in group:
        raise FileError(f"{where}expected nodes and edges, got a graph without them: writing it broke off")
    nodes: dict[str, FloatNode | FloatFile] = {}
    for name, item in group["nodes"].items():
        label = f"{where}node {name!r}"
        if "type" not in item:
            raise FileError(f"{label}: expected a type, got none: writing it broke off")
        kind = _kind(item, label)
        if kind == "NIRGraph":
            nodes[name] = _graph_of(item, f"{label}: ")
        else:
            values = {key: item[key][()] for key in item if key not in _NOT_VALUES and hasattr(item[key], "dtype")}
            values = {key: text_of(value) if isinstance(value, bytes) else value for key, value in values.items()}
            nodes[name] = checked_node(kind, values, label)
    edges = tuple((text_of(a), text_of(b)) for a, b in group["edges"][()])
    return FloatFile(nodes, edges)


def _kind(group: Any, where: str) -> str:
    """Return the type of a node, one text."""
    if group["type"].shape != () or not (kind := text_of(group["type"][()])).isidentifier():
        raise FileError(f"{where}: expected the name of a kind of node as its type, got something else")
    return kind


def checked_node(kind: str, values: Mapping[str, Any], where: str) -> FloatNode:
    """Return a node whose fields are those of its kind, without NaN. Kinds without fields here pass as they are."""
    if kind not in REQUIRED:
        return FloatNode(kind, dict(values))
    known = (*REQUIRED[kind], *OPTIONAL.get(kind, ()))
    for name in REQUIRED[kind]:
        if name not in values:
            raise FileError(f"{where}: expected a field {name!r} of a {kind}, got none")
    for name, value in values.items():
        if name not in known:
            raise FileError(f"{where}: expected the fields {', '.join(known)} of a {kind}, got {name!r} too")
        if value is None or (isinstance(value, str) and name in MAY_BE_TEXT):
            continue
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "biuf":
            raise FileError(f"{where} {name}: expected numbers, got {_kind_of(numbers.dtype)}")
        if not numbers.size and name != "shape":  # of one number, an Input's shape is ()
            raise FileError(f"{where} {name}: expected numbers, got none")
        if np.isnan(numbers).any():
            raise NetworkError(f"{where} {name}: expected numbers, got {int(np.isnan(numbers).sum())} NaN")
        if name not in MAY_BE_INFINITE and not np.isfinite(numbers).all():
            raise NetworkError(f"{where} {name}: expected finite numbers, got {int(np.isinf(numbers).sum())} infinite")
    return FloatNode(kind, dict(values))


def _kind_of(dtype: np.dtype[Any]) -> str:
    """Return what values of a type are, in a word or two."""
    return {"U": "a text", "S": "a text", "c": "complex numbers"}.get(dtype.kind, "a record of fields")


def float_file_of(graph: Any, where: str = "") -> FloatFile:
    """Return a `nir.NIRGraph` in memory as a FloatFile."""
    from dataclasses import fields

    nodes: dict[str, FloatNode | FloatFile] = {}
    for name, node in graph.nodes.items():
        kind, label = type(node).__name__, f"{where}node {name!r}"
        if kind == "NIRGraph":
            nodes[name] = float_file_of(node, f"{label}: ")
            continue
        values = {
            spec.name: getattr(node, spec.name)
            for spec in fields(node)
            if spec.name not in _NOT_VALUES and getattr(node, spec.name, None) is not None
        }
        if kind in ("Input", "Output"):
            port = node.input_type["input"] if kind == "Input" else node.output_type["output"]
            values = {} if port is None else {"shape": np.asarray(port)}
        nodes[name] = checked_node(kind, values, label)
    return FloatFile(nodes, tuple((a, b) for a, b in graph.edges))
