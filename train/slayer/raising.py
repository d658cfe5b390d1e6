"""From a Network to a model of SLAYER blocks: the exact inverse of lowering, for fine-tuning and compressing.

Each population is a block: Dense on what reaches it, side by side; Conv where it is reached by convolutions; Recurrent
where it reaches itself; Affine where its voltage is the output. Delays stand between blocks, as SLAYER's axonal delays.
What SLAYER cannot hold is refused by name, and at the end the model is lowered again and compared: a model that is
returned is the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import NEVER_FIRES, Convolution, CubaLif, Network, Projection, Shape, Synapses

from .integers import Array, initial_voltage
from .layout import Layout
from .lowering import lower
from .quantisers import Biases, Integers


def raise_(network: Network) -> RaisedNetwork:
    """Return the model of SLAYER blocks that is a Network: `lower` of it gives the network back, to the digest.

    Weights are trainable. Even ones have SLAYER's own quantiser, a layer with odd ones a quantiser of nine bits.

    Args:
        network: of CUBA neurons.

    Returns:
        A module whose forward pass takes (batch, *shape, steps) of each input and returns the spikes (or the voltage)
        of the output, a tuple where there are several.

    Raises:
        UnsupportedNode: SLAYER cannot hold the network; the message names the node or projection, and why.

    Examples:
        >>> import sdsnn
        >>> from sdsnn_core.network import Input, Network, Output, Population, Synapses
        >>> nodes = {"input": Input((2,)), "a": Population((3,), 4096, 2048, 15), "output": Output("a")}
        >>> network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[10, -3], [7, 0], [0, 1]])})
        >>> model = sdsnn.raise_(network)
        >>> model(torch.ones(1, 2, 5)).shape, sdsnn.lower(model).digest() == network.digest()
        (torch.Size([1, 3, 5]), True)
    """
    order = _order(network)
    parts = {name: _part(network, name) for name in order}
    model = RaisedNetwork(network, parts)
    with torch.no_grad():
        model(*(torch.zeros(1, *port.shape, 2) for port in network.inputs.values()))
    model.eval()
    if lower(model, provenance=network.provenance, dt_s=network.dt_s).digest() != network.digest():
        raise UnsupportedNode("network: expected integers that SLAYER's blocks hold, got others")
    return model


GRADIENT: Final = {"tau_grad": 0.01, "scale_grad": 10.0}  # surrogate gradients, as the default of `model.neuron`


class _Source(NamedTuple):
    """What a block reads from one projection: the node, its shape, and delays of its channels (None: none)."""

    node: str
    shape: Shape
    delay: Array | None


class _Part(NamedTuple):
    """The block of a population, what it reads, and the inputs of the block that each projection takes."""

    block: torch.nn.Module
    sources: tuple[_Source, ...]
    image: bool
    columns: tuple[tuple[str, int], ...]


class RaisedNetwork(torch.nn.Module):
    """The blocks of a Network and the connections between them, as `raise_` returns it.

    Attributes:
        blocks: the SLAYER blocks, in the order in which they run.
        delays: SLAYER's axonal delays between blocks.
        layout: names and forms of the network, by which `lower` gives it back.
    """

    def __init__(self, network: Network, parts: Mapping[str, _Part]) -> None:
        super().__init__()
        self.layout = Layout.of(network, {name: part.columns for name, part in parts.items()})
        self.blocks = torch.nn.ModuleList(part.block for part in parts.values())
        self.delays = torch.nn.ModuleDict()
        for number, part in enumerate(parts.values()):
            for place, source in enumerate(part.sources):
                if source.delay is not None:
                    self.delays[f"{number}_{place}"] = _axonal_delay(source.delay)
        self._reads = [(tuple((s.node, s.shape) for s in part.sources), part.image) for part in parts.values()]

    def forward(self, *inputs: Tensor) -> Any:
        """Run all blocks over all steps."""
        values = dict(zip(self.layout.inputs, inputs, strict=True))
        for number, (name, block) in enumerate(zip(self.layout.columns, self.blocks, strict=True)):
            sources, image = self._reads[number]
            spikes = []
            for place, (node, shape) in enumerate(sources):
                value = values[node].reshape(len(inputs[0]), *(shape if image else (-1,)), inputs[0].shape[-1])
                key = f"{number}_{place}"
                spikes.append(self.delays[key](value) if key in self.delays else value)
            output = block(spikes[0] if len(spikes) == 1 else torch.cat(spikes, dim=1))
            values[name] = output.reshape(len(output), *self.layout.shapes[name], output.shape[-1])
        results = tuple(values[port.source] for port in self.layout.outputs.values())
        return results[0] if len(results) == 1 else results


def _axonal_delay(steps: Array) -> torch.nn.Module:
    delay: torch.nn.Module = import_slayer().axon.Delay(max_delay=62)
    delay.delay.data = torch.from_numpy(steps.astype(np.float32))
    delay.init = True  # type: ignore[assignment]
    return delay


def _order(network: Network) -> list[str]:
    """Return the populations so that each comes behind those that feed it."""
    sources = {
        name: {p.source for _, p in network.incoming(name) if p.source in network.populations and p.source != name}
        for name in network.populations
    }
    try:
        return list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        loop = ", ".join(dict.fromkeys(error.args[1]))
        raise UnsupportedNode(
            f"network: expected loops from a population to itself only, got one over {loop}"
        ) from None


def _cuba(network: Network, name: str) -> CubaLif:
    """Return a population of CUBA neurons. Raises UnsupportedNode for others."""
    population = network.populations[name]
    if not isinstance(population, CubaLif):
        raise UnsupportedNode(f"population {name!r}: expected CUBA neurons, got {type(population).__name__}")
    return population


def _part(network: Network, name: str) -> _Part:
    _cuba(network, name)
    incoming = dict(network.incoming(name))
    loops = {key: p for key, p in incoming.items() if p.source == name}
    inputs = {key: p for key, p in incoming.items() if p.source != name}
    if not inputs:
        raise UnsupportedNode(f"population {name!r}: expected a projection from another node, got none")
    exponents = {p.weight_exp for p in incoming.values()}
    if len(exponents) > 1:
        raise UnsupportedNode(f"population {name!r}: expected projections of one weight_exp, got {_listed(exponents)}")
    try:
        builder = _images if all(isinstance(p, Convolution) for p in inputs.values()) and not loops else _flat
        return builder(network, name, inputs, loops)
    except UnsupportedNode as error:
        raise UnsupportedNode(f"population {name!r}: {error}") from None


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in sorted(values))


# -- blocks -----------------------------------------------------------------------------------------------------------


def _flat(network: Network, name: str, inputs: Mapping[str, Projection], loops: Mapping[str, Projection]) -> _Part:
    """Return a Dense, Recurrent or Affine block that reads its sources side by side."""
    cuba, population = import_slayer().block.cuba, _cuba(network, name)
    matrices: list[Array] = []
    sources, columns, exponent = [], [], 0
    for key, p in inputs.items():
        if not isinstance(p, Synapses):
            raise UnsupportedNode(f"expected convolutions alone or synapses alone, got both: {', '.join(inputs)}")
        exponent = p.weight_exp
        slices = list(_slices(p, network.size_of(p.source), population.size))
        matrices += [matrix for _, matrix in slices]
        sources += [_Source(p.source, network.shape_of(p.source), delay) for delay, _ in slices]
        columns.append((key, len(slices) * network.size_of(p.source)))
    weight = np.concatenate(matrices, axis=1)
    voltage = any(port.source == name and port.signal == "voltage" for port in network.outputs.values())
    params = _neuron_params(population)
    if loops:
        loop, *more = loops.values()
        if more or not isinstance(loop, Synapses) or loop.delay.any() or voltage or exponent:
            raise UnsupportedNode("expected one loop of synapses without delays and weight_exp 0, got another")
        block = cuba.Recurrent(params, weight.shape[1], population.size)
        _set_weights(block.input_synapse, weight[..., None, None, None], 0)
        _set_weights(block.recurrent_synapse, loop.to_dense(population.size, population.size)[..., None, None, None], 0)
    else:
        kind = cuba.Affine if voltage else cuba.Dense
        block = kind(params, weight.shape[1], population.size)
        _set_weights(block.synapse, weight[..., None, None, None], exponent)
    _set_neuron(block, population, (population.size,), voltage)
    return _Part(block, tuple(sources), False, tuple(columns))


def _slices(p: Synapses, n_pre: int, n_post: int) -> Iterator[tuple[Array | None, Array]]:
    """Yield delays of the source's units (None: none) and the weights (n_post, n_pre) of synapses that have them."""
    matrix = p.to_dense(n_post, n_pre)
    if not p.delay.any():
        yield None, matrix
        return
    late = np.broadcast_to(p.delay, p.weight.shape).astype(np.int64)
    steps = np.zeros(n_pre, np.int64)
    steps[p.pre] = late
    if (steps[p.pre] == late).all():  # an axonal delay of the source
        yield steps, matrix
        return
    for value in np.unique(late):
        chosen = late == value
        part = np.zeros_like(matrix)
        part[p.post[chosen], p.pre[chosen]] = p.weight[chosen]
        yield np.full(n_pre, value), part


