"""Placement for speed, energy and even work: a recount of every core in plain Python, and laws."""

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from networks import random_network
from placement_recount import assert_legal, layers, small_chip

from sdsnn.deploy.placement.chip import Chip, DoesNotFit, load_chip
from sdsnn.deploy.placement.objective.drive import OBJECTIVES, STEPS
from sdsnn.deploy.placement.objective.mesh import compact_order, distances, positions
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.types import CoreWork, Mesh, Placement
from sdsnn_core import reference
from sdsnn_core.activity import Activity, random_spikes
from sdsnn_core.errors import ConfigError, NetworkError
from sdsnn_core.network import Convolution, Network

# Nanoseconds of the list sanafe2025, typed in from its source.
EVENT = {"dense": 3.8, "sparse": 4.7, "convolution": 3.1}
IDLE, ACTIVE_MORE, SPIKE, SENT, RECEIVED = 6.0, 3.7, 30.0, 5.1, 16.0


def driven(seed: int, n_steps: int = 9) -> tuple[Network, Activity]:
    """Return a random network and two samples of it, fewer steps than a placement looks at."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, wild=False)
    assert 2 * n_steps <= STEPS
    return network, reference.run(network, random_spikes(rng, network, 2, n_steps))


def chip_of(seed: int) -> Chip:
    rng = np.random.default_rng(seed)
    return small_chip(
        neurons=int(rng.choice([8, 20, 50])),
        input_axons=int(rng.choice([60, 200, 4096])),
        synapse_bits=int(rng.choice([8192, 20000, 2**20])),
    )


def recount(network: Network, placement: Placement, activity: Activity) -> dict[str, np.ndarray]:
    """Return events, packets and times of every core, synapse by synapse and spike by spike."""
    steps = activity.n_samples * activity.n_steps
    fired = {name: (spikes.reshape(steps, -1) != 0) for name, spikes in activity.spikes.items()}
    events = np.zeros((steps, placement.n_cores))
    receive, send = np.zeros_like(events), np.zeros_like(events)
    packets_in, packets_out = np.zeros_like(events), np.zeros_like(events)
    axons: dict[tuple[str, int, bool], set[int]] = defaultdict(set)
    for name, p in network.projections.items():
        table, wires = placement.axons[name], network.synapses(name)
        in_sparse = {(int(s), int(c)): bool(k) for s, c, k in zip(table.source, table.core, table.sparse, strict=True)}
        convolution = isinstance(p, Convolution)
        for pre, post in zip(wires.pre.tolist(), wires.post.tolist(), strict=True):
            core = int(placement.core_of[p.target][post])
            axons[p.source, pre, convolution].add(core)
            kind = "convolution" if convolution else "sparse" if in_sparse[pre, core] else "dense"
            events[fired[p.source][:, pre], core] += 1
            receive[fired[p.source][:, pre], core] += EVENT[kind]
    for (source, neuron, _), cores in axons.items():
        when = fired[source][:, neuron]
        for core in cores:
            packets_in[when, core] += 1
            receive[when, core] += RECEIVED
        if source in placement.core_of:
            at = int(placement.core_of[source][neuron])
            packets_out[when, at] += len(cores)
            send[when, at] += SENT * len(cores)
    for name, core_of in placement.core_of.items():
        for neuron, at in enumerate(core_of.tolist()):
            send[fired[name][:, neuron], at] += SPIKE
    return {"events": events, "in": packets_in, "out": packets_out, "receive": receive, "send": send}


def updates(work: CoreWork, counted: dict[str, np.ndarray]) -> np.ndarray:
    """Return (n_cores,) the time of updates that is left of the time of sending, nanoseconds."""
    return (work.send * 1e9 - counted["send"]).mean(axis=0)


def test_the_work_of_every_core_is_that_of_a_recount() -> None:
    placed = 0
    for seed in range(20):
        network, activity = driven(seed)
        try:
            placement = place(network, chip_of(seed), activity=activity)
        except DoesNotFit:
            continue
        work, counted = placement.work, recount(network, placement, activity)
        assert work is not None
        np.testing.assert_allclose(work.events, counted["events"].mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(work.packets_in, counted["in"].mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(work.packets_out, counted["out"].mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(work.receive * 1e9, counted["receive"], atol=1e-6)
        np.testing.assert_allclose(work.busiest_events, counted["events"].max(axis=1).mean())
        of_updates, neurons = updates(work, counted), placement.use["neurons"]
        assert np.all(of_updates >= IDLE * neurons - 1e-6)
        assert np.all(of_updates <= (IDLE + ACTIVE_MORE) * neurons + 1e-6)
        whole = (of_updates + counted["receive"].mean(axis=0) + counted["send"].mean(axis=0)) * 1e-9
        np.testing.assert_allclose(work.compute + work.traffic, whole, rtol=1e-9)
        assert work.step >= work.barrier + work.busy.max() * (1 - 1e-9)
        placed += placement.n_cores > 1
    assert placed > 7


def test_every_objective_is_legal_and_no_worse_than_fewest_cores() -> None:
    better = dict.fromkeys(OBJECTIVES, 0)
    for seed in (101, 105, 109, 111):
        network, activity = driven(seed)
        chip = chip_of(seed)
        try:
            fewest = place(network, chip, activity=activity)
        except DoesNotFit:
            continue
        if fewest.n_cores > 40:
            continue
        assert fewest.work is not None
        plain = place(network, chip)
        assert plain.work is None
        assert all((plain.core_of[name] == fewest.core_of[name]).all() for name in plain.core_of)
        for objective in OBJECTIVES[1:]:
            placement = place(network, chip, objective=objective, activity=activity)
            again = place(network, chip, objective=objective, activity=activity)
            assert all((placement.core_of[name] == again.core_of[name]).all() for name in plain.core_of)
            assert_legal(network, placement, chip)
            work = placement.work
            assert work is not None
            assert placement.objective == objective
            now, was = {
                "latency": (work.step, fewest.work.step),
                "energy": (work.joules, fewest.work.joules),
                "balance": (work.busiest_events, fewest.work.busiest_events),
            }[objective]
            assert now <= was * (1 + 1e-12)
            better[objective] += now < was * 0.99
            if objective == "balance":
                assert placement.n_cores <= fewest.n_cores
    assert better["latency"] > 2
    assert better["balance"] > 0


def test_more_cores_for_speed_and_the_barrier_counts() -> None:
    network = layers(64, 200, 10, seed=3, sparse=0.5, weight=20)
    activity = reference.run(network, np.random.default_rng(0).random((1, 20, 64)) < 0.2)
    one = place(network, "loihi2", activity=activity)
    fast = place(network, "loihi2", objective="latency", activity=activity)
    assert one.n_cores == 1
    assert fast.n_cores > 1
    assert one.work is not None
    assert fast.work is not None
    assert fast.work.step < 0.5 * one.work.step
    assert one.work.barrier == pytest.approx(600e-9)  # of one tile
    assert fast.work.barrier == pytest.approx({1: 600e-9, 2: 1000e-9, 3: 1000e-9}.get(fast.n_tiles, 1400e-9))


def test_a_source_whose_targets_spread_out_is_cut_too() -> None:
    """More cores of one layer are more packets of the layer before it, which then binds unless it is cut as well."""
    network = layers(64, 128, 128, 10, seed=3, sparse=0.4, weight=30)
    activity = reference.run(network, np.random.default_rng(0).random((1, 12, 64)) < 0.2)
    placement = place(network, "loihi2", objective="latency", activity=activity)
    work = placement.work
    assert work is not None
    first = np.unique(placement.core_of["l0"])
    assert first.size > 3
    assert work.send.mean(axis=0)[first].max() < 2 * work.receive.mean(axis=0).max()


def test_positions_against_exhaustion() -> None:
    mesh = Mesh(16, 1, 4, compact_order(Mesh(16, 1, 4)))
    exact = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 7))
        flow = rng.random((n, n)) * (rng.random((n, n)) < 0.5)
        distance = distances(mesh, n, 3.0, 4.2)
        slots = positions(flow, distance)
        assert sorted(slots.tolist()) == list(range(n))

        def cost(order: tuple[int, ...], flow: np.ndarray = flow, distance: np.ndarray = distance) -> float:
            return sum(flow[i, j] * distance[order[i], order[j]] for i, j in np.ndindex(flow.shape))

        least = min(cost(order) for order in itertools.permutations(range(n)))
        mine = cost(tuple(slots.tolist()))
        assert least - 1e-9 <= mine <= cost(tuple(range(n))) + 1e-9
        exact += mine <= least + 1e-9
    assert exact >= 28


def test_the_first_tiles_in_use_lie_close_together() -> None:
    mesh = Mesh(120, 4, 8)
    order = compact_order(mesh)
    assert sorted(order) == list(range(30))
    x, y = (np.array(order) % 8, np.array(order) // 8)
    for side in (1, 2, 3):
        assert x[: side**2].max() == y[: side**2].max() == side - 1
    _, column, row = Mesh(120, 4, 8, order).place(np.arange(16))
    assert {(a, b) for a, b in zip(column.tolist(), row.tolist(), strict=True)} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_what_an_objective_lacks_is_one_line() -> None:
    network, activity = driven(1)
    with pytest.raises(ConfigError, match="objective: expected one of cores, latency, energy, balance, got speed"):
        place(network, objective="speed", activity=activity)
    with pytest.raises(NetworkError, match=r"objective latency: expected an activity .*, got none"):
        place(network, objective="latency")
    _, of_other = driven(2)
    with pytest.raises(NetworkError, match=r"activity of node .*: expected counts of shape"):
        place(network, objective="balance", activity=of_other)
    unrecorded = replace(activity, spikes={})
    with pytest.raises(NetworkError, match=r"activity of node .*: expected recorded spikes, got counts alone"):
        place(network, objective="energy", activity=unrecorded)
    without = Chip.model_validate({**load_chip("loihi2").model_dump(), "prices": None, "name": "mine"})
    with pytest.raises(ConfigError, match=r"chip mine: expected `prices`, .* for objective latency, got none"):
        place(network, without, objective="latency", activity=activity)
    untimed = Chip.model_validate({**without.model_dump(), "prices": "kerasspiking"})
    with pytest.raises(ConfigError, match="price list kerasspiking: expected times_ns, got a list without times"):
        place(network, untimed, objective="latency", activity=activity)


def test_disagreeing_figures_keep_their_sources() -> None:
    layout = load_chip("loihi2").layout
    assert layout is not None
    assert layout.cores_per_chip == 120
    assert {int(fact.value) for fact in layout.published} == {122, 128, 152}
    assert all(fact.source for fact in layout.published)
