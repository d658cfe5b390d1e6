"""What stands beside the pruned network: the network before pruning, and the dense ANN of the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdsnn_core.activity import Activity
from sdsnn_core.network import Input, Network, Projection, Synapses

from .counts import count
from .dense_shapes import Before, Unpruned
from .prices import PriceList
from .types import Counts, Span

PICO = 1e-12


@dataclass(frozen=True)
class Baseline:
    """A comparison: what it is, under which assumption, its synaptic operations, and joules by price list name."""

    name: str
    title: str
    assumption: str
    operations: float
    joules: Mapping[str, Span]


def dense_synapses(network: Network, unpruned: Unpruned = None) -> dict[str, int]:
    """Return connections of each projection with no weight absent, one operation each per dense pass.

    A projection of point-to-point synapses counts as a full matrix (NeuroBench's 'Dense'); a convolution as its
    kernel, at every place where it lands. unpruned: what there was before units were removed.
    """
    before = Before.of(network, unpruned)
    return {name: before.connections(network, name) for name in network.projections}


def dense_events(network: Network, activity: Activity, unpruned: Unpruned = None) -> dict[str, float]:
    """Return synaptic events per inference of the same spikes on projections with no weight absent."""
    before = Before.of(network, unpruned)
    return {
        name: float(activity.counts[p.source].sum(axis=0) @ before.fan_out(network, name)) / activity.n_samples
        for name, p in network.projections.items()
    }


def baselines(
    network: Network,
    activity: Activity,
    counts: Counts,
    lists: Sequence[PriceList],
    unpruned: Unpruned,
    unpruned_activity: Activity | None,
    chip: str,
) -> Iterator[Baseline]:
    """Yield the unpruned spiking network and the dense ANN, priced by every list that can."""
    from .energy import price_counts

    before = Before.of(network, unpruned)
    if isinstance(unpruned, Network) and unpruned_activity is not None:
        other = count(unpruned, unpruned_activity)
        yield Baseline(
            "unpruned",
            "unpruned spiking network",
            "its own activity was simulated and counted; without a placement",
            other.total_events,
            {table.name: price_counts(other, table, chip).total for table in lists},
        )
    else:
        events = dense_events(network, activity, before)
        extra = sum(before.size_of(network, n) - p.size for n, p in network.populations.items()) * activity.n_steps
        full = Counts(
            n_steps=counts.n_steps,
            n_samples=counts.n_samples,
            events=events,
            events_by_kind=_regroup(network, events),
            active=counts.active,
            updates={**counts.updates, "removed units": float(extra)},
            spikes=counts.spikes,
            population_spikes=counts.population_spikes,
        )
        yield Baseline(
            "unpruned",
            "unpruned spiking network",
            "the same spikes sent over full matrices; units that were removed are taken as silent and inactive, "
            "so this is a lower bound",
            sum(events.values()),
            {table.name: price_counts(full, table, chip).total for table in lists},
        )
    macs = float(sum(dense_synapses(network, before).values()))
    yield Baseline(
        "dense_ann",
        "dense ANN of the same layers",
        "one pass, one multiply-accumulate per connection; arithmetic only, no memory access (int8 to fp32, 45 nm)",
        macs,
        {
            table.name: Span(table.dense_ann.mac_int8_pj, table.dense_ann.mac_fp32_pj).times(macs * PICO)
            for table in lists
            if table.dense_ann
        },
    )


def _regroup(network: Network, events: Mapping[str, float]) -> dict[str, float]:
    """Return events by kind: full matrices are stored dense."""
    result: dict[str, float] = {}
    for name, amount in events.items():
        kind = _kind(network, network.projections[name])
        result[kind] = result.get(kind, 0.0) + amount
    return result


def _kind(network: Network, projection: Projection) -> str:
    source = network.nodes[projection.source]
    if isinstance(source, Input) and source.max_value > 1:
        return "graded"
    return "dense" if isinstance(projection, Synapses) else "convolution"
