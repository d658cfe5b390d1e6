"""Neurons with a refractory period against a count by hand in Python's integers, in the reference and in the engine."""

from __future__ import annotations

import numpy as np
import pytest

from sdsnn.deploy.engine import Engine
from sdsnn_core import reference
from sdsnn_core.network import CubaLif, Input, Network, Output, RefractoryLif, Synapses

N_IN, N, STEPS = 6, 40, 120


def network(rng: np.random.Generator, neurons: type, **more: object) -> Network:
    decays = {"current_decay": rng.integers(0, 4097, N), "voltage_decay": rng.integers(0, 4097, N)}
    population = neurons((N,), **decays, threshold=rng.integers(0, 120, N), bias=rng.integers(-2, 3, N), **more)
    wires = {"w": Synapses.from_dense("in", "a", 2 * rng.integers(-20, 40, (N, N_IN)))}
    return Network({"in": Input((N_IN,)), "a": population, "out": Output("a")}, wires)


def by_hand(network: Network, spikes: np.ndarray) -> np.ndarray:
    """Return the spikes of every neuron, from a spike's own step on counted one by one."""
    p, synapses = network.populations["a"], network.synapses("w")
    weights = np.zeros((N_IN, N), int)
    weights[synapses.pre, synapses.post] = synapses.weight
    values = {
        name: p.per_neuron(name) for name in ("current_decay", "voltage_decay", "threshold", "refractory", "bias")
    }
    fired = np.zeros((STEPS, N), int)
    for i in range(N):
        du, dv, threshold, period, bias = (int(values[name][i]) for name in values)
        u, v, last = 0, 0, -(10**6)
        for t in range(STEPS):
            arriving = int(spikes[t - 1] @ weights[:, i]) if t else 0
            u = int(u * (4096 - du) / 4096) + 64 * arriving
            v = int(v * (4096 - dv) / 4096) + u + 64 * bias
            v = min(max(v, 1 - 2**23), 2**23 - 1)
            if t - last <= period:
                v = 0
            if v > 64 * threshold:
                fired[t, i], v, last = 1, 0, t
    return fired


@pytest.mark.parametrize("seed", range(4))
def test_spikes_of_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    period = rng.integers(1, 63, N) if seed % 2 else np.array(seed + 1)
    drawn = network(rng, RefractoryLif, refractory=period)
    spikes = (rng.random((1, STEPS, N_IN)) < 0.2).astype(np.uint8)
    expected = by_hand(drawn, spikes[0].astype(int))
    assert expected.sum() > 100
    for activity in (reference.run(drawn, spikes), Engine(drawn).run(spikes, record="spikes")):
        np.testing.assert_array_equal(activity.spikes["a"][0], expected)
    gaps = [np.diff(np.flatnonzero(expected[:, i])) for i in range(N)]
    assert all((gap > p).all() for gap, p in zip(gaps, np.broadcast_to(period, N), strict=True))


def test_the_current_is_that_of_neurons_without_a_period() -> None:
    spikes = (np.random.default_rng(0).random((1, STEPS, N_IN)) < 0.2).astype(np.uint8)
    plain = reference.run(network(np.random.default_rng(3), CubaLif), spikes, record_state=["a"])
    later = reference.run(network(np.random.default_rng(3), RefractoryLif, refractory=9), spikes, record_state=["a"])
    np.testing.assert_array_equal(plain.current["a"], later.current["a"])
    assert later.counts["a"].sum() < plain.counts["a"].sum()
