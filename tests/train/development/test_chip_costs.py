"""What synapses cost on a chip: lists, neurons and layers, against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from placement_recount import layers, small_chip

from sdsnn.deploy.placement.objective.cost import chip_cost
from sdsnn.deploy.placement.place import place
from sdsnn_core import reference
from sdsnn_core.development.chip_costs import LEAST, SynapseCosts, divide


def flat_costs(units: int, inputs: int, **changes: Any) -> SynapseCosts:
    ones, none = torch.ones(units, dtype=torch.float64), torch.zeros(inputs, dtype=torch.float64)
    costs = SynapseCosts(torch.zeros(units, dtype=torch.int64), ones, 0 * ones, none, none)
    return costs._replace(**changes)


def words_of(n: int, bits: int) -> int:
    words = 0
    while n > 0:
        words += -(-(min(n, 64) * bits + 10) // 64)
        n -= 64
    return words


def test_costs_of_lists_against_a_count_of_words() -> None:
    rng = np.random.default_rng(0)
    for bits, pieces, units in ((14, 1, 90), (9, 3, 100), (20, 4, 7)):
        mask = rng.random((units, 6)) < 0.7
        core = np.concatenate(
            [np.full(len(rows), i) for i, rows in enumerate(np.array_split(np.arange(units), pieces))]
        )
        costs = flat_costs(units, 6, core=torch.from_numpy(core), bits=bits)
        score = torch.from_numpy(rng.random((units, 6)))
        _, got = divide(score, torch.from_numpy(mask), costs)
        each = np.zeros(mask.shape)
        for rows in np.array_split(np.arange(units), pieces):
            for source in range(6):
                n = int(mask[rows, source].sum())
                each[rows, source] = words_of(n, bits) / max(n, 1)
        each += LEAST * each[mask].mean()
        np.testing.assert_allclose(got.numpy()[mask], each[mask], rtol=1e-6)


def test_a_list_or_a_neuron_that_saves_only_as_a_whole_has_one_score() -> None:
    rng = np.random.default_rng(1)
    mask, score = rng.random((40, 9)) < 0.3, rng.random((40, 9))
    core = rng.integers(0, 4, 40)
    tensors = torch.from_numpy(score), torch.from_numpy(mask)
    by_axon = flat_costs(40, 9, core=torch.from_numpy(core), axon=torch.ones(9, dtype=torch.float64))
    by_unit = flat_costs(40, 9, unit=torch.ones(40, dtype=torch.float64))
    lists = [(core == k)[:, None] & mask & (np.arange(9) == i) for k in range(4) for i in range(9)]
    for costs, groups in ((by_axon, lists), (by_unit, [mask & (np.arange(40) == u)[:, None] for u in range(40)])):
        pooled, cost = divide(*tensors, costs)
        value = (pooled / cost).numpy()
        sums = {}
        for number, group in enumerate(groups):
            if group.any():
                assert np.ptp(value[group]) <= 0.25 * value[group].max()  # of scores alone up to 1
                sums[number] = score[group].sum(), value[group].mean()
        order = sorted(sums, key=lambda number: sums[number][0])
        means = np.array([sums[number][1] for number in order])
        assert np.corrcoef(means, [sums[number][0] for number in order])[0, 1] > 0.98


@pytest.mark.parametrize("limit", ["busiest", "energy", "time", "input_axons", "synapse_bits"])
def test_what_a_neuron_costs_against_a_count_by_hand(limit: str) -> None:
    network = layers(9, 20, 12, weight=80, sparse=0.6, seed=3)
    spikes = (np.random.default_rng(0).random((2, 8, 9)) < 0.4).astype(np.uint8)
    chip = small_chip(neurons=8, input_axons=4096, synapse_bits=2**20)
    cost = chip_cost(network, chip, spikes)
    assert cost.marginal is not None
    nodes = cost.marginal(limit)
    activity = reference.run(network, spikes)
    placement = place(network, chip)
    rate = {name: activity.spikes[name].reshape(16, -1).mean(0) for name in ("input", "l0", "l1")}
    of_layer = {
        name: float(np.sqrt(each.mean() * np.mean([r.mean() for r in rate.values()]))) for name, each in rate.items()
    }
    if limit == "busiest":
        load = np.zeros(placement.n_cores)
        for p in network.projections.values():
            for pre, post in zip(p.pre.tolist(), p.post.tolist(), strict=True):
                load[placement.core_of[p.target][post]] += rate[p.source][pre]
        busiest = int(load.argmax())
        for name in ("l0", "l1"):
            np.testing.assert_allclose(nodes[name].share.mean(), 1)
            order = np.argsort(load[placement.core_of[name]], kind="stable")
            assert (np.diff(nodes[name].share[order]) >= 0).all()
            np.testing.assert_allclose(nodes[name].source, of_layer[name])
        assert any((nodes[name].share[placement.core_of[name] == busiest] > 1).any() for name in ("l0", "l1"))
    for name in ("l0", "l1"):
        assert np.array_equal(nodes[name].core, placement.core_of[name])
        if limit in ("input_axons", "synapse_bits"):
            assert not nodes[name].source.any()
            assert nodes[name].unit.tolist() == [0.0] * len(rate[name])
            assert nodes[name].axon.tolist() == [float(limit == "input_axons")] * len(rate[name])
        elif limit == "energy":  # picojoules of sanafe2025
            np.testing.assert_allclose(nodes[name].source, 33.6 * of_layer[name])
            np.testing.assert_allclose(nodes[name].axon, 111.0 * of_layer[name])
            np.testing.assert_allclose(nodes[name].unit, 69.3 * of_layer[name])
        elif limit == "time":
            np.testing.assert_allclose(nodes[name].source, 4.7 * of_layer[name])
            np.testing.assert_allclose(nodes[name].axon, 16.0 * of_layer[name])
