"""Network -> netx `.net` (HDF5), on plain h5py: chains of layers; what netx would run differently is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.files import atomic_path
from sdsnn_core.network import BIAS_MAX, Convolution, Input, Network, Population, Projection, Synapses

from ..lava.processes import CONV_LIMIT
from ..nir_format.dialect import PARAMETERS
from .format import (
    BIAS_EXP,
    METADATA,
    METADATA_VERSION,
    netx_runs_exactly,
    remedied_runs_exactly,
    why_not,
)

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


def chain(network: Network) -> list[Layer]:
    """Return the layers of a network that is one input and a chain of populations, some with a recurrent loop.

    Raises UnsupportedNode naming the node or projection that makes it something else.
    """
    allowed = "netx allows one chain from one input to one output"
    for kind, group in (("inputs", network.inputs), ("outputs", network.outputs)):
        if len(group) != 1:
            raise UnsupportedNode(f"network: got {len(group)} {kind} ({', '.join(group)}), {allowed}")
    here = next(iter(network.inputs))
    layers: list[Layer] = []
    seen = {here}
    while forward := {n: p for n, p in network.outgoing(here) if p.target != here}:
        if len(forward) > 1:
            raise UnsupportedNode(f"node {here!r}: got {len(forward)} projections onward {sorted(forward)}, {allowed}")
        feed_name, feed = next(iter(forward.items()))
        if feed.target in seen:
            raise UnsupportedNode(f"projection {feed_name!r}: goes back to {feed.target!r}, {allowed}")
        loops = {n: p for n, p in network.incoming(feed.target) if p.source == feed.target}
        others = [n for n, p in network.incoming(feed.target) if n != feed_name and n not in loops]
        if others or len(loops) > 1:
            extra = others or list(loops)
            raise UnsupportedNode(f"projection {extra[-1]!r}: joins {feed_name!r} at {feed.target!r}, {allowed}")
        population = network.nodes[feed.target]
        assert isinstance(population, Population)
        loop_name, loop = next(iter(loops.items()), (None, None))
        layers.append(Layer(feed.target, population, feed_name, feed, loop_name, loop))
        here = feed.target
        seen.add(here)
    if left := sorted(set(network.populations) - seen):
        raise UnsupportedNode(f"population {left[0]!r}: is not on the way from the input, {allowed}")
    out = next(iter(network.outputs.values()))
    if out.source != here:
        raise UnsupportedNode(f"output of {out.source!r}: is not the last population {here!r}, {allowed}")
    return layers


def write_netx(network: Network, path: str | Path, *, loader: Loader = "netx") -> Path:
    """Write `network` as a `.net` file, whole or not at all; return the path.

    loader: who must run it exactly. 'netx' is lava-dl's netx.hdf5.Network(path), reset or not, as it stands. 'sdsnn' is
    `run_netx`, which also sets what the format has no place for (initial voltages, graded input, sign modes) from
    this file's own group 'sdsnn'; plain netx would ignore that.
    Raises UnsupportedNode and NetworkError naming the projection or population, FileError if it cannot be written.
    """
    import h5py

    layers = chain(network)
    port = next(iter(network.inputs.values()))
    if port.max_value > 1 and loader == "netx":
        raise UnsupportedNode(
            f"input {next(iter(network.inputs))!r}: got max_value {port.max_value}, allowed is 1: netx takes events as "
            "binary unless it is loaded with input_message_bits=8 (loader='sdsnn')"
        )
    groups: list[dict[str, Any]] = [{"type": "input", "shape": np.array(port.shape)}]
    before: Input | Population = port
    is_image = len(port.shape) == 3
    for layer in layers:
        if isinstance(layer.feed, Convolution):
            if not is_image:
                raise UnsupportedNode(
                    f"projection {layer.feed_name!r}: a convolution after a dense layer; netx has none"
                )
            groups.append(_convolution(layer, layer.feed, before))
        else:
            if is_image:
                groups.append({"type": "flatten", "shape": np.array([before.size, 1, 1])})
            is_image = False
            groups.append(_dense(layer, layer.feed, before.size, loader))
        groups[-1].update(_bias(layer, loader))
        groups[-1]["neuron"] = _neuron(layer.population, isinstance(layer.feed, Convolution))
        before = layer.population
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        root = file.create_group("layer")
        for index, group in enumerate(groups):
            _write(root.create_group(str(index)), group)
        own = file.create_group(METADATA)
        own.create_dataset("network", data=json.dumps(_metadata(network, layers)), dtype=h5py.string_dtype())
        for layer in layers:
            if layer.population.initial_voltage.any():
                own.create_dataset(f"initial_voltage/{layer.name}", data=layer.population.initial_voltage)
    return Path(path)


def _convolution(layer: Layer, feed: Convolution, before: Input | Population) -> dict[str, Any]:
    where = f"projection {layer.feed_name!r}"
    if layer.loop is not None:
        raise UnsupportedNode(f"projection {layer.loop_name!r}: recurrence of a convolutional layer; netx has none")
    if feed.delay.any():
        raise UnsupportedNode(
            f"{where}: got delays up to {feed.delay.max()} on a convolution, which netx drops; allowed is 0, or delays "
            "on the synapses of the next dense layer"
        )
    weight = feed.kernel.astype(np.int64) << feed.weight_exp
    largest = before.max_value if isinstance(before, Input) else 1
    if int(np.abs(weight).sum(axis=(1, 2, 3)).max()) * largest >= CONV_LIMIT:
        raise NetworkError(f"{where}: sums of weights reach 2**23, which Lava's Conv wraps; allowed are smaller ones")
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


def _dense(layer: Layer, feed: Synapses, n_pre: int, loader: Loader) -> dict[str, Any]:
    where = f"projection {layer.feed_name!r}"
    n_post = layer.population.size
    weight = feed.to_dense(n_post, n_pre) << feed.weight_exp
    group: dict[str, Any] = {"type": "dense", "shape": np.array(layer.population.shape)}
    recurrent = None
    if layer.loop is not None:
        if not isinstance(layer.loop, Synapses):
            raise UnsupportedNode(f"projection {layer.loop_name!r}: recurrence by convolution; netx has none")
        if feed.delay.any() or layer.loop.delay.any():
            raise UnsupportedNode(
                f"{where}: got delays at a recurrent layer, which netx runs with wrong weights; allowed 0"
            )
        recurrent = layer.loop.to_dense(n_post, n_post) << layer.loop.weight_exp
        group["type"] = "dense_rec"
        group["weight_rec"] = recurrent.astype(np.int32)
    exact = netx_runs_exactly if loader == "netx" else remedied_runs_exactly
    if not exact(weight, recurrent):
        raise NetworkError(f"{where}: {why_not(weight, recurrent)}")
    if feed.delay.any():
        delay = np.zeros((n_post, n_pre), np.int64)
        delay[feed.post, feed.pre] = feed.delay
        group["delay"] = delay  # a matrix: a vector is taken for output delays wherever its length allows that
    return {**group, "inFeatures": n_pre, "outFeatures": n_post, "weight": weight.astype(np.int32)}


def _bias(layer: Layer, loader: Loader) -> dict[str, Any]:
    population, where = layer.population, f"population {layer.name!r}"
    if population.initial_voltage.any() and loader == "netx":
        raise UnsupportedNode(
            f"{where}: got initial voltages up to {int(np.abs(population.initial_voltage).max())}; allowed is 0, netx "
            "has no place for them (loader='sdsnn')"
        )
    if not population.bias.any():
        return {}
    state = population.per_neuron("bias") << population.bias_exp
    if (state % 2**BIAS_EXP).any() or np.abs(state).max() > BIAS_MAX << BIAS_EXP:
        raise NetworkError(
            f"{where} bias: got {state.min()}..{state.max()} state units; allowed are multiples of 64 up to "
            f"64 * {BIAS_MAX}"
        )
    return {"bias": _field(state >> BIAS_EXP, population, isinstance(layer.feed, Convolution), scalar=False)}


def _field(
    values: npt.NDArray[np.int64], population: Population, image: bool, *, scalar: bool = True
) -> npt.NDArray[np.int64]:
    """Return per-neuron values as netx broadcasts them: one, per channel, or whole as (N,) or (W, H, C)."""
    if scalar and (values == values[0]).all():
        return np.asarray(values[0])
    if not image:
        return values
    whole = values.reshape(population.shape)
    return whole[:, 0, 0] if (whole == whole[:, :1, :1]).all() else whole.transpose(2, 1, 0)


def _neuron(population: Population, image: bool) -> dict[str, Any]:
    names = {"iDecay": "current_decay", "vDecay": "voltage_decay", "vThMant": "threshold"}
    values = {key: _field(population.per_neuron(name), population, image) for key, name in names.items()}
    return {"type": "CUBA", **values, "refDelay": 1, "gradedSpike": False}


def _write(group: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=np.array([value], "S10"))
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
    return {
        "version": METADATA_VERSION,
        "dt_s": network.dt_s,
        "provenance": dict(network.provenance),
        "nodes": list(network.nodes),
        "input": next(iter(network.inputs)),
        "max_value": next(iter(network.inputs.values())).max_value,
        "signal": next(iter(network.outputs.values())).signal,
        "projections": projections,
        "layers": [
            {
                "population": layer.name,
                "feed": layer.feed_name,
                "loop": layer.loop_name,
                "shape": layer.population.shape,
                "bias_exp": layer.population.bias_exp,
                "forms": {name: getattr(layer.population, name).shape for name in PARAMETERS},
            }
            for layer in layers
        ],
    }
