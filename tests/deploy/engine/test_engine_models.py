"""The engine against the reference on networks of every neuron model, and in chunks against one long run."""

from __future__ import annotations

import numpy as np
import pytest
from networks import KINDS, assert_same_activity, random_network

from sdsnn.deploy.engine import Engine
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_of_all_models(seed: int) -> None:
    kinds: set[type] = set()
    sent = 0
    for number in range(25):
        rng = np.random.default_rng([seed, number])
        network = random_network(rng, models=True)
        spikes = random_spikes(rng, network, 2, int(rng.choice([1, 12, 30])))
        names = list(network.populations)
        expected = reference.run(network, spikes, record_state=names)
        got = Engine(network).run(spikes, record_state=names)
        assert_same_activity(got, expected, states=True)
        kinds |= {type(node) for node in network.populations.values()}
        sent += sum(int(np.count_nonzero(got.spikes[name])) for name in names)
        for name, train in got.spikes.items():
            assert train.dtype == expected.spikes[name].dtype
    assert kinds == set(KINDS)
    assert sent
