"""Network -> NIR: the portable dialect of `dialect.py`, and metadata for what NIR cannot say.

docs/formats.md describes what other readers see. The file is written node by node, so that only one dense matrix is in
memory at a time.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import MissingDependency
from sdsnn_core.files import atomic_path
from sdsnn_core.geometry import Window
from sdsnn_core.network import (
    Convolution,
    CubaLif,
    Input,
    Network,
    Output,
    Projection,
    Shape,
    Synapses,
)
from sdsnn_core.rules import Rules

from .dialect import (
    MAX_BYTES,
    METADATA_KEY,
    METADATA_VERSION,
    PARAMETERS,
    PORTABLE_DT,
    WEIGHT_SCALE,
    check_size,
    is_one_to_one,
    kernel_of,
    nir_shapes,
    population_floats,
    spatial_nodes,
    unfolding,
)
from .extension import EXTENSIONS, extension_hints, extension_node

LOG: Final = logging.getLogger("sdsnn")
LARGE: Final = 2**28  # bytes of dense weights from which their size is said before they are written
SCALE_FROM: Final = 2**24  # entries; a larger matrix of one-to-one synapses is written as a Scale node
NODES: Rules[Callable[[Any, Any, Shape, float], Any]] = Rules("NIR writer: node")
HINTS: Rules[Callable[[Any], dict[str, Any]]] = Rules("NIR writer: metadata")


def import_nir() -> Any:
    """Return the nir package, or raise MissingDependency with the command that installs it."""
    try:
        import nir
    except ImportError:
        raise MissingDependency("NIR files need nir; install it with: pip install 'nir>=1.0.8,<2'") from None
    return nir


@dataclass(frozen=True)
class _Part:
    """One weight node of a projection, with the delay node before it if it has one."""

    weight_node: str
    delay_node: str | None
    delay: npt.NDArray[np.integer[Any]] | None  # steps, of the source's NIR shape
    only: npt.NDArray[np.bool_] | None  # which synapses this node holds; None for all


class _Plan:
    """Names, shapes and edges of the graph, decided before any matrix is made."""

    def __init__(self, network: Network, max_bytes: int) -> None:
        self.network = network
        self.shapes = nir_shapes(network)
        self.spatial = spatial_nodes(network)
        self.taken = {*network.nodes, *network.projections}
        self.parts: dict[str, list[_Part]] = {}
        self.n_bytes: dict[str, int] = {}  # of the dense weights of each projection
        for name, projection in network.projections.items():
            self.parts[name] = self._split(name, projection, max_bytes)

    def kernel(self, projection: Projection) -> Convolution | None:
        """Return the convolution that the projection is written as, None for a matrix."""
        between_images = {projection.source, projection.target} <= self.spatial
        return kernel_of(self.network, projection) if between_images else None

    def synapses(self, projection: Projection) -> Synapses:
        """Return the point-to-point synapses of a projection that is written as a matrix."""
        return projection.synapses(self.network.shape_of(projection.source))

    def is_scale(self, synapses: Synapses) -> bool:
        """Return whether one-to-one synapses are written as a Scale node: large ones, and those between images."""
        if {synapses.source, synapses.target} <= self.spatial:
            return True  # `spatial_nodes` leaves no others there
        shape = self.shapes[synapses.source]
        size = int(np.prod(shape))
        same = shape == self.shapes[synapses.target]
        return same and size * size > SCALE_FROM and is_one_to_one(synapses, size)

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _split(self, name: str, projection: Projection, max_bytes: int) -> list[_Part]:
        shape = self.shapes[projection.source]
        n_pre, n_post = self.network.size_of(projection.source), self.network.size_of(projection.target)
        if (kernel := self.kernel(projection)) is not None:
            per_channel = kernel.delay.reshape(-1, 1, 1) if kernel.delay.ndim else kernel.delay
            self._count(name, kernel.kernel.size * kernel.groups, max_bytes)
            return [self._part(name, np.broadcast_to(per_channel, shape), None)]
        synapses = self.synapses(projection)
        per_pre = np.zeros(n_pre, np.int64)
        if synapses.delay.ndim == 0:
            per_pre[:] = synapses.delay
        else:
            per_pre[synapses.pre] = synapses.delay
        delay = np.broadcast_to(synapses.delay, synapses.weight.shape)
        if (per_pre[synapses.pre] == delay).all():
            self._count(name, n_pre if self.is_scale(synapses) else n_pre * n_post, max_bytes)
            return [self._part(name, per_pre.reshape(shape), None)]
        # Delays per synapse: one matrix for every delay that occurs, since NIR delays signals and not synapses.
        steps = np.unique(delay).tolist()
        self._count(name, n_pre * n_post * len(steps), max_bytes)
        return [
            self._part(name if i == 0 else self._fresh(f"{name}.{d}"), np.full(shape, d), delay == d)
            for i, d in enumerate(steps)
        ]

    def _count(self, name: str, n_entries: int, max_bytes: int) -> None:
        """Note the size of a projection's weights, float32. Raises NetworkError where it is too large."""
        check_size(name, n_entries, max_bytes)
        self.n_bytes[name] = 4 * n_entries

    def _part(self, node: str, delay: npt.NDArray[np.integer[Any]], only: npt.NDArray[np.bool_] | None) -> _Part:
        if not delay.any():
            return _Part(node, None, None, only)
        return _Part(node, self._fresh(f"{node}.delay"), delay, only)

    def edges(self) -> list[tuple[str, str]]:
        """Edges of the graph, in the order of the network."""
        result = []
        for name, parts in self.parts.items():
            projection = self.network.projections[name]
            for part in parts:
                chain = [projection.source, part.delay_node, part.weight_node, projection.target]
                result += list(pairwise(node for node in chain if node is not None))
        return result + [(node.source, name) for name, node in self.network.outputs.items()]

    def metadata(self, dt: float) -> dict[str, Any]:
        """What NIR cannot say, JSON-able."""
        network = self.network
        return {
            "version": METADATA_VERSION,
            "dt": dt,
            "dt_s": network.dt_s,
            "provenance": dict(network.provenance),
            "nodes": [{"name": name, **HINTS.for_(node)(node)} for name, node in network.nodes.items()],
            "projections": [self._hints(name, p) for name, p in network.projections.items()],
        }

    def _hints(self, name: str, projection: Projection) -> dict[str, Any]:
        kernel = self.kernel(projection)
        hints = {
            "name": name,
            "kind": type(projection).__name__,
            "source": projection.source,
            "target": projection.target,
            "weight_exp": projection.weight_exp,
            "delays": "each" if projection.delay.ndim else "one",
            **HINTS.for_(projection)(projection),
            "kernel": kernel is not None,
            "parts": [[part.delay_node, part.weight_node] for part in self.parts[name]],
        }
        return {**hints, "groups": kernel.groups} if kernel is not None else hints


