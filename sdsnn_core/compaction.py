"""Which units are dead, and the smaller Network that spikes the same.

A unit is *live* if it can ever fire and its spikes can reach an output. Who can ever fire is found from the inputs
forward: nobody has fired before the first step, and a neuron's first spike needs sources that fired before it, so
the smallest set closed under "the bound on the drive exceeds the threshold" holds every neuron that ever fires. Units
outside it, and units without a path of synapses from firing units to an output, change no other spike, so they and
their synapses go. Units that fire from bias alone, without input, are in the set and stay in place.

The bound: with P and N the sums of positive and negative weights of sources that can fire (times 64, times the
largest value of a graded input), u lies within -N/d .. P/d for current decay d, as long as neither leaves 24 bits;
where one could, u may wrap and the neuron counts as firing. Then v <= max(initial, (P/d + bias) / voltage decay).
Rounding is towards zero and only lowers positive values, so the bound is safe.

Units of a population that a convolution touches go by whole channels; the others one by one; a population without
any live unit goes with its projections. Ports keep their shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from .convolution import expand
from .network import DECAY_UNITY, Convolution, Input, Network, Node, Population, Projection, Synapses
from .reference import STATE_LIMIT

Kept = npt.NDArray[np.bool_]
_PARAMETERS = ("current_decay", "voltage_decay", "threshold", "bias", "initial_voltage")


@final
@dataclass(frozen=True, eq=False)
class Compaction:
    """A compacted network and what went.

    network: the smaller network. kept: population -> (size,) bool over the units of the original.
    units, synapses: name -> (before, after); synapses of a convolution are its point-to-point connections.
    bytes: (before, after) of the weights, see `weight_bytes`.
    """

    network: Network
    kept: Mapping[str, Kept]
    units: Mapping[str, tuple[int, int]]
    synapses: Mapping[str, tuple[int, int]]
    bytes: tuple[int, int]

    def counts(self) -> dict[str, int]:
        """Return totals: units and synapses of the original, and what is left, with bytes of their weights.

        The original is a masked network, so its synapses are those without the incoming ones of removed units; those
        left are without the outgoing ones too.
        """
        found = {}
        for name, pairs in (("units", self.units.values()), ("synapses", self.synapses.values())):
            found[f"{name}_masked"], found[f"{name}_compacted"] = (sum(pair[i] for pair in pairs) for i in (0, 1))
        return found | {"bytes_masked": self.bytes[0], "bytes_compacted": self.bytes[1]}


def compact(network: Network) -> Compaction:
    """Return the network without its dead units. Its populations spike as the kept units of the original did."""
    wires = {
        name: p if isinstance(p, Synapses) else expand(p, network.shape_of(p.source))
        for name, p in network.projections.items()
    }
    fires = _firing(network, wires)
    kept = _kept(network, wires, fires)
    gone = {name for name, units in kept.items() if not units.any()}
    convolutions = [p for p in network.projections.values() if isinstance(p, Convolution)]
    by_channel = {end for p in convolutions if not {p.source, p.target} & gone for end in (p.source, p.target)}
    nodes: dict[str, Node] = {
        name: _shrink_population(node, kept[name], name in by_channel) if isinstance(node, Population) else node
        for name, node in network.nodes.items()
        if name not in gone
    }
    projections: dict[str, Projection] = {
        name: _shrink_convolution(network, p, kept) if isinstance(p, Convolution) else _shrink_synapses(p, kept, fires)
        for name, p in network.projections.items()
        if not {p.source, p.target} & gone
    }
    smaller = Network(nodes, projections, network.dt_s, network.provenance)
    return Compaction(
        smaller,
        {name: kept[name] for name in network.populations},
        {name: (node.size, int(kept[name].sum())) for name, node in network.populations.items()},
        {
            name: (wire.n_weights, n_connections(smaller, name) if name in projections else 0)
            for name, wire in wires.items()
        },
        (weight_bytes(network), weight_bytes(smaller)),
    )


def weight_bytes(network: Network) -> int:
    """Return bytes that the weights need: of each projection the smaller of a full matrix and a list.

    A matrix takes a byte per place, a list a byte of weight and one of index per stored synapse. Kernels are stored
    once. What a chip takes in its own formats, the placement tells.
    """
    total = 0
    for p in network.projections.values():
        full = network.size_of(p.source) * network.size_of(p.target) if isinstance(p, Synapses) else p.kernel.size
        total += min(full, 2 * p.n_weights)
    return total


def n_connections(network: Network, name: str) -> int:
    """Return how many point-to-point connections projection `name` makes."""
    p = network.projections[name]
    if isinstance(p, Synapses):
        return p.n_weights
    return expand(p, network.shape_of(p.source)).n_weights


def _firing(network: Network, wires: Mapping[str, Synapses]) -> dict[str, Kept]:
    """Return for every node which units can ever emit a spike."""
    fires: dict[str, Kept] = {name: np.ones(node.size, bool) for name, node in network.inputs.items()}
    fires.update({name: np.zeros(node.size, bool) for name, node in network.populations.items()})
    changed = set(network.populations)
    while changed:
        name = min(changed, key=list(network.nodes).index)
        changed.discard(name)
        now = _may_fire(network, wires, fires, name)
        if (now & ~fires[name]).any():
            fires[name] = fires[name] | now
            changed |= {p.target for _, p in network.outgoing(name)}
    return fires


def _may_fire(network: Network, wires: Mapping[str, Synapses], fires: Mapping[str, Kept], name: str) -> Kept:
    population = network.populations[name]
    drive = np.zeros((2, population.size))  # float64: sums of at most 2**31 * 2**13 * 2**8 stay exact below 2**53
    for key, p in network.incoming(name):
        source = network.nodes[p.source]
        largest = source.max_value if isinstance(source, Input) else 1
        active = fires[p.source][wires[key].pre]
        weight = wires[key].weight[active] * (64.0 * largest * 2**p.weight_exp)
        post = wires[key].post[active]
        drive[0] += np.bincount(post, np.maximum(weight, 0), population.size)
        drive[1] += np.bincount(post, np.maximum(-weight, 0), population.size)
    u_decay, v_decay = (population.per_neuron(f"{kind}_decay") / DECAY_UNITY for kind in ("current", "voltage"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0/0: no drive and no decay, so the state stays where it began, at 0.
        most, least = (np.nan_to_num(side / u_decay, nan=0.0, posinf=np.inf) for side in drive)
        push = most + (population.per_neuron("bias") << population.bias_exp)
        settled = np.where(push > 0, push / v_decay, 0.0)
    highest = np.maximum(settled, population.per_neuron("initial_voltage"))
    may_wrap = np.maximum(most, least) >= STATE_LIMIT
    return np.asarray((highest > 64 * population.per_neuron("threshold")) | may_wrap)


def _with_sources(
    network: Network, wires: Mapping[str, Synapses], fires: Mapping[str, Kept], kept: Mapping[str, Kept]
) -> dict[str, Kept]:
    """Return `kept` and every unit that can fire and has a path of synapses to one of them."""
    result = {name: units.copy() for name, units in kept.items()}
    changed = set(network.populations)
    while changed:
        target = changed.pop()
        for key, p in network.incoming(target):
            reached = np.zeros_like(result[p.source])
            reached[wires[key].pre[result[target][wires[key].post]]] = True
            reached &= fires[p.source] & ~result[p.source]
            if reached.any():
                result[p.source] |= reached
                changed.add(p.source)
    return result


def _kept(network: Network, wires: Mapping[str, Synapses], fires: Mapping[str, Kept]) -> dict[str, Kept]:
    """Return the live units, widened to what can be cut out: whole channels at convolutions, groups of one size."""
    outputs = {output.source for output in network.outputs.values()}
    kept = {name: np.ones(node.size, bool) for name, node in network.inputs.items()}
    kept.update({name: np.full(node.size, name in outputs) for name, node in network.populations.items()})
    before = -1
    while (after := sum(int(units.sum()) for units in kept.values())) != before:
        before = after
        kept = _with_sources(network, wires, fires, kept)
        for p in network.projections.values():
            if isinstance(p, Convolution) and kept[p.source].any() and kept[p.target].any():
                _widen(network, p, kept)
    return kept


def _widen(network: Network, p: Convolution, kept: dict[str, Kept]) -> None:
    """Widen `kept` at both ends of a convolution to whole channels, and to whole groups where groups differ."""
    ends = {end: _channels(network, end, kept) for end in (p.source, p.target)}
    if p.groups > 1 and not _even_groups(p, *ends.values()):
        used = np.any([channels.reshape(p.groups, -1).any(axis=1) for channels in ends.values()], axis=0)
        if p.source in network.inputs:
            used[:] = True
        ends = {end: np.repeat(used, len(channels) // p.groups) | channels for end, channels in ends.items()}
    for end, channels in ends.items():
        shape = network.shape_of(end)
        kept[end] = np.broadcast_to(channels[:, None, None], shape).reshape(-1).copy()


def _even_groups(p: Convolution, into: Kept, out: Kept) -> bool:
    """Return whether every group keeps equally many channels on each side, or none on both."""
    before, after = (channels.reshape(p.groups, -1).sum(axis=1) for channels in (into, out))
    used: Kept = np.asarray(before > 0)
    return bool((used == (after > 0)).all() and np.ptp(before[used]) == 0 and np.ptp(after[used]) == 0)


def _channels(network: Network, name: str, kept: Mapping[str, Kept]) -> Kept:
    shape = network.shape_of(name)
    return np.asarray(kept[name].reshape(shape[0], -1).any(axis=1))


def _shrink_population(population: Population, kept: Kept, by_channel: bool) -> Population:
    if kept.all():
        return population
    if by_channel:
        channels = kept.reshape(population.shape)[:, 0, 0]
        shape = (int(channels.sum()), *population.shape[1:])
        changes: dict[str, Any] = {
            key: value[channels] if (value := getattr(population, key)).ndim and value.shape[0] > 1 else value
            for key in _PARAMETERS
        }
    else:
        shape = (int(kept.sum()),)
        changes = {
            key: value if (value := getattr(population, key)).ndim == 0 else population.per_neuron(key)[kept]
            for key in _PARAMETERS
        }
    return replace(population, shape=shape, **changes)


def _shrink_synapses(p: Synapses, kept: Mapping[str, Kept], fires: Mapping[str, Kept]) -> Synapses:
    stay = kept[p.source][p.pre] & kept[p.target][p.post] & fires[p.source][p.pre]
    if stay.all() and kept[p.source].all() and kept[p.target].all():
        return p
    pre, post = (np.cumsum(kept[end]) - 1 for end in (p.source, p.target))
    delay = p.delay if p.delay.ndim == 0 else p.delay[stay]
    return replace(p, pre=pre[p.pre[stay]], post=post[p.post[stay]], weight=p.weight[stay], delay=delay)


def _shrink_convolution(network: Network, p: Convolution, kept: Mapping[str, Kept]) -> Convolution:
    into, out = _channels(network, p.source, kept), _channels(network, p.target, kept)
    if into.all() and out.all():
        return p
    by_group = into.reshape(p.groups, -1)
    used: Kept = np.asarray(by_group.any(axis=1))
    rows = []
    for group, row in enumerate(p.kernel.reshape(p.groups, -1, *p.kernel.shape[1:])):
        stay = out.reshape(p.groups, -1)[group]
        rows.append(row[stay][:, by_group[group]])
    kernel = np.concatenate([row for row, use in zip(rows, used, strict=True) if use])
    delay = p.delay if p.delay.ndim == 0 else p.delay[into]
    return replace(p, kernel=kernel, groups=int(used.sum()), delay=delay)
