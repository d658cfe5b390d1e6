"""Baselines of a pruned network: the same network before pruning, and the dense ANN of the same layers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from .counts import count, dense_kind
from .dense_shapes import DenseShapes, Unpruned
from .prices import PriceList
from .pricing import PICO, price_counts
from .result import Baseline
from .types import Counts, Span


def dense_synapses(network: Network, unpruned: Unpruned = None) -> dict[str, int]:
    """Return the connections of each projection with no weight absent, one operation each per dense pass.

    A projection of point-to-point synapses counts as a full matrix (NeuroBench's 'Dense'); a convolution as its
    kernel, at every place where it lands. unpruned: shapes before units were removed.
    """
    dense = DenseShapes.of(network, unpruned)
    return {name: dense.connections(network, name) for name in network.projections}


def dense_events(network: Network, activity: Activity, unpruned: Unpruned = None) -> dict[str, float]:
    """Return synaptic events per inference of the same spikes on projections with no weight absent."""
    dense = DenseShapes.of(network, unpruned)
    return {
        name: float(activity.counts[p.source].sum(axis=0) @ dense.fan_out(network, name)) / activity.n_samples
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
    dense = DenseShapes.of(network, unpruned)
    if isinstance(unpruned, Network) and unpruned_activity is not None:
        full = count(unpruned, unpruned_activity)
        assumption = "its own activity was simulated and counted; without a placement"
    else:
        full = _same_spikes(network, activity, counts, dense)
        assumption = (
            "the same spikes sent over full matrices; units that were removed are taken as silent and inactive, "
            "so this is a lower bound"
        )
    totals = {table.name: price_counts(full, table, chip).total for table in lists}
    yield Baseline("unpruned", "unpruned spiking network", assumption, full.total_events, totals)
    macs = float(sum(dense_synapses(network, dense).values()))
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


def _same_spikes(network: Network, activity: Activity, counts: Counts, dense: DenseShapes) -> Counts:
    """Return counts of the same spikes on full matrices, which are stored dense."""
    events = dense_events(network, activity, dense)
    by_kind: defaultdict[str, float] = defaultdict(float)
    for name, amount in events.items():
        by_kind[dense_kind(network, network.projections[name])] += amount
    removed = sum(dense.size_of(network, name) - p.size for name, p in network.populations.items())
    updates = {**counts.updates, "removed units": float(removed * activity.n_steps)}
    of_spikes = counts.spikes, counts.population_spikes
    return Counts(counts.n_steps, counts.n_samples, events, dict(by_kind), counts.active, updates, *of_spikes)