@HINTS.of(Output)
def _output_hints(node: Output) -> dict[str, Any]:
    return {"kind": "Output", "source": node.source, "signal": node.signal}


@HINTS.of(Input)
def _input_hints(node: Input) -> dict[str, Any]:
    signed = {"min_value": node.min_value} if node.min_value else {}
    return {"kind": "Input", "shape": node.shape, "max_value": node.max_value, **signed}


@HINTS.of(CubaLif)
def _population_hints(node: CubaLif) -> dict[str, Any]:
    forms = {parameter: getattr(node, parameter).shape for parameter in PARAMETERS}
    return {"kind": "Population", "shape": node.shape, "forms": forms, "bias_exp": node.bias_exp}


@HINTS.of(Convolution)
def _convolution_hints(projection: Convolution) -> dict[str, Any]:
    window = {key: getattr(projection, key) for key in ("stride", "padding", "dilation", "groups")}
    return {**window, **_synapses_hints(projection)}


@HINTS.of(Synapses)
def _synapses_hints(projection: Projection) -> dict[str, Any]:
    return {"imaginary": True} if projection.imaginary else {}


HINTS.of(*EXTENSIONS.values())(extension_hints)
NODES.of(*EXTENSIONS.values())(extension_node)


def _ungrouped(convolution: Convolution) -> npt.NDArray[np.int16]:
    """Return the kernel as (C_out, C_in, kh, kw): NIR's own shape inference and most readers refuse groups."""
    kernel = convolution.kernel
    if convolution.groups == 1:
        return np.asarray(kernel)
    out, into = kernel.shape[0] // convolution.groups, kernel.shape[1]
    whole = np.zeros((kernel.shape[0], into * convolution.groups, *kernel.shape[2:]), np.int16)
    for g in range(convolution.groups):
        whole[g * out : (g + 1) * out, g * into : (g + 1) * into] = kernel[g * out : (g + 1) * out]
    return whole


