"""NIR -> Network, for graphs whose floats stand for Loihi's integers: our own files and others in the same dialect.

Every number that decides a spike is read from the graph's floats. Our metadata add only what NIR has no place for
(names, order, delays' form, exponents, initial voltages, ports); they never overrule a float, so a file that was
edited elsewhere means what its floats say. Where its structure changed, the metadata fit no longer and the reader
says so. Float networks that stand for no integers are refused here; they need quantising.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.convolution import expand
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode
from sdsnn_core.network import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    DECAY_UNITY,
    WEIGHT_EXP_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Convolution,
    Input,
    Network,
    Node,
    Output,
    Population,
    Projection,
    Shape,
    Synapses,
)

from .nir_dialect import (
    LSB,
    METADATA_KEY,
    METADATA_VERSION,
    Int64Array,
    delay_steps,
    in_form,
    population_integers,
    smallest_form,
    weight_integers,
    with_exponent,
)
from .nir_writer import import_nir

KNOWN = ("Input", "Output", "Affine", "Linear", "Conv2d", "CubaLIF", "Delay")
_MALFORMED = (OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError, MemoryError)
_WEIGHTS = ("Affine", "Linear", "Conv2d")


@dataclass(frozen=True)
class _Graph:
    """A NIR graph whose nodes are made when asked for; kinds: their type names."""

    nodes: Mapping[str, Any]
    kinds: Mapping[str, str]
    edges: list[tuple[str, str]]
    metadata: Mapping[str, Any]

    def before(self, name: str) -> list[str]:
        return [a for a, b in self.edges if b == name]

    def after(self, name: str) -> list[str]:
        return [b for a, b in self.edges if a == name]


class _FileNodes(Mapping[str, Any]):
    """The nodes of an open NIR file, read one at a time."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def __getitem__(self, name: str) -> Any:
        nir = import_nir()
        try:
            return nir.dict2NIRNode(nir.serialization.hdf2dict(self._group[name]))
        except (*_MALFORMED, AssertionError, AttributeError) as error:
            raise FileError(f"node {name!r}: cannot be read ({_line(error)})") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)


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
            return _build(_open_graph(file), dt, metadata)
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error
    except _MALFORMED as error:
        raise FileError(f"{path}: damaged HDF5 file ({_line(error)})") from error


def from_nir(graph: Any, *, dt: float | None = None, metadata: bool = True) -> Network:
    """Return the Network that a nir.NIRGraph stands for; parameters and errors as `read_nir`."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    given = graph.metadata if isinstance(graph.metadata, Mapping) else {}
    return _build(_Graph(graph.nodes, kinds, [(a, b) for a, b in graph.edges], given), dt, metadata)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _open_graph(file: Any) -> _Graph:
    """Read everything but the nodes' arrays."""
    root = file.get("node")
    if root is None or "type" not in root or _text(root["type"][()]) != "NIRGraph" or "nodes" not in root:
        raise FileError("HDF5 file without a NIR graph (a group 'node' of type NIRGraph)")
    kinds = {}
    for name, group in root["nodes"].items():
        if "type" not in group:
            raise FileError(f"node {name!r}: has no type")
        kinds[name] = _text(group["type"][()])
    edges = [(_text(a), _text(b)) for a, b in root["edges"][()]] if "edges" in root else []
    given = (
        {key: value[()] for key, value in root["metadata"].items() if hasattr(value, "dtype")}
        if "metadata" in root
        else {}
    )
    return _Graph(_FileNodes(root["nodes"]), kinds, edges, given)


def _build(graph: _Graph, dt: float | None, metadata: bool) -> Network:
    for name, kind in graph.kinds.items():
        if kind not in KNOWN:
            raise UnsupportedNode(f"node {name!r}: got a {kind}, allowed are {', '.join(KNOWN)}")
    for edge in graph.edges:
        for end in edge:
            if end not in graph.kinds:
                raise NetworkError(f"edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}")
    if metadata and METADATA_KEY in graph.metadata:
        return _with_metadata(graph)
    if dt is None:
        raise NetworkError("no step given: NIR does not store it; give dt in seconds (most writers use 1e-4)")
    return _floats_alone(graph, dt)


# Nodes and weights, from the floats


