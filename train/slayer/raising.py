"""From a Network to a model of SLAYER blocks: the exact inverse of lowering, for fine-tuning and compressing.

Each population is a block of its neurons: Dense on what reaches it, side by side; Conv where it is reached by
convolutions; Recurrent where it reaches itself; Affine (of sigma-delta neurons Output) where its voltage is the output;
Input for Delta neurons. Delays stand between blocks, as SLAYER's axonal delays.
What SLAYER cannot hold is refused by name, and at the end the model is lowered again and compared: a model that is
returned is the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    Convolution,
    CubaLif,
    Delta,
    Input,
    Network,
    Population,
    Projection,
    Shape,
    Sigma,
    SigmaDelta,
    Synapses,
)

from .graph.graded import MESSAGE_BITS
from .graph.merging import expressible
from .graph.raised_neurons import RAISED, one, state_bits
from .integers import Array, parts_of
from .layout import Column, Layout
from .lowering import lower
from .quantisers import Integers


def raise_(network: Network) -> RaisedNetwork:
    """Return the model of SLAYER blocks that is a Network: `lower` of it gives the network back, to the digest.

    Where no block holds a part, `lower` gives a network with the same spikes instead: populations that form a loop are
    one, and a convolution that does not stand alone in front of its population is synapses (`graph.merging`). Weights
    are trainable. Even ones have SLAYER's own quantiser, a layer with odd ones a quantiser of nine bits.

    Args:
        network: a network of neurons that SLAYER has.

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
    network = expressible(network)
    order = _order(network)
    late = _lateness(network, order)
    parts = {name: _part(network, name, late) for name in order}
    model = RaisedNetwork(network, parts)
    with torch.no_grad():
        model(*(torch.zeros(1, *port.shape, 2) for port in network.inputs.values()))
    model.eval()
    if lower(model, provenance=network.provenance, dt_s=network.dt_s).digest() != network.digest():
        raise UnsupportedNode("network: expected integers that SLAYER's blocks hold, got others")
    return model


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
    columns: tuple[Column, ...]


class _Site(NamedTuple):
    """A population, what reaches it, and by how many steps each node is late beside SLAYER's blocks."""

    network: Network
    name: str
    inputs: Mapping[str, Projection]
    loops: Mapping[str, Projection]
    late: Mapping[str, int]

    @property
    def population(self) -> Population:
        """The population."""
        return self.network.populations[self.name]

    @property
    def voltage(self) -> bool:
        """Whether its voltage is an output."""
        return any(port.source == self.name and port.signal == "voltage" for port in self.network.outputs.values())

    @property
    def exponent(self) -> int:
        """The exponent of two on the weights of the block."""
        bits = {MESSAGE_BITS if self.graded(p.source) else 0 for p in self.inputs.values()}
        if len(bits) > 1:
            raise UnsupportedNode("expected messages of sigma-delta neurons alone, or spikes and events, got both")
        arriving = max(bits)
        if arriving and not isinstance(self.population, (SigmaDelta, Sigma)):
            raise UnsupportedNode("expected spikes or events as input, got messages of sigma-delta neurons")
        shift = state_bits(self.population, arriving)
        return next(iter(self.inputs.values())).weight_exp - shift

    def graded(self, name: str) -> bool:
        """Whether a node sends messages of sigma-delta neurons."""
        return isinstance(self.network.nodes[name], (SigmaDelta, Delta, Sigma))

    def own_delay(self, p: Projection) -> Array:
        """Return the delays of a projection beyond those that align its path with the others."""
        last = max(self.late[each.source] for each in self.inputs.values())
        delay = p.delay.astype(np.int64) - (last - self.late[p.source])
        if delay.size and delay.min() < 0:
            raise UnsupportedNode(
                f"expected a delay of at least {last - self.late[p.source]} from {p.source!r}, got less"
            )
        return delay

    def columns(self) -> Iterator[tuple[str, Any, bool]]:
        """Yield projections, and whether they need inputs of their own: imaginary parts share those of the real."""
        real = {p.source for p in self.inputs.values() if not p.imaginary}
        for name, p in sorted(self.inputs.items(), key=lambda item: item[1].imaginary):
            yield name, p, not p.imaginary or p.source not in real
            real -= {p.source} if p.imaginary else set()


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
    return list(TopologicalSorter(sources).static_order())