def _weight_node(nir: Any, plan: _Plan, projection: Projection, part: _Part, first: bool) -> Any:
    """Make the Affine, Conv2d or Scale node of a part. Weights are float32, in which k/64 * 2**exp is exact."""
    source: Shape = plan.shapes[projection.source]
    scale = np.float32(2.0**projection.weight_exp / WEIGHT_SCALE)
    if (kernel := plan.kernel(projection)) is not None:
        return _conv2d(nir, source, _ungrouped(kernel) * scale, kernel.window, {})
    synapses = plan.synapses(projection)
    if plan.is_scale(synapses):
        return nir.Scale(scale=(synapses.weight * scale).reshape(source))
    chosen = slice(None) if part.only is None else part.only
    n_post = plan.network.size_of(projection.target)
    matrix = np.zeros((n_post, plan.network.size_of(projection.source)), np.float32)
    matrix[synapses.post[chosen], synapses.pre[chosen]] = synapses.weight[chosen] * scale
    # The kernel behind a convolution that had to become a matrix; int16, so it does not weigh.
    metadata: dict[str, Any] = {}
    if isinstance(projection, Convolution) and first:
        metadata = {METADATA_KEY: {"kernel": np.array(projection.kernel), "delay": np.array(projection.delay, ndmin=1)}}
    target = plan.shapes[projection.target]
    if projection.target in plan.spatial:
        window = Window(padding=(target[1] - 1, target[2] - 1))
        return _conv2d(nir, source, unfolding(matrix, target), window, metadata)
    if len(source) == 1:
        return nir.Affine(weight=matrix, bias=np.zeros(n_post, np.float32), metadata=metadata)
    return _conv2d(nir, source, matrix.reshape(n_post, *source), Window(), metadata)


def _conv2d(nir: Any, source: Shape, weight: Any, window: Window, metadata: dict[str, Any]) -> Any:
    settings = {**window._asdict(), "groups": 1, "bias": np.zeros(len(weight), np.float32), "metadata": metadata}
    return nir.Conv2d(input_shape=source[1:], weight=weight, **settings)


@NODES.of(Input)
def _input_node(nir: Any, node: Input, shape: Shape, dt: float) -> Any:
    return nir.Input(input_type={"input": np.array(shape)})


@NODES.of(Output)
def _output_node(nir: Any, node: Output, shape: Shape, dt: float) -> Any:
    return nir.Output(output_type={"output": np.array(shape)})


@NODES.of(CubaLif)
def _neuron_node(nir: Any, population: CubaLif, shape: Shape, dt: float) -> Any:
    hidden = {}
    if population.initial_voltage.any():
        hidden["initial_voltage"] = np.array(population.initial_voltage, ndmin=1)
    return nir.CubaLIF(**population_floats(population, shape, dt), metadata={METADATA_KEY: hidden} if hidden else {})