def _nir_shape(graph: _Graph, name: str) -> Shape:
    node = graph.nodes[name]
    shape = node.input_type["input"] if graph.kinds[name] == "Input" else np.shape(node.v_threshold)
    return tuple(int(size) for size in shape)


def _population(
    node: Any, shape: Shape, dt: float, where: str, extra: Int64Array, hints: Mapping[str, Any] | None
) -> Population:
    """Build a population from a CubaLIF node; extra: (size,) state units of bias that arrive by its Affine nodes."""
    integers = {key: value.reshape(shape) for key, value in population_integers(node, dt, where).items()}
    state = integers.pop("bias") + extra.reshape(shape)
    split = with_exponent(state, -BIAS_MAX, BIAS_MAX, BIAS_EXP_MAX, int(hints["bias_exp"]) if hints else 6)
    if split is None:
        raise NetworkError(
            f"{where} v_leak: got biases {state.min()}..{state.max()} in 1/4096, allowed are {BIAS_MAX} times a power "
            f"of two up to 2**{BIAS_EXP_MAX}"
        )
    integers["bias"] = split[0]
    own = node.metadata.get(METADATA_KEY, {}) if hints else {}
    start = np.asarray(own["initial_voltage"]) if "initial_voltage" in own else np.zeros((), np.int64)
    if hints is None:
        return Population(shape, **{k: smallest_form(v) for k, v in integers.items()}, bias_exp=split[1])
    forms = {key: tuple(form) for key, form in hints["forms"].items()}
    form = forms["initial_voltage"]
    start = np.broadcast_to(start, form) if start.size == 1 and not start.ndim else start.reshape(form)
    values = {key: in_form(value, forms[key]) for key, value in integers.items()}
    return Population(shape, **values, bias_exp=split[1], initial_voltage=start)


def _mantissas(values: Int64Array, where: str, preferred: int) -> tuple[Int64Array, int]:
    split = with_exponent(values, WEIGHT_MIN, WEIGHT_MAX, WEIGHT_EXP_MAX, preferred)
    if split is None:
        raise NetworkError(
            f"{where} weight: got {values.min()}/64..{values.max()}/64, allowed are k/64 with k in "
            f"{WEIGHT_MIN}..{WEIGHT_MAX}, times one power of two up to 2**{WEIGHT_EXP_MAX}"
        )
    return split


def _matrix(node: Any, n_post: int, n_pre: int, where: str) -> npt.NDArray[Any]:
    """Return the weights of an Affine, Linear or full-size Conv2d node as (n_post, n_pre)."""
    weight = np.asarray(node.weight)
    if weight.shape[0] != n_post or weight.size != n_post * n_pre:
        raise NetworkError(f"{where} weight: got shape {weight.shape}, allowed are {n_post} x {n_pre} entries")
    return weight.reshape(n_post, n_pre)


def _bias_of(node: Any, population: Any, dt: float, shape: Shape, where: str) -> Int64Array:
    """Return the bias of a weight node in state units, (size,): exact only where the current forgets at once."""
    size = int(np.prod(shape))
    bias = np.asarray(getattr(node, "bias", 0.0), np.float64)
    if not bias.any():
        return np.zeros(size, np.int64)
    steps = np.asarray(population.tau_syn, np.float64) / dt
    if not np.allclose(DECAY_UNITY / steps, DECAY_UNITY, rtol=0, atol=1e-3):
        raise NetworkError(
            f"{where} bias: got values up to {np.abs(bias).max():.6g} into neurons with tau_syn > dt; allowed is 0, or "
            "tau_syn = dt: a bias goes to the voltage, not through the current"
        )
    state = np.rint(bias / LSB)
    if not np.allclose(state * LSB, bias, rtol=0, atol=1e-2 * LSB):
        raise NetworkError(f"{where} bias: got values that are not k/4096, allowed are k/4096")
    whole = state.reshape(-1, 1, 1) if state.ndim == 1 and len(shape) == 3 else state
    return np.broadcast_to(whole, shape).reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class _Wires:
    """Synapses of one projection before they are split into mantissa and exponent; weights in 1/64."""

    pre: Int64Array
    post: Int64Array
    weight: Int64Array
    delay: Int64Array


