"""The smaller Network that spikes the same.

A unit is *live* if it can ever fire and its spikes can reach an output (see `reachability`). Dead units change no other
spike, so they and their synapses go. Units of a population that a convolution touches go by whole channels; the others
one by one; a population without any live unit goes with its projections. Ports keep their shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final, get_args

import numpy as np

from .network import Convolution, Input, Network, Neurons, Node, Output, Projection, Shape, Synapses
from .reachability import Units, all_synapses, can_fire, with_sources
from .rules import Rules

_NO_UNITS: Units = np.zeros(0, bool)


class _Cut(NamedTuple):
    """What stays: the shape of every node, its units that stay, and those that can fire."""

    shapes: Mapping[str, Shape]
    kept: Mapping[str, Units]
    fires: Mapping[str, Units]


# projection -> whether the units at its ends can be cut out by whole channels only
BY_CHANNEL: Rules[bool] = Rules("compaction: projection", {Synapses: False, Convolution: True})
# (projection, what stays) -> the smaller projection
SHRINK: Rules[Callable[[Any, _Cut], Projection]] = Rules("compaction: projection")
# (node, (size,) bool of its units that stay, whether they are whole channels) -> the smaller node
SHRINK_NODE: Rules[Callable[[Any, Units, bool], Node]] = Rules("compaction: node")


@final
@dataclass(frozen=True, eq=False)
class Compaction:
    """A compacted network and what was removed."""

    network: Network  # the smaller network
    kept: Mapping[str, Units]  # population -> (size,) bool over the units of the original
    units: Mapping[str, tuple[int, int]]  # name -> (before, after)
    synapses: Mapping[str, tuple[int, int]]  # likewise; point-to-point connections of a convolution
    bytes: tuple[int, int]  # (before, after) of the weights, see `weight_bytes`

    def counts(self) -> dict[str, int]:
        """Return totals before (masked) and after (compacted): units, synapses and bytes of the weights."""
        totals = {"units": self.units.values(), "synapses": self.synapses.values(), "bytes": [self.bytes]}
        return {
            f"{name}_{state}": sum(pair[i] for pair in pairs)
            for name, pairs in totals.items()
            for i, state in enumerate(("masked", "compacted"))
        }


def compact(network: Network) -> Compaction:
    """Remove the dead units of a network.

    Args:
        network: The network, masked weights absent.

    Returns:
        The smaller network, which spikes as the kept units of the original do, and what was removed.

    Examples:
        >>> from sdsnn_core.network import Population
        >>> nodes = {"input": Input((1,)), "a": Population((2,), 4096, 4096, 5), "b": Population((1,), 4096, 4096, 5),
        ...          "output": Output("b")}
        >>> first = Synapses.from_dense("input", "a", [[10], [-10]])
        >>> network = Network(nodes, {"w": first, "x": Synapses.from_dense("a", "b", [[10, 10]])})
        >>> compact(network).kept["a"]
        array([ True, False])
    """
    synapses = all_synapses(network)
    fires = can_fire(network)
    kept = _kept(network, synapses, fires)
    removed = {name for name, units in kept.items() if not units.any()}
    stay = {name: p for name, p in network.projections.items() if not {p.source, p.target} & removed}
    by_channel = {end for p in stay.values() if BY_CHANNEL.for_(p) for end in (p.source, p.target)}
    nodes: dict[str, Node] = {
        name: SHRINK_NODE.for_(node)(node, kept.get(name, _NO_UNITS), name in by_channel)
        for name, node in network.nodes.items()
        if name not in removed
    }
    cut = _Cut({name: network.shape_of(name) for name in kept}, kept, fires)
    projections: dict[str, Projection] = {name: SHRINK.for_(p)(p, cut) for name, p in stay.items()}
    smaller = Network(nodes, projections, network.dt_s, network.provenance)
    after = {name: smaller.synapses(name).n_weights for name in projections}
    return Compaction(
        smaller,
        {name: kept[name] for name in network.populations},
        {name: (node.size, int(kept[name].sum())) for name, node in network.populations.items()},
        {name: (before.n_weights, after.get(name, 0)) for name, before in synapses.items()},
        (weight_bytes(network), weight_bytes(smaller)),
    )


def weight_bytes(network: Network) -> int:
    """Return bytes that the weights need, see `synapse_memory`; kernels are stored once."""
    names = network.projections
    return synapse_memory([p.n_weights for p in names.values()], [network.n_dense(name) for name in names])


def synapse_memory(present: Sequence[int], dense: Sequence[int]) -> int:
    """Return bytes of the weights of projections with `present` weights out of `dense`: of a full matrix or a list.

    A matrix takes a byte per place, a list a byte of weight and one of index per stored synapse.
    """
    return sum(min(full, 2 * stored) for stored, full in zip(present, dense, strict=True))


def _kept(network: Network, synapses: Mapping[str, Synapses], fires: Mapping[str, Units]) -> dict[str, Units]:
    """Return the live units, widened to what can be cut out: whole channels at convolutions, groups of one size."""
    outputs = {output.source for output in network.outputs.values()}
    kept = {name: np.ones(node.size, bool) for name, node in network.inputs.items()}
    kept.update({name: np.full(node.size, name in outputs) for name, node in network.populations.items()})
    before = -1
    while (after := sum(int(units.sum()) for units in kept.values())) != before:
        before = after
        kept = with_sources(network, synapses, fires, kept)
        for p in network.projections.values():
            if BY_CHANNEL.for_(p) and kept[p.source].any() and kept[p.target].any():
                _widen(network, p, kept)
    return kept


def _widen(network: Network, p: Any, kept: dict[str, Units]) -> None:
    """Widen `kept` at both ends of a convolution to whole channels, and to whole groups where groups differ."""
    ends = {end: _channels(network.shape_of(end), kept[end]) for end in (p.source, p.target)}
    if p.groups > 1 and not _even_groups(p, *ends.values()):
        used = np.any([channels.reshape(p.groups, -1).any(axis=1) for channels in ends.values()], axis=0)
        if p.source in network.inputs:
            used[:] = True
        ends = {end: np.repeat(used, len(channels) // p.groups) | channels for end, channels in ends.items()}
    for end, channels in ends.items():
        shape = network.shape_of(end)
        kept[end] = np.broadcast_to(channels[:, None, None], shape).reshape(-1).copy()


def _even_groups(p: Convolution, into: Units, out: Units) -> bool:
    """Return whether every group keeps equally many channels on each side, or none on both."""
    before, after = (channels.reshape(p.groups, -1).sum(axis=1) for channels in (into, out))
    used: Units = np.asarray(before > 0)
    return bool((used == (after > 0)).all() and np.ptp(before[used]) == 0 and np.ptp(after[used]) == 0)


def _channels(shape: Shape, kept: Units) -> Units:
    return np.asarray(kept.reshape(shape[0], -1).any(axis=1))


@SHRINK_NODE.of(Input, Output)
def _port(node: Input | Output, kept: Units, by_channel: bool) -> Input | Output:
    return node


@SHRINK_NODE.of(*get_args(Neurons))
def _shrink_population(population: Neurons, kept: Units, by_channel: bool) -> Neurons:
    if kept.all():
        return population
    values = {key: getattr(population, key) for key in population.ranges}
    if by_channel:
        channels = kept.reshape(population.shape)[:, 0, 0]
        shape: Shape = (int(channels.sum()), *population.shape[1:])
        changes = {key: value[channels] for key, value in values.items() if value.ndim and value.shape[0] > 1}
    else:
        shape = (int(kept.sum()),)
        changes = {key: population.per_neuron(key)[kept] for key, value in values.items() if value.ndim}
    return replace(population, shape=shape, **changes)


@SHRINK.of(Synapses)
def _shrink_synapses(p: Synapses, cut: _Cut) -> Synapses:
    kept = cut.kept
    stay = kept[p.source][p.pre] & kept[p.target][p.post] & cut.fires[p.source][p.pre]
    if stay.all() and kept[p.source].all() and kept[p.target].all():
        return p
    pre, post = (np.cumsum(kept[end]) - 1 for end in (p.source, p.target))
    delay = p.delay if p.delay.ndim == 0 else p.delay[stay]
    return replace(p, pre=pre[p.pre[stay]], post=post[p.post[stay]], weight=p.weight[stay], delay=delay)


@SHRINK.of(Convolution)
def _shrink_convolution(p: Convolution, cut: _Cut) -> Convolution:
    into, out = (_channels(cut.shapes[end], cut.kept[end]) for end in (p.source, p.target))
    if into.all() and out.all():
        return p
    groups = p.kernel.reshape(p.groups, -1, *p.kernel.shape[1:])
    ends = (channels.reshape(p.groups, -1) for channels in (into, out))
    kernels = [kernel[after][:, before] for kernel, before, after in zip(groups, *ends, strict=True) if before.any()]
    delay = p.delay if p.delay.ndim == 0 else p.delay[into]
    return replace(p, kernel=np.concatenate(kernels), groups=len(kernels), delay=delay)