def _lateness(network: Network, order: list[str]) -> dict[str, int]:
    """Return by how many steps each node is later than its block: one for every sigma-delta population on the way."""
    late = dict.fromkeys(network.inputs, 0)
    for name in order:
        before = [late[p.source] for _, p in network.incoming(name) if p.source != name]
        late[name] = max(before, default=0) + isinstance(network.nodes[name], (SigmaDelta, Delta, Sigma))
    return late


def _part(network: Network, name: str, late: Mapping[str, int]) -> _Part:
    incoming = dict(network.incoming(name))
    loops = {key: p for key, p in incoming.items() if p.source == name}
    inputs = {key: p for key, p in incoming.items() if p.source != name}
    if not inputs:
        raise UnsupportedNode(f"population {name!r}: expected a projection from another node, got none")
    exponents = {p.weight_exp for p in incoming.values()}
    if len(exponents) > 1:
        raise UnsupportedNode(f"population {name!r}: expected projections of one weight_exp, got {_listed(exponents)}")
    site = _Site(network, name, inputs, loops, late)
    try:
        if isinstance(site.population, Delta):
            return _encoding(site)
        return (_images if all(isinstance(p, Convolution) for p in inputs.values()) and not loops else _flat)(site)
    except UnsupportedNode as error:
        raise UnsupportedNode(f"population {name!r}: {error}") from None


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in sorted(values))


# -- blocks -----------------------------------------------------------------------------------------------------------


def _room(population: Population) -> Any:
    """Return the module of SLAYER's blocks with a population's neurons."""
    return getattr(import_slayer().block, RAISED.for_(population).room(population))


def _finished(
    site: _Site, block: Any, shape: Shape, sources: list[_Source], image: bool, columns: list[Column]
) -> _Part:
    """Give a block its neurons' values."""
    RAISED.for_(site.population).put(block, site.population, shape, site.voltage)
    return _Part(block, tuple(sources), image, tuple(columns))


def _encoding(site: _Site) -> _Part:
    """Return the Input block of Delta neurons: one even weight from each unit of an input to its neuron."""
    (key, p), *more = site.inputs.items()
    network, shape = site.network, site.population.shape
    port = network.nodes[p.source]
    synapses = network.synapses(key)
    alone = not more and not site.loops and isinstance(port, Input) and port.shape == shape
    every = np.arange(site.population.size)
    if not alone or p.delay.any() or not all(np.array_equal(ends, every) for ends in (synapses.pre, synapses.post)):
        raise UnsupportedNode("expected one synapse without delay from each unit of an input, got others")
    params = RAISED.for_(site.population).params(site.population)
    weight = one(synapses.weight, "weight") * 2**p.weight_exp
    block = _room(site.population).Input(params, weight=weight / 64)
    return _finished(site, block, shape, [_Source(p.source, shape, None)], len(shape) == 3, [Column(key, 0, shape[0])])