def _wires(graph: _Graph, parts: list[tuple[str | None, str]], n_pre: int, n_post: int, dt: float) -> _Wires:
    """Collect the synapses of the given (delay node, weight node) pairs, in order of (pre, post)."""
    found = []
    for delay_node, weight_node in parts:
        where = f"node {weight_node!r}"
        matrix = _matrix(graph.nodes[weight_node], n_post, n_pre, where)
        pre, post = np.nonzero(matrix.T)
        weight = weight_integers(matrix[post, pre], where)
        delay = np.zeros(n_pre, np.int64)
        if delay_node is not None:
            delay = _delays(graph, delay_node, n_pre, dt)
        found.append((pre, post, weight, delay[pre]))
    pre, post, weight, delay = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((post, pre))
    return _Wires(pre[order], post[order], weight[order], delay[order])


def _delays(graph: _Graph, name: str, n_pre: int, dt: float) -> Int64Array:
    steps = delay_steps(graph.nodes[name], dt, f"node {name!r}").reshape(-1)
    if steps.size not in (1, n_pre):
        raise NetworkError(f"node {name!r} delay: got {steps.size} values, allowed 1 or {n_pre}")
    return np.broadcast_to(steps, (n_pre,))


def _synapses(
    graph: _Graph,
    source: str,
    target: str,
    parts: list[tuple[str | None, str]],
    sizes: tuple[int, int],
    dt: float,
    *,
    one_delay: bool | None,
    weight_exp: int,
) -> Synapses:
    """Build Synapses; one_delay: True stores one value if it is one, False one per synapse, None the smaller."""
    wires = _wires(graph, parts, *sizes, dt)
    weight, exponent = _mantissas(wires.weight, f"node {parts[0][1]!r}", weight_exp)
    delay: Int64Array = wires.delay
    if one_delay is not False and len(parts) == 1:
        node = parts[0][0]
        everywhere = np.zeros(1, np.int64) if node is None else _delays(graph, node, sizes[0], dt)
        if (everywhere == everywhere[0]).all():
            delay = np.asarray(everywhere[0])
    return Synapses(source, target, wires.pre, wires.post, weight, delay, exponent)


def _pair(values: Any, where: str) -> tuple[int, int]:
    numbers = np.broadcast_to(np.asarray(values).reshape(-1), (2,))
    if (numbers != np.rint(numbers)).any():
        raise NetworkError(f"{where}: got {values!r}, allowed two integers")
    return int(numbers[0]), int(numbers[1])


def _padding(node: Any, where: str) -> tuple[int, int]:
    if not isinstance(node.padding, str):
        return _pair(node.padding, f"{where} padding")
    if node.padding == "valid":
        return 0, 0
    reach = [d * (k - 1) for d, k in zip(_pair(node.dilation, where), node.weight.shape[2:], strict=True)]
    if _pair(node.stride, where) != (1, 1) or any(r % 2 for r in reach):
        raise NetworkError(f"{where} padding: got 'same' with a stride or an even kernel, allowed two integers")
    return reach[0] // 2, reach[1] // 2


def _convolution(
    graph: _Graph,
    source: str,
    target: str,
    part: tuple[str | None, str],
    source_shape: Shape,
    dt: float,
    *,
    one_delay: bool | None,
    groups: int,
    weight_exp: int,
) -> Convolution:
    """Build a Convolution; groups: how many the ungrouped kernel was made from, if its floats still say so."""
    delay_node, name = part
    node, where = graph.nodes[name], f"node {name!r}"
    kernel, exponent = _mantissas(weight_integers(node.weight, where), where, weight_exp)
    in_file = int(np.asarray(node.groups).reshape(-1)[0])
    if in_file == 1 and groups > 1:
        kernel, in_file = _grouped(kernel, groups)
    delay: Int64Array = np.zeros((), np.int64)
    if delay_node is not None:
        size = int(np.prod(source_shape))
        whole = _delays(graph, delay_node, size, dt).reshape(source_shape[0], -1)
        if (whole != whole[:, :1]).any():
            raise NetworkError(f"node {delay_node!r} delay: differs inside a channel, allowed is one per channel")
        delay = whole[:, 0]
    same = not delay.ndim or (delay == delay[0]).all()
    if one_delay is not False and same:
        delay = np.asarray(delay.reshape(-1)[0])
    elif one_delay is False and not delay.ndim:
        delay = np.zeros(source_shape[0], np.int64)
    return Convolution(
        source,
        target,
        kernel,
        _pair(node.stride, f"{where} stride"),
        _padding(node, where),
        _pair(node.dilation, f"{where} dilation"),
        in_file,
        delay,
        exponent,
    )


