"""Network -> NIR: the portable dialect of `nir_dialect`, and metadata for what NIR cannot say.

What other readers see is in docs/formats.md. The file is written node by node, so that only one dense matrix is in
memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import MissingDependency
from sdsnn_core.files import atomic_path
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Projection, Shape, Synapses

from .dialect import (
    METADATA_KEY,
    METADATA_VERSION,
    PARAMETERS,
    PORTABLE_DT,
    WEIGHT_SCALE,
    check_size,
    nir_shapes,
    population_floats,
    spatial_nodes,
)

MAX_BYTES: Final = 2**33  # of one projection's dense matrices; more is refused rather than swapped to death


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
        for name, projection in network.projections.items():
            self.parts[name] = self._split(name, projection, max_bytes)

    def is_kernel(self, projection: Projection) -> bool:
        """Whether the projection is written as the convolution that it is."""
        return isinstance(projection, Convolution) and {projection.source, projection.target} <= self.spatial

    def synapses(self, projection: Projection) -> Synapses:
        """Return the point-to-point synapses of a projection that is written as a matrix."""
        return projection.synapses(self.network.shape_of(projection.source))

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _split(self, name: str, projection: Projection, max_bytes: int) -> list[_Part]:
        shape = self.shapes[projection.source]
        n_pre, n_post = self.network.size_of(projection.source), self.network.size_of(projection.target)
        if isinstance(projection, Convolution) and self.is_kernel(projection):
            per_channel = projection.delay.reshape(-1, 1, 1) if projection.delay.ndim else projection.delay
            check_size(name, projection.kernel.size * projection.groups, max_bytes)
            return [self._part(name, name, np.broadcast_to(per_channel, shape), None)]
        synapses = self.synapses(projection)
        per_pre = np.zeros(n_pre, np.int64)
        if synapses.delay.ndim == 0:
            per_pre[:] = synapses.delay
        else:
            per_pre[synapses.pre] = synapses.delay
        delay = np.broadcast_to(synapses.delay, synapses.weight.shape)
        if (per_pre[synapses.pre] == delay).all():
            check_size(name, n_pre * n_post, max_bytes)
            return [self._part(name, name, per_pre.reshape(shape), None)]
        # Delays per synapse: one matrix for every delay that occurs, since NIR delays signals and not synapses.
        steps = np.unique(delay).tolist()
        check_size(name, n_pre * n_post * len(steps), max_bytes)
        return [
            self._part(name if i == 0 else self._fresh(f"{name}.{d}"), name, np.full(shape, d), delay == d)
            for i, d in enumerate(steps)
        ]

    def _part(
        self,
        node: str,
        projection: str,
        delay: npt.NDArray[np.integer[Any]],
        only: npt.NDArray[np.bool_] | None,
    ) -> _Part:
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
                there = [node for node in chain if node is not None]
                result += list(pairwise(there))
        return result + [(node.source, name) for name, node in self.network.outputs.items()]

    def metadata(self, dt: float) -> dict[str, Any]:
        """What NIR cannot say, JSON-able."""
        network = self.network
        return {
            "version": METADATA_VERSION,
            "dt": dt,
            "dt_s": network.dt_s,
            "provenance": dict(network.provenance),
            "nodes": [{"name": name, **_node_hints(node)} for name, node in network.nodes.items()],
            "projections": [
                {
                    "name": name,
                    **_projection_hints(p),
                    "kernel": self.is_kernel(p),
                    "parts": [[part.delay_node, part.weight_node] for part in self.parts[name]],
                }
                for name, p in network.projections.items()
            ],
        }


def _node_hints(node: Input | Population | Output) -> dict[str, Any]:
    if isinstance(node, Output):
        return {"kind": "Output", "source": node.source, "signal": node.signal}
    if isinstance(node, Input):
        return {"kind": "Input", "shape": node.shape, "max_value": node.max_value}
    forms = {parameter: getattr(node, parameter).shape for parameter in PARAMETERS}
    return {"kind": "Population", "shape": node.shape, "forms": forms, "bias_exp": node.bias_exp}


def _projection_hints(projection: Projection) -> dict[str, Any]:
    hints = {
        "kind": type(projection).__name__,
        "source": projection.source,
        "target": projection.target,
        "weight_exp": projection.weight_exp,
        "delays": "each" if projection.delay.ndim else "one",
    }
    if isinstance(projection, Convolution):
        hints.update({key: getattr(projection, key) for key in ("stride", "padding", "dilation", "groups")})
    return hints


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
    """Make the Affine or Conv2d node of a part. Weights are float32, in which k/64 * 2**exp is exact."""
    source: Shape = plan.shapes[projection.source]
    scale = np.float32(2.0**projection.weight_exp / WEIGHT_SCALE)
    if isinstance(projection, Convolution) and plan.is_kernel(projection):
        weight = _ungrouped(projection) * scale
        return nir.Conv2d(
            input_shape=source[1:],
            weight=weight,
            stride=projection.stride,
            padding=projection.padding,
            dilation=projection.dilation,
            groups=1,
            bias=np.zeros(weight.shape[0], np.float32),
        )
    synapses = plan.synapses(projection)
    here = slice(None) if part.only is None else part.only
    n_post = plan.network.size_of(projection.target)
    matrix = np.zeros((n_post, plan.network.size_of(projection.source)), np.float32)
    matrix[synapses.post[here], synapses.pre[here]] = synapses.weight[here] * scale
    bias = np.zeros(n_post, np.float32)
    # The kernel behind a convolution that had to become a matrix; int16, so it does not weigh.
    metadata: dict[str, Any] = {}
    if isinstance(projection, Convolution) and first:
        metadata = {METADATA_KEY: {"kernel": np.array(projection.kernel), "delay": np.array(projection.delay, ndmin=1)}}
    if len(source) == 1:
        return nir.Affine(weight=matrix, bias=bias, metadata=metadata)
    return nir.Conv2d(
        input_shape=source[1:],
        weight=matrix.reshape(n_post, *source),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        bias=bias,
        metadata=metadata,
    )


def _neuron_node(nir: Any, population: Population, shape: Shape, dt: float) -> Any:
    hidden = {}
    if population.initial_voltage.any():
        hidden["initial_voltage"] = np.array(population.initial_voltage, ndmin=1)
    return nir.CubaLIF(**population_floats(population, shape, dt), metadata={METADATA_KEY: hidden} if hidden else {})


def _graph_nodes(plan: _Plan, dt: float) -> Iterator[tuple[str, Any]]:
    """Yield (name, NIR node), each made when it is asked for."""
    nir = import_nir()
    for name, node in plan.network.nodes.items():
        if isinstance(node, Input):
            yield name, nir.Input(input_type={"input": np.array(plan.shapes[name])})
        elif isinstance(node, Output):
            yield name, nir.Output(output_type={"output": np.array(plan.shapes[node.source])})
        else:
            yield name, _neuron_node(nir, node, plan.shapes[name], dt)
    for name, parts in plan.parts.items():
        for index, part in enumerate(parts):
            if part.delay_node is not None:
                assert part.delay is not None
                yield part.delay_node, nir.Delay(delay=part.delay * dt)
            yield part.weight_node, _weight_node(nir, plan, plan.network.projections[name], part, index == 0)


def to_nir(network: Network, *, dt: float = PORTABLE_DT, max_bytes: int = MAX_BYTES) -> Any:
    """Return `network` as a nir.NIRGraph in the portable dialect.

    dt: the step in seconds that the time constants are written for. It is free (only dt/tau matters); the default is
    what other readers have built in, `network.dt_s` gives physical time constants. max_bytes: largest dense matrix.
    Raises NetworkError where a projection would need more.
    """
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
    """Write `network` to `path` as `nir.write(path, to_nir(network))` would, whole or not at all; return the path.

    Raises FileError where the file cannot be written, NetworkError as `to_nir`.
    """
    import h5py

    nir = import_nir()
    plan = _Plan(network, max_bytes)
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