def _flat(site: _Site) -> _Part:
    """Return a Dense, Recurrent, Affine or Output block that reads its sources side by side."""
    network, population = site.network, site.population
    matrices: list[tuple[bool, int, Array]] = []
    sources: list[_Source] = []
    columns: list[Column] = []
    starts: dict[str, int] = {}
    width = 0
    for key, p, new in site.columns():
        if not isinstance(p, Synapses):
            raise UnsupportedNode(f"expected convolutions alone or synapses alone, got both: {', '.join(site.inputs)}")
        n_pre = network.size_of(p.source)
        slices = list(_slices(p, site.own_delay(p), n_pre, population.size))
        start = width if new else starts[p.source]
        starts.setdefault(p.source, start)
        matrices += [(p.imaginary, start + n_pre * number, matrix) for number, (_, matrix) in enumerate(slices)]
        columns.append(Column(key, start, len(slices) * n_pre, p.imaginary))
        if new:
            sources += [_Source(p.source, network.shape_of(p.source), delay) for delay, _ in slices]
            width += len(slices) * n_pre
    weights = {imaginary: np.zeros((population.size, width), np.int64) for imaginary in (False, True)}
    for imaginary, start, matrix in matrices:
        weights[imaginary][:, start : start + matrix.shape[1]] = matrix
    room, params, exponent = _room(population), RAISED.for_(population).params(population), site.exponent
    if site.loops:
        loop, *more = site.loops.values()
        plain = isinstance(loop, Synapses) and not loop.delay.any() and not site.voltage and not exponent
        if more or not plain or not hasattr(room, "Recurrent") or loop.imaginary or weights[True].any():
            raise UnsupportedNode("expected one loop of synapses without delays and weight_exp 0, got another")
        block = room.Recurrent(params, width, population.size)
        _set_weights(block.input_synapse, weights[False][..., None, None, None], 0)
        matrix = loop.synapses(()).to_dense(population.size, population.size)
        _set_weights(block.recurrent_synapse, matrix[..., None, None, None], 0)
    else:
        block = _flat_kind(site, room)(params, width, population.size)
        for layer, imaginary in parts_of(block.synapse):
            _set_weights(layer, weights[imaginary][..., None, None, None], exponent)
    return _finished(site, block, (population.size,), sources, False, columns)


def _flat_kind(site: _Site, room: Any) -> Any:
    """Return the class of block of a population without a loop."""
    if isinstance(site.population, Sigma):
        return room.Output
    return room.Affine if site.voltage and isinstance(site.population, CubaLif) else room.Dense


def _slices(p: Synapses, delay: Array, n_pre: int, n_post: int) -> Iterator[tuple[Array | None, Array]]:
    """Yield delays of the source's units (None: none) and the weights (n_post, n_pre) of synapses that have them."""
    matrix = p.to_dense(n_post, n_pre)
    if not delay.any():
        yield None, matrix
        return
    late = np.broadcast_to(delay, p.weight.shape)
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


def _images(site: _Site) -> _Part:
    """Return a Conv block that reads the channels of its sources side by side."""
    network, population = site.network, site.population
    first = next(iter(site.inputs.values()))
    assert isinstance(first, Convolution)
    if site.voltage:
        raise UnsupportedNode("expected synapses in front of a voltage output, got a convolution")
    kernels: list[tuple[bool, int, Array]] = []
    sources: list[_Source] = []
    columns: list[Column] = []
    starts: dict[str, int] = {}
    width = 0
    for key, p, new in site.columns():
        shape = network.shape_of(p.source)
        same = p.window == first.window and p.kernel.shape[2:] == first.kernel.shape[2:]
        if not same or shape[1:] != network.shape_of(first.source)[1:] or (p.groups > 1 and new and width):
            raise UnsupportedNode(
                f"expected convolutions of one window and size, without groups, to add up, got {', '.join(site.inputs)}"
            )
        start = width if new else starts[p.source]
        starts.setdefault(p.source, start)
        kernels.append((p.imaginary, start, p.kernel))
        columns.append(Column(key, start, shape[0], p.imaginary))
        if new:
            own = site.own_delay(p)
            delay = np.broadcast_to(own, shape[0]) if own.any() else None
            sources.append(_Source(p.source, shape, delay))
            width += shape[0]
    out, _, *size = first.kernel.shape
    params = RAISED.for_(population).params(population)
    window = {"stride": first.stride, "padding": first.padding, "dilation": first.dilation, "groups": first.groups}
    block = _room(population).Conv(params, width, out, tuple(size), **window)
    for layer, imaginary in parts_of(block.synapse):
        whole = np.zeros((out, width // first.groups, *size), np.int64)
        for part, start, kernel in kernels:
            if part == imaginary:
                whole[:, start : start + kernel.shape[1]] = kernel
        _set_weights(layer, whole[..., None], site.exponent)
    return _finished(site, block, population.shape, sources, True, columns)


def _set_weights(layer: Any, integers: Array, exponent: int) -> None:
    """Put integers into a SLAYER synapse, with a quantiser that leaves them as they are."""
    layer.weight.data = torch.from_numpy(integers * 2.0**exponent / 64).float()
    if (integers % 2).any() or exponent:
        layer.pre_hook_fx = Integers(exponent)