def _grouped(kernel: Int64Array, groups: int) -> tuple[Int64Array, int]:
    """Undo the writer's ungrouping; a kernel with weights between groups stays whole."""
    out, into = kernel.shape[0] // groups, kernel.shape[1] // groups
    blocks = [kernel[g * out : (g + 1) * out, g * into : (g + 1) * into] for g in range(groups)]
    small = np.concatenate(blocks)
    return (small, groups) if np.count_nonzero(small) == np.count_nonzero(kernel) else (kernel, 1)


# Our own files


def _with_metadata(graph: _Graph) -> Network:
    try:
        hints = json.loads(_text(graph.metadata[METADATA_KEY]))
        if hints["version"] != METADATA_VERSION:
            raise NetworkError(f"metadata: got version {hints['version']!r}, allowed {METADATA_VERSION}")
        return _from_hints(graph, hints)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, SdsnnError):
            raise
        raise FileError(
            f"metadata {METADATA_KEY!r} do not fit the graph ({type(error).__name__}: {_line(error)}); allowed are the "
            "writer's, or metadata=False to read the floats alone"
        ) from error


def _from_hints(graph: _Graph, hints: Mapping[str, Any]) -> Network:
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
            extra[target] += _bias_of(
                graph.nodes[weight_node], graph.nodes[target], dt, _nir_shape(graph, target), f"node {weight_node!r}"
            )
    nodes: dict[str, Node] = {}
    for name, entry in described.items():
        if entry["kind"] == "Output":
            nodes[name] = Output(entry["source"], entry["signal"])
            continue
        shape, there = tuple(entry["shape"]), _nir_shape(graph, name)
        if int(np.prod(there)) != sizes[name]:
            raise NetworkError(f"node {name!r}: got shape {there}, the metadata allow {shape}")
        if entry["kind"] == "Input":
            nodes[name] = Input(shape, entry["max_value"])
        else:
            nodes[name] = _population(graph.nodes[name], shape, dt, f"node {name!r}", extra[name], entry)
    return Network(nodes, projections, hints["dt_s"], hints["provenance"])


def _check_structure(graph: _Graph, hints: Mapping[str, Any]) -> None:
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
                f"{what} changed after sdsnn wrote the graph (added {sorted(found - written)[:3]}, removed "
                f"{sorted(written - found)[:3]}); allowed are its own, or metadata=False to read the floats alone"
            )


def _projection_from_hints(
    graph: _Graph, entry: Mapping[str, Any], described: Mapping[str, Any], dt: float
) -> Projection:
    parts = [(delay_node, weight_node) for delay_node, weight_node in entry["parts"]]
    source, target = entry["source"], entry["target"]
    source_shape, target_shape = (tuple(described[name]["shape"]) for name in (source, target))
    one_delay = entry["delays"] == "one"
    if entry["kernel"]:
        return _convolution(
            graph,
            source,
            target,
            parts[0],
            source_shape,
            dt,
            one_delay=one_delay,
            groups=entry["groups"],
            weight_exp=entry["weight_exp"],
        )
    sizes = (int(np.prod(source_shape)), int(np.prod(target_shape)))
    is_synapses = entry["kind"] == "Synapses"
    synapses = _synapses(graph, source, target, parts, sizes, dt, one_delay=one_delay, weight_exp=entry["weight_exp"])
    if is_synapses:
        return synapses
    # A convolution that had to be written as a matrix: it is one still if the matrix is the one it stands for.
    own = graph.nodes[parts[0][1]].metadata[METADATA_KEY]
    convolution = Convolution(
        source,
        target,
        own["kernel"],
        entry["stride"],
        entry["padding"],
        entry["dilation"],
        entry["groups"],
        own["delay"].reshape(-1)[0] if one_delay else own["delay"],
        entry["weight_exp"],
    )
    made = expand(convolution, source_shape)
    same = made.weight_exp == synapses.weight_exp and all(
        np.array_equal(getattr(made, key), getattr(synapses, key)) for key in ("pre", "post", "weight")
    )
    made_delay, found_delay = (np.broadcast_to(s.delay, s.weight.shape) for s in (made, synapses))
    return convolution if same and np.array_equal(made_delay, found_delay) else synapses


# Files of others, or ours without metadata


