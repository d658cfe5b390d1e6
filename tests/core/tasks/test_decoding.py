"""Decoding of outputs: most spikes, ties to the lower class, and no class for a silent output."""

from __future__ import annotations

import numpy as np

from sdsnn_core import reference
from sdsnn_core.network import NEVER_FIRES, Input, Network, Output, Population, Synapses
from sdsnn_core.tasks.classes import NO_CLASS, classes_of_counts
from sdsnn_core.tasks.decoding import decode


def test_classes_against_a_loop_over_samples(rng: np.random.Generator) -> None:
    counts = rng.integers(0, 3, (500, 4)) * (rng.random((500, 1)) < 0.7)
    expected = []
    for row in counts.tolist():
        best = max(row)
        expected.append(-1 if best == 0 else next(k for k, n in enumerate(row) if n == best))
    assert classes_of_counts(counts).tolist() == expected
    assert -1 in expected


def test_a_voltage_is_always_a_class_and_spikes_only_where_one_came(rng: np.random.Generator) -> None:
    weight = np.array([[-8, -8], [-6, -6], [0, 0]])
    spikes = np.zeros((3, 5, 2), np.uint8)
    spikes[1] = 1
    for signal, threshold, expected in (("voltage", NEVER_FIRES, [0, 2, 0]), ("spikes", 64, [NO_CLASS] * 3)):
        nodes = {"in": Input((2,)), "a": Population((3,), 4096, 0, threshold), "out": Output("a", signal)}  # type: ignore[arg-type]
        network = Network(nodes, {"w": Synapses.from_dense("in", "a", weight)})
        activity = reference.run(network, spikes, record_state=["a"])
        assert decode(network, activity).tolist() == expected