def _graph_nodes(plan: _Plan, dt: float) -> Iterator[tuple[str, Any]]:
    """Yield (name, NIR node), each made when it is asked for."""
    nir = import_nir()
    for name, node in plan.network.nodes.items():
        shape = plan.shapes[node.source if isinstance(node, Output) else name]
        yield name, NODES.for_(node)(nir, node, shape, dt)
    for name, parts in plan.parts.items():
        for index, part in enumerate(parts):
            if part.delay_node is not None:
                assert part.delay is not None
                yield part.delay_node, nir.Delay(delay=part.delay * dt)
            yield part.weight_node, _weight_node(nir, plan, plan.network.projections[name], part, index == 0)


def to_nir(network: Network, *, dt: float = PORTABLE_DT, max_bytes: int = MAX_BYTES) -> Any:
    """Return `network` as a nir.NIRGraph in the portable dialect; arguments and errors as `write_nir`."""
    nir = import_nir()
    plan = _Plan(network, max_bytes)
    # NIR 1.0.8 infers the output of a Conv2d from the kernel's height alone, so its type check refuses others.
    return nir.NIRGraph(
        dict(_graph_nodes(plan, dt)),
        plan.edges(),
        metadata={METADATA_KEY: json.dumps(plan.metadata(dt))},
        type_check=False,
    )


def write_nir(network: Network, path: str | Path, *, dt: float = PORTABLE_DT, max_bytes: int = MAX_BYTES) -> Path:
    """Write `network` to a NIR file, whole or not at all, as `nir.write(path, to_nir(network))` would.

    The same network gives the same bytes. docs/formats.md describes what other tools see.

    Args:
        network: The network.
        path: Where the file goes.
        dt: Step in seconds that the time constants are written for. It is free (only dt/tau matters): the default is
            what other readers have built in, `network.dt_s` gives physical time constants.
        max_bytes: Largest size of one projection's dense matrices.

    Returns:
        The path.

    Raises:
        NetworkError: A projection would need more than `max_bytes`: NIR has no sparse weights.
        FileError: The file cannot be written.
        MissingDependency: nir is not installed.
    """
    import h5py

    nir = import_nir()
    plan = _Plan(network, max_bytes)
    if (total := sum(plan.n_bytes.values())) > LARGE:
        largest = max(plan.n_bytes, key=plan.n_bytes.__getitem__)
        LOG.warning(
            f"{path}: {total / 1e9:.2g} GB of weights before compression, {plan.n_bytes[largest] / 1e9:.2g} GB of them "
            f"for projection {largest!r}: NIR has no sparse weights"
        )
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("version", data=nir.version, dtype=h5py.string_dtype())
        graph = file.create_group("node")
        graph.create_dataset("type", data="NIRGraph", dtype=h5py.string_dtype())
        _write_group(graph.create_group("metadata"), {METADATA_KEY: json.dumps(plan.metadata(dt))})
        edges = plan.edges()
        graph.create_dataset("edges", data=np.array(edges, dtype=h5py.string_dtype()).reshape(len(edges), 2))
        nodes = graph.create_group("nodes")
        for name, node in _graph_nodes(plan, dt):
            values = {f.name: getattr(node, f.name) for f in fields(node)}
            shape = values.pop("input_type")["input"], values.pop("output_type")
            if type(node).__name__ in ("Input", "Output"):
                values["shape"] = np.asarray(shape[0])
            _write_group(nodes.create_group(name), {**values, "type": type(node).__name__})
    return Path(path)


def _write_group(group: Any, values: dict[str, Any]) -> None:
    """Write a node the way nir.serialization does: arrays compressed, strings as UTF-8, mappings as groups."""
    import h5py

    for key, value in values.items():
        if isinstance(value, dict):
            if value:
                _write_group(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=value, dtype=h5py.string_dtype())
        elif isinstance(value, np.ndarray) and value.ndim:
            group.create_dataset(key, data=value, compression="gzip")
        else:
            group.create_dataset(key, data=value)