def _images(network: Network, name: str, inputs: Mapping[str, Projection], _loops: Any) -> _Part:
    """Return a Conv block that reads the channels of its sources side by side."""
    population, projections = _cuba(network, name), list(inputs.values())
    first = projections[0]
    assert isinstance(first, Convolution)
    if any(port.source == name and port.signal == "voltage" for port in network.outputs.values()):
        raise UnsupportedNode("expected synapses in front of a voltage output, got a convolution")
    kernels, sources = [], []
    for p in projections:
        assert isinstance(p, Convolution)
        shape = network.shape_of(p.source)
        same = p.window == first.window and p.kernel.shape[2:] == first.kernel.shape[2:]
        if not same or shape[1:] != network.shape_of(first.source)[1:] or (p.groups > 1 and len(projections) > 1):
            raise UnsupportedNode(
                f"expected convolutions of one window and size, without groups, to add up, got {', '.join(inputs)}"
            )
        kernels.append(p.kernel)
        delay = np.broadcast_to(p.delay, shape[0]).astype(np.int64) if p.delay.any() else None
        sources.append(_Source(p.source, shape, delay))
    kernel = np.concatenate(kernels, axis=1).astype(np.int64)
    block = import_slayer().block.cuba.Conv(
        _neuron_params(population),
        kernel.shape[1] * first.groups,
        len(kernel),
        tuple(kernel.shape[2:]),
        stride=first.stride,
        padding=first.padding,
        dilation=first.dilation,
        groups=first.groups,
    )
    _set_weights(block.synapse, kernel[..., None], first.weight_exp)
    _set_neuron(block, population, population.shape, False)
    columns = tuple((key, network.shape_of(p.source)[0]) for key, p in inputs.items())
    return _Part(block, tuple(sources), True, columns)


