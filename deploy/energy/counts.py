"""Counts of an inference: synaptic events, neuron updates, spikes, packets, hops. No prices here.

Active neuron updates are counted in `active.py`. Kinds of lists, stored zeros, packets, hops and the load of every core
depend on the cores, so they need a placement.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.activity import Activity, event_dtype
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Projection, Synapses
from sdsnn_core.rules import Rules

from ..placement.types import Placement
from .active import active_updates
from .types import CoreLoad, Counts, Span

DENSE_KINDS: Rules[str] = Rules("energy: kind of event without indices")
DENSE_KINDS.of(Synapses)("dense")
DENSE_KINDS.of(Convolution)("convolution")
MESSAGE = "message"  # kind of an event whose value has up to 32 bits
_CHUNK = 20_000_000  # events per sample, step and core kept at once, to bound memory


def count(network: Network, activity: Activity, placement: Placement | None = None) -> Counts:
    """Count the events of `activity`, which must be of `network`; packets, hops and core loads if placed.

    Raises NetworkError if the activity lacks a node or projection of the network or differs in size.
    """
    for name in (*network.inputs, *network.populations):
        expected = (activity.n_samples, network.size_of(name))
        got = activity.counts[name].shape if name in activity.counts else "none"
        if got != expected:
            raise NetworkError(f"activity of node {name!r}: expected counts of shape {expected}, got {got}")
    if missing := [name for name in network.projections if name not in activity.events]:
        raise NetworkError(f"activity: expected synaptic events of projection {missing[0]!r}, got none")
    samples = activity.n_samples
    events = {name: float(activity.events[name].sum()) / samples for name in network.projections}
    active = {name: active_updates(network, activity, name) for name in network.populations}
    spikes = {name: float(activity.counts[name].sum()) / samples for name in (*network.inputs, *network.populations)}
    by_kind: defaultdict[str, float] = defaultdict(float)
    for name, projection in network.projections.items():
        for kind, amount in _kinds_of_events(network, activity, name, projection, placement).items():
            by_kind[kind] += amount
    counts = Counts(
        n_steps=activity.n_steps,
        n_samples=samples,
        events=events,
        events_by_kind=dict(by_kind),
        active={n: Span(float(low.sum()) / samples, float(high.sum()) / samples) for n, (low, high) in active.items()},
        updates={n: float(p.size) * activity.n_steps for n, p in network.populations.items()},
        spikes=spikes,
        population_spikes=sum(spikes[name] for name in network.populations),
    )
    return counts if placement is None else replace(counts, **_placed(network, activity, placement, active))


def _kinds_of_events(
    network: Network, activity: Activity, name: str, projection: Projection, placement: Placement | None
) -> dict[str, float]:
    """Return the synaptic events of one projection by the kind that a price list may price apart."""
    total, kind = float(activity.events[name].sum()) / activity.n_samples, dense_kind(network, projection)
    if kind != "dense" or placement is None:
        return {"unplaced" if kind == "dense" else kind: total}
    table = placement.axons[name]
    crossed = activity.counts[projection.source].sum(axis=0)[table.source] * table.synapses
    in_sparse = float(crossed[table.sparse].sum()) / activity.n_samples
    return {"sparse": in_sparse, "dense": total - in_sparse}


def dense_kind(network: Network, projection: Projection) -> str:
    """Return the kind of an event on `projection` where it is stored without indices."""
    source = network.nodes[projection.source]
    if event_dtype(source) is np.int32:
        return MESSAGE
    graded = isinstance(source, Input) and source.graded
    return "graded" if graded else DENSE_KINDS.for_(projection)


def _placed(
    network: Network,
    activity: Activity,
    placement: Placement,
    active: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> dict[str, Any]:
    """Return the fields of Counts that need a placement."""
    samples, n = activity.n_samples, placement.n_cores
    per_step = samples * activity.n_steps
    events, packets_in = np.zeros(n), np.zeros(n)
    packets = from_input = between = east_west = north_south = 0.0
    worst = np.zeros((samples, activity.n_steps, n)) if samples * activity.n_steps * n <= _CHUNK else None
    zeros: defaultdict[str, float] = defaultdict(float)
    pairs: defaultdict[tuple[str, bool], list[npt.NDArray[np.int64]]] = defaultdict(list)
    for name, projection in network.projections.items():
        table = placement.axons[name]
        count = activity.counts[projection.source].sum(axis=0)
        events += np.bincount(table.core, count[table.source] * table.synapses, n)
        if crossed := float((count[table.source] * (table.stored - table.synapses)).sum()):
            zeros[dense_kind(network, projection)] += crossed / samples
        pairs[projection.source, table.convolution].append(table.source * n + table.core)
        if worst is not None and projection.source in activity.spikes:
            fan = sparse.csr_matrix((table.synapses, (table.source, table.core)), shape=(count.size, n))
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
    busiest = None if worst is None else float(worst.max(axis=2).mean())
    return {
        "zeros_by_kind": dict(zeros),
        "packets": packets / samples,
        "packets_from_input": from_input / samples,
        "packets_between_chips": between / samples,
        "hops_east_west": east_west / samples,
        "hops_north_south": north_south / samples,
        "load": CoreLoad(events / per_step, awake / per_step, neurons, packets_in / per_step, busiest),
    }
