"""What the cores of a placement do in a step: events, packets, times, energy of traffic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sdsnn_core.network import Network

from ..types import CoreWork, Floats, Ints, Placement
from .drive import Drive

NANO, PICO = 1e-9, 1e-12


class Packets(NamedTuple):
    """Packets of one source: one per source neuron and destination core, those of convolutions apart."""

    source: str
    neuron: Ints
    core: Ints


def packets(network: Network, placement: Placement) -> Iterator[Packets]:
    """Yield the packets that a spike of each neuron sends, source by source."""
    n = placement.n_cores
    pairs: defaultdict[tuple[str, bool], list[Ints]] = defaultdict(list)
    for name, projection in network.projections.items():
        table = placement.axons[name]
        pairs[projection.source, table.convolution].append(table.source * n + table.core)
    for (source, _), keys in pairs.items():
        pair = np.unique(np.concatenate(keys))
        yield Packets(source, pair // n, pair % n)


def core_work(network: Network, placement: Placement, drive: Drive) -> CoreWork:
    """Return the work of every core under the spikes of `drive`."""
    times = drive.prices.times_ns
    assert times is not None
    n = placement.n_cores
    steps = next(iter(drive.spikes.values())).shape[0]
    pj = {quantity: price.pj for quantity, price in drive.prices.terms.items()}
    events, packets_in, packets_out, compute = (np.zeros(n) for _ in range(4))
    each_events, send, receive = (np.zeros((steps, n)) for _ in range(3))
    flow = np.zeros((n, n))
    joules = 0.0

    def on_cores(source: str, neuron: Ints, core: Ints, amount: Floats) -> Floats:
        """Return (steps, n_cores) what the spikes of each step bring: `amount` for each neuron and core."""
        size = drive.rate[source].size
        each: Any = sparse.csr_matrix((amount, (neuron, core)), shape=(size, n))
        return np.asarray((drive.spikes[source] @ each).toarray())

    for name, projection in network.projections.items():
        table, rate = placement.axons[name], drive.rate[projection.source]
        kinds = (
            np.where(table.sparse, "sparse", "dense") if not table.convolution else np.full(len(table), "convolution")
        )
        synapses = table.synapses.astype(np.float64)
        ns = _by_kind(kinds, times.event)
        crossed = rate[table.source] * synapses
        events += np.bincount(table.core, crossed, n)
        compute += np.bincount(table.core, crossed * ns, n)
        each_events += on_cores(projection.source, table.source, table.core, synapses)
        receive += on_cores(projection.source, table.source, table.core, synapses * ns)
        price = _by_kind(kinds, lambda kind: pj.get(f"synaptic_event_{kind}", pj.get("synaptic_event", 0.0)))
        joules += float(crossed @ price)
    for source, neuron, core in packets(network, placement):
        sent = drive.rate[source][neuron]
        packets_in += np.bincount(core, sent, n)
        receive += on_cores(source, neuron, core, np.full(core.size, times.packet_received))
        joules += float(sent.sum()) * pj.get("packet", 0.0)
        if source in network.inputs:
            continue
        at = placement.core_of[source][neuron].astype(np.int64)
        packets_out += np.bincount(at, sent, n)
        flow += np.bincount(at * n + core, sent, n * n).reshape(n, n)
        send += on_cores(source, neuron, at, np.full(core.size, times.packet_sent))
        east_west, north_south, _ = placement.mesh.hops(at, core)
        joules += float(
            sent @ (east_west * pj.get("hop_east_west", 0.0) + north_south * pj.get("hop_north_south", 0.0))
        )
    traffic = packets_in * times.packet_received + packets_out * times.packet_sent
    for name, core_of in placement.core_of.items():
        own, home = np.arange(core_of.size), core_of.astype(np.int64)
        active = times.neuron_update_active - times.neuron_update_inactive
        update = np.bincount(home, times.neuron_update_inactive + active * drive.active[name], n)
        made = np.full(home.size, times.spike_sent)
        compute += update + np.bincount(home, drive.rate[name] * times.spike_sent, n)
        send += update + on_cores(name, own, home, made)
        joules += float(drive.rate[name].sum()) * pj.get("spike_sent", 0.0)
    return CoreWork(
        prices=drive.prices.name,
        events=events,
        packets_in=packets_in,
        packets_out=packets_out,
        send=send * NANO,
        receive=receive * NANO,
        compute=compute * NANO,
        traffic=traffic * NANO,
        busiest_events=float(each_events.max(axis=1).mean()),
        flow=flow,
        barrier=times.barrier(placement.n_tiles) * NANO,
        joules=joules * PICO,
    )


def _by_kind(kinds: Any, value: Any) -> Floats:
    """Return (n,) the value of each kind of event."""
    result = np.zeros(kinds.size)
    for kind in np.unique(kinds).tolist():
        result[kinds == kind] = value(kind)
    return result