def _set_weights(layer: Any, integers: Array, exponent: int) -> None:
    """Put integers into a SLAYER synapse, with a quantiser that leaves them as they are."""
    layer.weight.data = torch.from_numpy(integers * 2.0**exponent / 64).float()
    if (integers % 2).any() or exponent:
        layer.pre_hook_fx = Integers(exponent)


# -- neurons ----------------------------------------------------------------------------------------------------------


def _neuron_params(population: CubaLif) -> dict[str, Any]:
    """Return SLAYER's parameters of a population, one value each; decays of channels follow in `_set_neuron`."""
    threshold = _one(population.threshold, "threshold")
    params: dict[str, Any] = {"threshold": threshold / 64, "current_decay": 1.0, "voltage_decay": 1.0, **GRADIENT}
    if population.bias.any():
        params["norm"] = import_slayer().neuron.norm.MeanOnlyBatchNorm
    return params


def _one(values: Array, what: str) -> int:
    if values.size and (values != values.flat[0]).any():
        raise UnsupportedNode(f"expected one {what} for all neurons, as SLAYER has, got {values.min()}..{values.max()}")
    return int(values.flat[0])


def _set_neuron(block: Any, population: CubaLif, shape: Shape, voltage: bool) -> None:
    """Give a block's neuron the decays, bias and start of a population; shape: of the block's output."""
    neuron = block.neuron
    neuron.threshold_eps = 1 / neuron.s_scale
    decays = [_of_channels(population, f"{kind}_decay", shape) for kind in ("current", "voltage")]
    if any(decay.size > 1 for decay in decays):
        if len(shape) > 1:
            raise UnsupportedNode(
                "expected one decay for all channels of a convolution, as SLAYER's CPU path, got more"
            )
        decays = [np.broadcast_to(decay, shape[0]) for decay in decays]
        neuron.shared_param = False
    for parameter, decay in zip((neuron.current_decay, neuron.voltage_decay), decays, strict=True):
        parameter.data = torch.from_numpy(np.array(decay, np.float32).reshape(-1))
    neuron.shape, neuron.num_neurons = torch.Size(shape), math.prod(shape)
    bias = _of_channels(population, "bias", shape)
    never = voltage and bool((population.threshold == NEVER_FIRES).all())
    start = (
        np.zeros((), np.int64)
        if never
        else initial_voltage(
            population.per_neuron("bias"),
            population.per_neuron("voltage_decay"),
            _one(population.threshold, "threshold"),
        )
    )
    if (np.broadcast_to(start, population.size) != population.per_neuron("initial_voltage")).any():
        raise UnsupportedNode("expected the initial voltage that cancels the bias before the first input, got another")
    if not population.bias.any():
        if population.bias_exp != 6:
            raise UnsupportedNode(f"expected bias_exp 6, as SLAYER's biases, got {population.bias_exp}")
        return
    if voltage or population.bias_exp != 6:
        raise UnsupportedNode("expected a bias of bias_exp 6 on a population that fires, got another")
    norm = neuron.norm
    norm.pre_hook_fx, norm.update = Biases(), False
    norm.num_features, norm.running_mean = (
        shape[0],
        torch.from_numpy(np.broadcast_to(-bias / 64, shape[0]).copy()).float(),
    )


def _of_channels(population: CubaLif, key: str, shape: Shape) -> Array:
    """Return a parameter as one value, or one for each channel of a block's output, flat."""
    channels = population.per_neuron(key).reshape(shape[0], -1)
    if (channels == channels.flat[0]).all():
        return np.asarray(channels[0, 0])
    if (channels != channels[:, :1]).any():
        raise UnsupportedNode(f"expected one {key.replace('_', ' ')} for each channel, as SLAYER has, got more")
    result: Array = channels[:, 0]
    return result