def _name_for(name: str, taken: set[str]) -> str:
    """Return a legal Network name for a NIR name."""
    legal = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
    if not re.match(r"[A-Za-z_]", legal):
        legal = f"n{legal}"
    while legal in taken:
        legal += "_"
    taken.add(legal)
    return legal


def _floats_alone(graph: _Graph, dt: float) -> Network:
    taken: set[str] = set()
    names = {name: _name_for(name, taken) for name in graph.kinds}
    shapes = {name: _nir_shape(graph, name) for name, kind in graph.kinds.items() if kind in ("Input", "CubaLIF")}
    extra = {name: np.zeros(int(np.prod(shape)), np.int64) for name, shape in shapes.items()}
    projections: dict[str, Projection] = {}
    for weight_node, kind in graph.kinds.items():
        if kind not in _WEIGHTS:
            continue
        ends = [(s, d, t) for s, d in _sources(graph, weight_node) for t in _targets(graph, weight_node)]
        for source, delay_node, target in ends:
            name = names[weight_node] if len(ends) == 1 else _name_for(f"{names[weight_node]}.{source}.{target}", taken)
            projections[name] = _plain_projection(graph, names, shapes, (source, delay_node, weight_node, target), dt)
        for target in {end[2] for end in ends}:
            where = f"node {weight_node!r}"
            extra[target] += _bias_of(graph.nodes[weight_node], graph.nodes[target], dt, shapes[target], where)
    nodes: dict[str, Node] = {}
    for name, kind in graph.kinds.items():
        if kind == "Input":
            nodes[names[name]] = Input(shapes[name])
        elif kind == "CubaLIF":
            nodes[names[name]] = _population(graph.nodes[name], shapes[name], dt, f"node {name!r}", extra[name], None)
            _check_edges(graph, name, before=_WEIGHTS)
        elif kind == "Output":
            _check_edges(graph, name, before=("CubaLIF",))
            if len(before := graph.before(name)) != 1:
                raise NetworkError(f"node {name!r}: got {len(before)} sources, allowed is one population")
            nodes[names[name]] = Output(names[before[0]])
    return Network(nodes, projections, dt)


def _check_edges(graph: _Graph, name: str, before: tuple[str, ...]) -> None:
    for other in graph.before(name):
        if graph.kinds[other] not in before:
            raise UnsupportedNode(
                f"edge {other!r} -> {name!r}: got a {graph.kinds[other]} before a {graph.kinds[name]}, "
                f"allowed are {', '.join(before)}"
            )


def _sources(graph: _Graph, weight_node: str) -> list[tuple[str, str | None]]:
    """Return (source, delay node) of everything that feeds a weight node."""
    _check_edges(graph, weight_node, ("Input", "CubaLIF", "Delay"))
    found: list[tuple[str, str | None]] = []
    for name in graph.before(weight_node):
        if graph.kinds[name] != "Delay":
            found.append((name, None))
            continue
        _check_edges(graph, name, ("Input", "CubaLIF"))
        found += [(source, name) for source in graph.before(name)]
    return found


def _targets(graph: _Graph, weight_node: str) -> list[str]:
    for name in graph.after(weight_node):
        _check_edges(graph, name, _WEIGHTS if graph.kinds[name] == "CubaLIF" else ("Input", "CubaLIF", "Delay"))
    return graph.after(weight_node)


def _is_matrix(node: Any, source_shape: Shape) -> bool:
    """Whether a Conv2d is a dense layer in disguise: a kernel as large as its input, used in one place."""
    return node.weight.shape[1:] == source_shape and _padding(node, "padding") == (0, 0)


def _plain_projection(
    graph: _Graph,
    names: Mapping[str, str],
    shapes: Mapping[str, Shape],
    chain: tuple[str, str | None, str, str],
    dt: float,
) -> Projection:
    source, delay_node, weight_node, target = chain
    part = (delay_node, weight_node)
    if graph.kinds[weight_node] == "Conv2d" and not _is_matrix(graph.nodes[weight_node], shapes[source]):
        return _convolution(
            graph,
            names[source],
            names[target],
            part,
            shapes[source],
            dt,
            one_delay=None,
            groups=1,
            weight_exp=0,
        )
    sizes = (int(np.prod(shapes[source])), int(np.prod(shapes[target])))
    return _synapses(graph, names[source], names[target], [part], sizes, dt, one_delay=None, weight_exp=0)
