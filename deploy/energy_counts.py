"""Counting what an inference does: synaptic events, neuron updates, spikes, packets, hops. No prices here.

A neuron update is **active** in a step when the neuron receives at least one synaptic event in it, or spikes, or has
a current u other than 0 after the step's update, or has a bias. Otherwise it is inactive. Davies 2018 prices both and
defines neither; this is our definition. The current is not reset by a spike, so it follows from the spikes that came
in, and an Activity that recorded them gives the exact number; otherwise only bounds are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.activity import Activity
from sdsnn_core.convolution import expand
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Input, Network, Projection, Synapses
from sdsnn_core.reference import decay, int32, wrap_current

from .placement_types import Placement

Floats = npt.NDArray[np.float64]
_CHUNK = 20_000_000  # state values replayed at once, to bound memory


@dataclass(frozen=True)
class Span:
    """A number known to lie in low..high; exact where both are equal."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the number is known."""
        return self.low == self.high

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Span:
        """Scaled by a factor of at least 0."""
        return Span(self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """Work per core, mean over samples and steps. Arrays (n_cores,) float64.

    events: synaptic events. active: updates of active neurons, upper bound. neurons: all neurons. packets_in: packets
    that arrive. worst_events: mean over samples and steps of the busiest core's events in that very step, or None if
    spikes were not recorded.
    """

    events: Floats
    active: Floats
    neurons: Floats
    packets_in: Floats
    worst_events: float | None


@dataclass(frozen=True, eq=False)
class Counts:
    """What one inference does, mean over the samples of an Activity, summed over its steps.

    events: projection -> synaptic events. events_by_kind: kind ('dense', 'sparse', 'convolution', 'graded', or
    'unplaced' where no placement decided between dense and sparse) -> events. active: population -> neuron updates
    that are active; updates: population -> all of them. spikes: node -> spikes. packets, hops: None without a
    placement; packets_from_input: the part of the packets that comes from input ports, which has no source core.
    """

    n_steps: int
    n_samples: int
    events: Mapping[str, float]
    events_by_kind: Mapping[str, float]
    active: Mapping[str, Span]
    updates: Mapping[str, float]
    spikes: Mapping[str, float]
    population_spikes: float
    packets: float | None = None
    packets_from_input: float | None = None
    packets_between_chips: float | None = None
    hops_east_west: float | None = None
    hops_north_south: float | None = None
    load: CoreLoad | None = None

    @property
    def total_events(self) -> float:
        """Synaptic events of one inference."""
        return sum(self.events.values())

    @property
    def total_active(self) -> Span:
        """Active neuron updates of one inference."""
        return sum(self.active.values(), Span(0.0, 0.0))

    @property
    def total_updates(self) -> float:
        """Neuron updates of one inference: neurons times steps."""
        return sum(self.updates.values())


def count(network: Network, activity: Activity, placement: Placement | None = None) -> Counts:
    """Count the events of `activity`, which must be of `network`; packets, hops and core loads if placed.

    Raises NetworkError if the activity lacks a node or projection of the network or differs in size.
    """
    _check(network, activity)
    samples = activity.n_samples
    events = {name: float(activity.events[name].sum()) / samples for name in network.projections}
    active = {name: active_updates(network, activity, name) for name in network.populations}
    spikes = {name: float(activity.counts[name].sum()) / samples for name in (*network.inputs, *network.populations)}
    by_kind: dict[str, float] = {}
    for name, projection in network.projections.items():
        for kind, amount in _kinds(network, activity, name, projection, placement).items():
            by_kind[kind] = by_kind.get(kind, 0.0) + amount
    made = Counts(
        n_steps=activity.n_steps,
        n_samples=samples,
        events=events,
        events_by_kind=by_kind,
        active={n: Span(float(low.sum()) / samples, float(high.sum()) / samples) for n, (low, high) in active.items()},
        updates={n: float(p.size) * activity.n_steps for n, p in network.populations.items()},
        spikes=spikes,
        population_spikes=sum(spikes[name] for name in network.populations),
    )
    if placement is None:
        return made
    return Counts(**{**vars(made), **_placed(network, activity, placement, active)})


def active_updates(
    network: Network, activity: Activity, population: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (size,) int64 least and greatest number of active updates of each neuron, over all samples and steps.

    Both are equal where the spikes of every source of `population` were recorded.
    """
    node = network.populations[population]
    biased = node.per_neuron("bias") != 0
    everything = activity.n_steps * activity.n_samples
    incoming = [p for _, p in network.incoming(population)]
    if any(p.source not in activity.spikes for p in incoming):
        low = np.where(biased, everything, activity.counts[population].sum(axis=0))
        high = np.full(node.size, everything, np.int64)
        if not incoming:
            high = low
        return low.astype(np.int64), high
    wires = [_Replay(network, p) for p in incoming]
    rate = node.per_neuron("current_decay")
    total = np.zeros(node.size, np.int64)
    size = max(1, _CHUNK // (activity.n_steps * node.size))
    for start in range(0, activity.n_samples, size):
        part = slice(start, start + size)
        n = len(range(*part.indices(activity.n_samples)))
        arriving = np.zeros((n, activity.n_steps, node.size), np.int64)
        awake = np.zeros(arriving.shape, np.bool_)
        for p, wire in zip(incoming, wires, strict=True):
            wire.add(activity.spikes[p.source][part], arriving, awake)
        current = np.zeros((n, node.size), np.int64)
        for t in range(activity.n_steps):
            current = int32(wrap_current(int32(decay(current, rate) + int32(arriving[:, t] << 6))))
            awake[:, t] |= current != 0
        if population in activity.spikes:
            # A neuron can spike by its voltage alone, long after its current is gone.
            awake |= activity.spikes[population][part] != 0
        total += awake.sum(axis=(0, 1))
    low = np.where(biased, everything, total)
    if population in activity.spikes or not _can_spike_asleep(node.per_neuron("initial_voltage")):
        return low, low
    return low, np.minimum(low + activity.counts[population].sum(axis=0), everything)


def _can_spike_asleep(initial_voltage: npt.NDArray[np.int64]) -> bool:
    # With u = 0, no event and no bias the voltage only decays, so it crosses the threshold only from its start value.
    return bool((initial_voltage != 0).any())


class _Replay:
    """One projection as sparse matrices per delay, to find again what arrived when."""

    def __init__(self, network: Network, projection: Projection) -> None:
        synapses = as_synapses(network, projection)
        shape = (network.size_of(projection.source), network.size_of(projection.target))
        delay = np.broadcast_to(synapses.delay, synapses.weight.shape)
        self.weight_exp = synapses.weight_exp
        self.by_delay = {}
        for d in np.unique(delay).tolist():
            here = delay == d
            where = (synapses.pre[here], synapses.post[here])
            weight = synapses.weight[here].astype(np.int64)
            self.by_delay[d] = (
                sparse.csr_matrix((weight, where), shape=shape),
                sparse.csr_matrix((np.ones_like(weight), where), shape=shape),
            )

    def add(self, spikes: npt.NDArray[np.uint8], arriving: npt.NDArray[np.int64], awake: npt.NDArray[np.bool_]) -> None:
        """Add what `spikes` (n, steps, n_pre) bring to `arriving` and `awake` (n, steps, n_post), in place."""
        n, steps, n_pre = spikes.shape
        values = sparse.csr_matrix(spikes.reshape(n * steps, n_pre).astype(np.int64))
        for d, (weight, one) in self.by_delay.items():
            kept = steps - 1 - d
            if kept <= 0:
                continue
            sums = (values @ weight).toarray().reshape(n, steps, -1) << self.weight_exp
            hits = (values @ one).toarray().reshape(n, steps, -1) != 0
            arriving[:, 1 + d :] += sums[:, :kept]
            awake[:, 1 + d :] |= hits[:, :kept]


def as_synapses(network: Network, projection: Projection) -> Synapses:
    """Return the point-to-point synapses of any projection."""
    if isinstance(projection, Synapses):
        return projection
    source = network.nodes[projection.source]
    assert isinstance(source, Input) or hasattr(source, "shape")
    return expand(projection, source.shape)


def _check(network: Network, activity: Activity) -> None:
    for name in (*network.inputs, *network.populations):
        expected = (activity.n_samples, network.size_of(name))
        if name not in activity.counts or activity.counts[name].shape != expected:
            got = activity.counts[name].shape if name in activity.counts else "nothing"
            raise NetworkError(f"activity of node {name!r}: got {got}, the network needs counts {expected}")
    if missing := [name for name in network.projections if name not in activity.events]:
        raise NetworkError(f"activity: no synaptic events for projection {missing[0]!r}")


def _kinds(
    network: Network, activity: Activity, name: str, projection: Projection, placement: Placement | None
) -> dict[str, float]:
    """Return the synaptic events of one projection by the kind that a price list may price apart."""
    total = float(activity.events[name].sum()) / activity.n_samples
    source = network.nodes[projection.source]
    if isinstance(source, Input) and source.max_value > 1:
        return {"graded": total}
    if not isinstance(projection, Synapses):
        return {"convolution": total}
    if placement is None:
        return {"unplaced": total}
    table = placement.axons[name]
    crossed = activity.counts[projection.source].sum(axis=0)[table.source] * table.synapses
    in_sparse = float(crossed[table.sparse].sum()) / activity.n_samples
    return {"sparse": in_sparse, "dense": total - in_sparse}


def _placed(
    network: Network,
    activity: Activity,
    placement: Placement,
    active: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> dict[str, object]:
    """Return the fields of Counts that need a placement."""
    samples, n = activity.n_samples, placement.n_cores
    per_step = samples * activity.n_steps
    events, packets_in = np.zeros(n), np.zeros(n)
    packets = from_input = between = east_west = north_south = 0.0
    worst = np.zeros((samples, activity.n_steps, n)) if samples * activity.n_steps * n <= _CHUNK else None
    pairs: dict[tuple[str, bool], list[npt.NDArray[np.int64]]] = {}
    for name, projection in network.projections.items():
        table = placement.axons[name]
        count = activity.counts[projection.source].sum(axis=0)
        events += np.bincount(table.core, count[table.source] * table.synapses, n)
        pairs.setdefault((projection.source, table.convolution), []).append(table.source * n + table.core)
        if worst is not None and projection.source in activity.spikes:
            fan = sparse.csr_matrix(
                (table.synapses, (table.source, table.core)), shape=(network.size_of(projection.source), n)
            )
            fired = (activity.spikes[projection.source] != 0).reshape(per_step, -1)
            worst += (sparse.csr_matrix(fired.astype(np.int64)) @ fan).toarray().reshape(worst.shape)
        else:
            worst = None
    for (source, _), keys in pairs.items():
        # As in placement: one axon, so one packet, per source neuron and destination core, convolutions apart.
        pair = np.unique(np.concatenate(keys))
        neuron, core = pair // n, pair % n
        count = activity.counts[source].sum(axis=0)[neuron]
        packets_in += np.bincount(core, count, n)
        packets += float(count.sum())
        if source in network.inputs:
            from_input += float(count.sum())
            continue
        x, y, same = placement.mesh.hops(placement.core_of[source][neuron], core)
        east_west += float((count * x).sum())
        north_south += float((count * y).sum())
        between += float(count[~same].sum())
    awake, neurons = np.zeros(n), np.zeros(n)
    for name, (_, high) in active.items():
        awake += np.bincount(placement.core_of[name], high, n)
        neurons += np.bincount(placement.core_of[name], minlength=n)
    return {
        "packets": packets / samples,
        "packets_from_input": from_input / samples,
        "packets_between_chips": between / samples,
        "hops_east_west": east_west / samples,
        "hops_north_south": north_south / samples,
        "load": CoreLoad(
            events / per_step,
            awake / per_step,
            neurons,
            packets_in / per_step,
            None if worst is None else float(worst.max(axis=2).mean()),
        ),
    }
