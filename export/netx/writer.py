"""Network -> netx `.net` (HDF5), on plain h5py: chains of layers; what netx would run differently is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.files import atomic_path
from sdsnn_core.network import Convolution, Input, Network, Population, Projection, Synapses
from sdsnn_core.rules import Rules

from ..check.parts import refuse_parts
from ..lava.processes import CONV_LIMIT
from ..nir_format.dialect import MAX_BYTES, check_size, kernel_of
from .format import METADATA, METADATA_VERSION
from .limits import NETX_LIMITS, OUR_LIMITS
from .neurons import FORMS, NEURONS

Loader = Literal["netx", "sdsnn"]


@dataclass(frozen=True)
class Layer:
    """One population of a chain with what arrives there."""

    name: str
    population: Population
    feed_name: str
    feed: Projection
    loop_name: str | None
    loop: Projection | None
    kernel: Convolution | None  # what is written as a convolution: the feed, or the 1 x 1 kernel it amounts to
    imaginary_name: str | None = None
    imaginary: Projection | None = None


# (layer, what is written for its feed, the node before it) -> the datasets of the layer, neurons apart
LAYERS: Rules[Callable[[Layer, Any, Input | Population], dict[str, Any]]] = Rules("netx writer: layer of a projection")


def chain(network: Network) -> list[Layer]:
    """Return the layers of a network that is one input and a chain of populations, some with a recurrent loop.

    Raises UnsupportedNode naming the node or projection that makes it something else.
    """
    chained = "expected one chain from one input to one output"
    for kind, group in (("inputs", network.inputs), ("outputs", network.outputs)):
        if len(group) != 1:
            raise UnsupportedNode(f"network: {chained}, got {len(group)} {kind} ({', '.join(group)})")
    last = next(iter(network.inputs))
    layers: list[Layer] = []
    visited = {last}
    while forward := {n: p for n, p in network.outgoing(last) if p.target != last}:
        imaginary = {n: p for n, p in forward.items() if isinstance(p, Synapses) and p.imaginary}
        if len(forward) == 2 and len(imaginary) == 1 and len({p.target for p in forward.values()}) == 1:
            forward = {n: p for n, p in forward.items() if n not in imaginary}
        if len(forward) > 1:
            raise UnsupportedNode(
                f"node {last!r}: {chained}, got {len(forward)} projections onward ({', '.join(sorted(forward))})"
            )
        feed_name, feed = next(iter(forward.items()))
        if feed.target in visited:
            raise UnsupportedNode(f"projection {feed_name!r}: {chained}, got one back to {feed.target!r}")
        loops = {n: p for n, p in network.incoming(feed.target) if p.source == feed.target}
        others = [n for n, p in network.incoming(feed.target) if n not in {feed_name, *loops, *imaginary}]
        if others or len(loops) > 1:
            extra = others or list(loops)
            raise UnsupportedNode(f"projection {extra[-1]!r}: {chained}, got {feed_name!r} at {feed.target!r} too")
        population = network.nodes[feed.target]
        assert isinstance(population, Population)
        loop_name, loop = next(iter(loops.items()), (None, None))
        kernel = None if loop is not None and type(feed) is Synapses else kernel_of(network, feed)
        part = next(iter(imaginary.items()), (None, None))
        layers.append(Layer(feed.target, population, feed_name, feed, loop_name, loop, kernel, *part))
        last = feed.target
        visited.add(last)
    if left := sorted(set(network.populations) - visited):
        raise UnsupportedNode(f"population {left[0]!r}: {chained}, got one that is not on the way from the input")
    out = next(iter(network.outputs.values()))
    if out.source != last:
        raise UnsupportedNode(f"output: {chained}, got the spikes of {out.source!r}, which is not the last, {last!r}")
    return layers


def write_netx(network: Network, path: str | Path, *, loader: Loader = "netx") -> Path:
    """Write `network` as a netx `.net` file, whole or not at all.

    Args:
        network: One input and a chain of populations, some with a recurrent loop.
        path: Where the file goes.
        loader: Who must run it exactly. "netx" is lava-dl's netx.hdf5.Network(path) as it stands. "sdsnn" is
            `run_netx`, which also sets what the format has no place for (initial voltages, graded input, sign modes)
            from the file's own group 'sdsnn'; plain netx ignores that group.

    Returns:
        The path.

    Raises:
        UnsupportedNode: The network is no such chain, or netx has no layer for a part of it; see docs/traps.md.
        NetworkError: netx would run other weights or biases.
        FileError: The file cannot be written.
    """
    import h5py

    layers = chain(network)
    refuse_parts(NETX_LIMITS if loader == "netx" else OUR_LIMITS, network)
    port = next(iter(network.inputs.values()))
    groups: list[dict[str, Any]] = [{"type": "input", "shape": np.array(port.shape)}]
    before: Input | Population = port
    is_image = len(port.shape) == 3
    for layer in layers:
        kernel = layer.kernel if is_image or type(layer.feed) is Convolution else None
        if kernel is not None and not is_image:
            raise UnsupportedNode(
                f"projection {layer.feed_name!r}: expected synapses behind a dense layer, got a "
                "convolution, for which netx has no image there"
            )
        if is_image and kernel is None:
            groups.append({"type": "flatten", "shape": np.array([before.size, 1, 1])})
        is_image = kernel is not None
        written = kernel or layer.feed
        group = LAYERS.for_(written)(layer, written, before)
        groups.append(group | NEURONS.for_(layer.population)(layer.population, is_image))
        before = layer.population
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        root = file.create_group("layer")
        for index, group in enumerate(groups):
            _write(root.create_group(str(index)), group)
        own = file.create_group(METADATA)
        own.create_dataset("network", data=json.dumps(_metadata(network, layers)), dtype=h5py.string_dtype())
        for layer in layers:
            if (start := getattr(layer.population, "initial_voltage", np.zeros(1))).any():
                own.create_dataset(f"initial_voltage/{layer.name}", data=start)
    return Path(path)


@LAYERS.of(Convolution)
def _convolution(layer: Layer, feed: Convolution, before: Input | Population) -> dict[str, Any]:
    where = f"projection {layer.feed_name!r}"
    if layer.loop is not None:
        raise UnsupportedNode(f"projection {layer.loop_name!r}: expected no loop at a convolutional layer, got one")
    weight = feed.kernel.astype(np.int64) << feed.weight_exp
    # Sums of messages have no useful bound: where they leave 24 bits, netx wraps and a Network does not.
    largest = before.max_value if isinstance(before, Input) and not before.wide else 1
    if (reach := int(np.abs(weight).sum(axis=(1, 2, 3)).max()) * largest) >= CONV_LIMIT:
        raise NetworkError(f"{where}: expected sums of weights below 2**23, at which Lava's Conv wraps, got {reach}")
    return {
        "type": "conv",
        "shape": np.array(layer.population.shape),
        "inChannels": before.shape[0],
        "outChannels": layer.population.shape[0],
        "kernelSize": np.array(feed.kernel.shape[2:]),
        "stride": np.array(feed.stride),
        "padding": np.array(feed.padding),
        "dilation": np.array(feed.dilation),
        "groups": feed.groups,
        "weight": weight[..., None].astype(np.int32),  # (C_out, C_in / groups, kh, kw, 1), torch's order
    }


@LAYERS.of(Synapses)
def _dense(layer: Layer, feed: Synapses, before: Input | Population) -> dict[str, Any]:
    loop, n_pre, n_post = layer.loop, before.size, layer.population.size
    group: dict[str, Any] = {"type": "dense", "shape": np.array(layer.population.shape)}
    for name, projection, size in ((layer.feed_name, feed, n_pre), (layer.loop_name, loop, n_post)):
        if projection is not None and not isinstance(projection, Synapses):
            raise UnsupportedNode(f"projection {name!r}: expected synapses, got a convolution; netx has none there")
        check_size(str(name), n_post * size, MAX_BYTES, "netx")
    if isinstance(loop, Synapses):
        group |= {"type": "dense_rec", "weight_rec": _matrix(loop, loop.weight, n_post, n_post) << loop.weight_exp}
    if feed.delay.any():
        # A matrix: a vector is taken for output delays wherever its length allows that.
        group["delay"] = _matrix(feed, feed.delay, n_post, n_pre).astype(np.int64)
    weight: Any = _matrix(feed, feed.weight, n_post, n_pre) << feed.weight_exp
    if isinstance(part := layer.imaginary, Synapses):
        weight = {"real": weight, "imag": _matrix(part, part.weight, n_post, n_pre) << part.weight_exp}
    return {**group, "inFeatures": n_pre, "outFeatures": n_post, "weight": weight}


def _matrix(synapses: Synapses, values: npt.NDArray[Any], n_post: int, n_pre: int) -> npt.NDArray[np.int32]:
    matrix = np.zeros((n_post, n_pre), np.int32)
    matrix[synapses.post, synapses.pre] = values
    return matrix


def _write(group: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=np.array([value], f"S{max(10, len(value))}"))
        elif np.ndim(value) >= 2:
            group.create_dataset(key, data=value, compression="gzip")
        else:
            group.create_dataset(key, data=value)


def _metadata(network: Network, layers: list[Layer]) -> dict[str, Any]:
    """What netx ignores: names, order, forms, and what `run_netx` sets after loading."""
    projections = {}
    for name, p in network.projections.items():
        projections[name] = {"weight_exp": p.weight_exp, "delays": "each" if p.delay.ndim else "one"}
        if p.delay.ndim == 0:
            projections[name]["delay"] = int(p.delay)
    for layer in layers:
        if layer.kernel is not None and layer.kernel is not layer.feed:
            projections[layer.feed_name]["one_to_one"] = True
    [port] = network.inputs.values()
    return {
        "version": METADATA_VERSION,
        "dt_s": network.dt_s,
        "provenance": dict(network.provenance),
        "nodes": list(network.nodes),
        "input": next(iter(network.inputs)),
        "max_value": port.max_value,
        **({"min_value": port.min_value} if port.min_value else {}),
        "signal": next(iter(network.outputs.values())).signal,
        "projections": projections,
        "layers": [
            {
                "population": layer.name,
                "feed": layer.feed_name,
                "loop": layer.loop_name,
                **({"imaginary": layer.imaginary_name} if layer.imaginary_name else {}),
                "shape": layer.population.shape,
                **FORMS.for_(layer.population)(layer.population),
            }
            for layer in layers
        ],
    }
