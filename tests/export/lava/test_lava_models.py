"""Lava's processes on networks of every neuron model, spike for spike and state for state."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import runs_in_lava
from networks import KINDS, assert_same_activity, random_network

from sdsnn.export.lava.run import run_lava, run_lava_many
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Input, Network, Output, SigmaDelta, Synapses


@pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")
@pytest.mark.parametrize("n_networks", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_random_networks_of_all_models(n_networks: int) -> None:
    jobs, kinds, number = [], set[type](), 0
    while len(jobs) < n_networks or kinds < set(KINDS):
        rng = np.random.default_rng([16, number])
        number += 1
        network = random_network(rng, models=True, max_size=10, max_layers=3)
        own = {type(node) for node in network.populations.values()}
        if runs_in_lava(network) and (len(jobs) < n_networks or own - kinds):
            jobs.append((network, random_spikes(rng, network, 2, 12)))
            kinds |= own
    states = [list(network.populations) for network, _ in jobs]
    for (network, spikes), names, got in zip(jobs, states, run_lava_many(jobs), strict=True):
        assert_same_activity(got, reference.run(network, spikes, record_state=names))
    ((network, spikes), names) = jobs[0], states[0]
    options = {"record_state": names, "reset_every": 5, "reset_offset": 2}
    assert_same_activity(run_lava(network, spikes, **options), reference.run(network, spikes, **options), states=True)


def test_several_thresholds_are_refused_before_lava_starts() -> None:
    nodes = {"in": Input((1,)), "a": SigmaDelta((2,), [3, 4]), "out": Output("a")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "a", [[2], [4]])})
    with pytest.raises(UnsupportedNode, match="population 'a' threshold: expected one value for all neurons"):
        run_lava(network, np.ones((3, 1)))
