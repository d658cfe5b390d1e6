"""What each neuron of a placed network costs under one limit of its chip: hardware-aware development divides by it."""

from __future__ import annotations

import math

import numpy as np

from sdsnn_core.development.chip_costs import NodeCost
from sdsnn_core.network import Network

from ..types import CoreWork, Floats, Placement
from .drive import Drive

POWER = 3  # of a core's load: the gradient of the 4-norm of all loads, which stands for their maximum
IDLE = 0.5  # weight of a core without load, where that of the busiest is 1
_NONE = np.zeros(0)


def marginal(network: Network, placement: Placement, drive: Drive | None, limit: str) -> dict[str, NodeCost]:
    """Return node -> what its neurons cost under `limit`, each in a unit of that limit.

    Args:
        network: the placed network.
        placement: its cores, with their work where `drive` is given.
        drive: the spikes that the work was measured with.
        limit: a resource of a core, except its neurons, which are removed whole; or "busiest" (events of the busiest
            core), "energy" (picojoules in a step) or "time" (nanoseconds of the busiest core), which need `drive`.

    A synapse of a busy source costs more events, but does more as well. So rates are taken by layer, and halfway (by
    the geometric mean) to the mean rate of all layers.
    """
    event = packet = made = 0.0
    share = np.ones(placement.n_cores)
    update = np.zeros(placement.n_cores)
    if limit in ("busiest", "energy", "time"):
        work = placement.work
        assert drive is not None
        assert work is not None
        event = 1.0
        if limit == "energy":
            pj = {quantity: price.pj for quantity, price in drive.prices.terms.items()}
            event = pj.get("synaptic_event", pj.get("synaptic_event_sparse", 0.0))
            packet, made = pj.get("packet", 0.0), pj.get("spike_sent", 0.0)
        elif limit == "busiest":
            share = _nearness(work.events)
        else:
            times = drive.prices.times_ns
            assert times is not None
            event, packet = times.event("sparse"), times.packet_received
            share, sending = _busy_shares(work)
            update, made = sending * times.neuron_update_active, times.spike_sent
    means = {} if drive is None else {name: float(rate.mean()) for name, rate in drive.rate.items()}
    middle = sum(means.values()) / max(len(means), 1)
    costs: dict[str, NodeCost] = {}
    for name in (*network.inputs, *network.populations):
        size = network.size_of(name)
        rate = np.full(size, math.sqrt(means.get(name, 0.0) * middle))
        source, axon = rate * event, rate * packet
        if limit == "input_axons" or (limit == "output_axons" and name in network.populations):
            axon = np.ones(size)
        if name in network.inputs:
            costs[name] = NodeCost(np.zeros(0, np.int64), _NONE, _NONE, source, axon)
            continue
        core = placement.core_of[name].astype(np.int64)
        near = share[core] / share[core].mean()  # layers differ by `source`
        costs[name] = NodeCost(core, near, update[core] + rate * made, source, axon)
    return costs


def _nearness(load: Floats) -> Floats:
    """Return (n_cores,) the weight of each core: 1 for the busiest, less for the others."""
    return np.asarray(IDLE + (1 - IDLE) * (load / max(float(load.max()), 1e-30)) ** POWER)


def _busy_shares(work: CoreWork) -> tuple[Floats, Floats]:
    """Return the weights of what the cores receive and of what they update and send; both happen at the same time."""
    receive, send = work.receive.mean(axis=0), work.send.mean(axis=0)
    both = _nearness(np.concatenate([receive, send]))
    return both[: receive.size], both[receive.size :]
