"""Placement and energy of networks whose populations send messages or resonate."""

from __future__ import annotations

import numpy as np
import pytest
from networks import random_network

import sdsnn
from sdsnn.deploy.energy.counts import MESSAGE, dense_kind
from sdsnn_core.activity import random_spikes
from sdsnn_core.network import Delta, Input, Network, Output, Sigma, SigmaDelta, Synapses


def sigma_delta() -> Network:
    nodes = {
        "in": Input((3,), 99, -99), "a": Delta((3,), 2), "b": SigmaDelta((4,), 1), "c": Sigma((2,)),
        "out": Output("c"),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    wires = {
        name: Synapses.from_dense(*ends, rng.integers(1, 50, shape) * 2)
        for name, ends, shape in (("w", ("in", "a"), (3, 3)), ("v", ("a", "b"), (4, 3)), ("x", ("b", "c"), (2, 4)))
    }
    return Network(nodes, wires)


def test_a_total_without_a_price_of_messages_is_partial() -> None:
    network = sigma_delta()
    activity = sdsnn.simulate(network, np.random.default_rng(1).integers(-9, 9, (1, 20, 3)))
    assert all(events.sum() for events in activity.events.values())
    assert {dense_kind(network, p) for p in network.projections.values()} == {MESSAGE}
    report = sdsnn.price(activity, network, placement=sdsnn.place(network, "loihi2"))
    assert report.label == "partial"
    for priced in report.of_chips:
        assert "value has up to 32 bits" in priced.unpriced["synaptic_event"]
        assert not any(row.term == "synaptic_event" for row in priced.rows)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_of_all_models_are_placed_and_priced(seed: int) -> None:
    for number in range(4):
        rng = np.random.default_rng([seed, number])
        network = random_network(rng, models=True)
        activity = sdsnn.simulate(network, random_spikes(rng, network, 1, 8))
        placed = sdsnn.place(network, "loihi2")
        assert placed.n_cores
        assert sdsnn.price(activity, network, placement=placed).label == "partial"
