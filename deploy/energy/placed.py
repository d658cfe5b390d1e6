"""Counts that depend on the cores: kinds of lists, stored zeros, packets, hops, and the load of every core."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.activity import Activity
from sdsnn_core.network import Convolution, Input, Network, Projection, Synapses
from sdsnn_core.rules import Rules

from ..placement.types import Placement
from .types import CoreLoad

DENSE_KINDS: Rules[str] = Rules("energy: kind of event without indices")
DENSE_KINDS.of(Synapses)("dense")
DENSE_KINDS.of(Convolution)("convolution")
_CHUNK = 20_000_000  # events per sample, step and core kept at once, to bound memory


def kinds_of_events(
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
    graded = isinstance(source, Input) and source.max_value > 1
    return "graded" if graded else DENSE_KINDS.for_(projection)


def placed_counts(
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
    zeros: dict[str, float] = {}
    pairs: dict[tuple[str, bool], list[npt.NDArray[np.int64]]] = {}
    for name, projection in network.projections.items():
        table = placement.axons[name]
        count = activity.counts[projection.source].sum(axis=0)
        events += np.bincount(table.core, count[table.source] * table.synapses, n)
        kind = dense_kind(network, projection)
        crossed = float((count[table.source] * (table.stored - table.synapses)).sum()) / samples
        if crossed:
            zeros[kind] = zeros.get(kind, 0.0) + crossed
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
        "zeros_by_kind": zeros,
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
