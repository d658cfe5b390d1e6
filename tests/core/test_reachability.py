"""Units that can never fire, held against simulations of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from networks import random_network

from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses
from sdsnn_core.reachability import can_fire, drive


def silent_and_spikes(seed: int) -> tuple[int, int]:
    """Simulate a random network; check that no dead unit fires; return how many dead units and spikes there were."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, graded=seed % 2 == 0)
    fires = can_fire(network)
    dead = spikes = 0
    for rate in (0.1, 1.0):
        trains = random_spikes(rng, network, 2, 90)
        if rate == 1.0:  # every input at its largest value in every step
            trains = {name: np.full_like(train, network.inputs[name].max_value) for name, train in trains.items()}
        for name, counts in reference.run(network, trains, record=()).counts.items():
            assert not counts[:, ~fires[name]].any(), f"{name}: a unit declared dead fires"
            dead, spikes = dead + int((~fires[name]).sum()), spikes + int(counts.sum())
    return dead, spikes


def test_a_dead_unit_never_fires() -> None:
    dead, spikes = np.sum([silent_and_spikes(seed) for seed in range(120)], axis=0)
    assert dead > 200
    assert spikes > 100_000


def chain(*populations: Population, weights: list[int], weight_exp: int = 0) -> Network:
    """Build units in a row behind an input of one channel."""
    names = ["input", *(f"p{i}" for i in range(len(populations)))]
    nodes = {"input": Input((1,)), **dict(zip(names[1:], populations, strict=True)), "output": Output(names[-1])}
    pairs = zip(names, names[1:], weights, strict=False)
    return Network(nodes, {f"{a}-{b}": Synapses.from_dense(a, b, [[w]], weight_exp=weight_exp) for a, b, w in pairs})


@pytest.mark.parametrize(
    ("population", "weight", "weight_exp", "fires"),
    [
        (Population((1,), 4096, 4096, 10), 10, 0, False),  # 640 is not above 640
        (Population((1,), 4096, 4096, 10), 11, 0, True),
        (Population((1,), 2048, 4096, 10), 6, 0, True),  # the current adds up to twice the input
        (Population((1,), 4096, 4096, 10), -20, 0, False),
        (Population((1,), 4096, 4096, 10, bias=11), -20, 0, True),
        (Population((1,), 4096, 0, 10, initial_voltage=641), -20, 0, True),
        (Population((1,), 0, 0, 5000), -256, 7, True),  # wraps at 24 bits and comes back positive
    ],
)
def test_the_bound(population: Population, weight: int, weight_exp: int, fires: bool) -> None:
    network = chain(population, weights=[weight], weight_exp=weight_exp)
    assert can_fire(network)["p0"].tolist() == [fires]
    assert bool(reference.run(network, np.ones((200, 1))).counts["p0"].any()) == fires


def test_what_only_silent_units_feed_is_silent() -> None:
    unit = Population((1,), 4096, 4096, 10)
    assert not can_fire(chain(unit, unit, weights=[5, 200]))["p1"].any()


def test_drive_counts_signs_apart_in_state_units() -> None:
    nodes = {"input": Input((2,), 3), "a": Population((1,), 4096, 4096, 10), "output": Output("a")}
    network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[5, -7]], weight_exp=1)})
    assert drive(network, can_fire(network), "a").tolist() == [
        [64 * 3 * 2 * 5],
        [64 * 3 * 2 * 7],
    ]


def test_the_drive_of_a_convolution_is_that_of_the_synapses_it_stands_for() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for seed in range(150):
        network = random_network(np.random.default_rng(seed), graded=True)
        expanded = Network(network.nodes, {name: network.synapses(name) for name in network.projections})
        firing = {name: rng.random(network.size_of(name)) < 0.7 for name in network.nodes}
        for name in network.populations:
            np.testing.assert_array_equal(drive(network, firing, name), drive(expanded, firing, name))
        compared += sum(type(p) is Convolution for p in network.projections.values())
    assert compared > 20
