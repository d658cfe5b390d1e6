"""Counts of an inference: synaptic events, neuron updates, spikes, packets, hops. No prices here.

Active neuron updates are counted in `active.py`, all that depends on the cores in `placed.py`.
"""

from __future__ import annotations

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from ..placement.types import Placement
from .active import active_updates
from .placed import kinds_of_events, placed_counts
from .types import Counts, Span


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
        for kind, amount in kinds_of_events(network, activity, name, projection, placement).items():
            by_kind[kind] = by_kind.get(kind, 0.0) + amount
    counts = Counts(
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
        return counts
    return Counts(**{**vars(counts), **placed_counts(network, activity, placement, active)})


def _check(network: Network, activity: Activity) -> None:
    for name in (*network.inputs, *network.populations):
        expected = (activity.n_samples, network.size_of(name))
        if name not in activity.counts or activity.counts[name].shape != expected:
            got = activity.counts[name].shape if name in activity.counts else "none"
            raise NetworkError(f"activity of node {name!r}: expected counts of shape {expected}, got {got}")
    if missing := [name for name in network.projections if name not in activity.events]:
        raise NetworkError(f"activity: expected synaptic events of projection {missing[0]!r}, got none")
