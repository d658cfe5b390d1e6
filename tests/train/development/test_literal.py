"""Literal mode has the defects of the released script, by the numbers of docs/development.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from developing_runs import EPOCHS, NEURON, OFF, Run

from sdsnn.train.development.developer import Developer
from sdsnn.train.development.literal import LiteralDeveloper, developer_for, percentile_hits
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.development.ranges import clamp, constant_ranges, spine_size
from sdsnn_core.development.regeneration import gradient_hits
from sdsnn_core.errors import ConfigError
from sdsnn_core.lava.compat import import_slayer


def ranges_of(run: Run, layer: int) -> torch.Tensor:
    assert run.developer is not None
    upper: torch.Tensor = run.developer.state_dict()["layers"][layer]["ranges"][0]["upper"]
    return upper


def test_b1_ranges_move_in_the_last_developing_layer_only() -> None:
    literal, ours = Run(defects=("B1",)).go(), Run(fade=0.0).go()
    assert ranges_of(literal, 0).unique().numel() == 1
    assert ranges_of(literal, 1).unique().numel() > 1
    assert ranges_of(ours, 0).unique().numel() > 1


def test_b2_bounds_start_at_the_largest_signed_weight() -> None:
    for defects, expected in ((("B2",), 0.5), ((), 2.0)):
        run = Run(defects=defects, **OFF)
        assert run.developer is not None
        run.optimiser.param_groups[0]["lr"] = 0.0
        weight = torch.full_like(run.developer.layers[0].synapses[0].float_weight, 0.5)
        weight[0, 0] = -2.0
        run.developer.layers[0].synapses[0].set_weight(weight)
        run.go(1)
        assert ranges_of(run, 0).unique().tolist() == [expected]


def test_b4_b5_b6_regrowth_is_by_positive_learned_weights_which_stay() -> None:
    run = Run(mode="literal", adaptive_regeneration_rate=False, fixed_regeneration_percent=40.0).go(4)
    developer = run.developer
    assert developer is not None
    regrown: list[torch.Tensor] = []
    for _ in range(4, EPOCHS):
        before = [layer.synapses[0].mask.clone() for layer in developer.layers]
        run.learn()
        learned = [layer.synapses[0].float_weight.clone() for layer in developer.layers]
        run.records.append(developer.epoch_end(run.optimiser))
        for layer, mask, weight in zip(developer.layers, before, learned, strict=True):
            new = layer.synapses[0].mask & ~mask
            assert torch.equal(layer.synapses[0].float_weight[new], weight[new])  # not from zero
            regrown.append(weight[new])
    values = torch.cat(regrown)
    assert values.numel() > 0
    assert (values > 0).all()


def test_b6_absent_weights_learn_in_training_and_are_zero_in_evaluation() -> None:
    for defects, learns in ((("B6",), True), ((), False)):
        run = Run(defects=defects, regeneration=False, pruning_gain=5.0).go(8)
        assert run.developer is not None
        synapse = run.developer.layers[1].synapses[0]
        absent = ~synapse.mask
        assert absent.any()
        run.learn()
        assert bool((synapse.float_weight[absent] != 0).any()) is learns
        run.model.eval()
        assert (synapse.hook(synapse.float_weight)[absent] == 0).all()
    held = Run(mode="literal", regeneration=False, stop_sparsity=0.12).go()
    assert held.developer is not None
    assert held.developer.held
    synapse = held.developer.layers[1].synapses[0]
    assert (synapse.float_weight[~synapse.mask] == 0).all()  # reset in each epoch, though nothing is pruned
    with pytest.raises(ConfigError, match="B6"):
        Run(norm=True, mode="literal")


def test_b9_widths_and_alive_test_are_the_scripts() -> None:
    run = Run(defects=("B9",), regeneration=False).go(4)
    assert run.developer is not None
    # P += a * (512 - pruned) / 10, of a layer of 20; alive are 50 synapses and more, of which no unit here has as many.
    rate = run.developer.schedule.rate(3, "dense")
    assert run.records[-1][0]["pruning_percent"] == pytest.approx(min(100.0, 2.0 + rate * (512 - 20) / 10))
    assert run.records[-1][0]["alive_units"] == 0


def test_b9_a_convolution_counts_the_layer_behind_by_its_own_test() -> None:
    torch.manual_seed(0)
    cuba = import_slayer().block.cuba
    sizes = {"weight_scale": 3}
    model = torch.nn.Sequential(
        cuba.Conv(dict(NEURON), 2, 30, 4, **sizes),
        cuba.Flatten(),
        cuba.Dense(dict(NEURON), 30, 50, **sizes),  # a fan-in of 30: enough for 20, not for 50
        cuba.Dense(dict(NEURON), 50, 3, **sizes),
    )
    model(torch.zeros(1, 2, 4, 4, 6))
    keys: dict[str, Any] = {"mode": "literal", "persistence": 1}
    developer = developer_for(model, torch.zeros(1, 2, 4, 4, 6), EPOCHS, DevelopmentConfig(**keys))
    for _ in range(4):
        record = developer.epoch_end()[0]
    here, behind = record["alive_units"], 50  # before 2 % of them are pruned in the same epoch: test_literal_golden.py
    assert record["pruning_percent"] == pytest.approx(0.5 + developer.schedule.rate(3, "conv") * here / behind)


def test_b11_regrowth_has_no_budget() -> None:
    most = {}
    for name, defects in {"script": ("B11",), "ours": ()}.items():
        run = Run(defects=defects, pruning_gain=5.0, regeneration_percent_dense=90.0, regeneration_cap=0.004).go()
        most[name] = max(line[1]["regrown"] for line in run.records)
    assert most["ours"] == 1  # 0.4 % of 240
    assert most["script"] > 1


def test_b12_regrowth_asks_for_one_count_more() -> None:
    first = {}
    for name, defects in {"script": ("B12",), "ours": ()}.items():
        keys = {"initial_percent_dense": 20.0, "adaptive_regeneration_rate": False}  # units go at the first chance
        run = Run(defects=defects, fixed_regeneration_percent=100.0, **keys).go()
        grown = [sum(record["regrown"] for record in line) for line in run.records]
        first[name] = next(epoch for epoch, count in enumerate(grown) if count)
        assert run.developer is not None
        assert first[name] == run.developer.schedule.first_regeneration
    assert first["script"] == first["ours"] + 1


def test_b14_prunes_the_first_layer_in_spite_of_its_protection() -> None:
    run = Run(protect_first=True, defects=("B14",))
    assert run.developer is not None
    assert run.developer.develops(0)


def test_literal_mode_has_all_of_them_and_refuses_the_synapse_stage() -> None:
    literal = DevelopmentConfig(mode="literal")
    assert literal.reproduced == {f"B{number}" for number in (1, 2, 4, 5, 6, 7, 9, 11, 12, 14)}
    with pytest.raises(ConfigError, match="synapse_stage"):
        DevelopmentConfig(mode="literal", synapse_stage=True)


def test_the_plain_developer_refuses_what_it_does_not_reproduce() -> None:
    run = Run(develops=False)
    for config in (DevelopmentConfig(mode="literal"), DevelopmentConfig(defects=("B1",))):
        with pytest.raises(ConfigError, match="use LiteralDeveloper"):
            Developer(run.model, run.x[:1], EPOCHS, config)
        assert isinstance(developer_for(run.model, run.x[:1], EPOCHS, config), LiteralDeveloper)
    assert type(developer_for(run.model, run.x[:1], EPOCHS, DevelopmentConfig())) is Developer


def test_b7_gates_of_pruned_units_stay_open() -> None:
    for defects, opened in ((("B7",), True), ((), False)):
        run = Run(defects=defects, regeneration=False, pruning_gain=5.0).go(8)
        assert run.total("pruned") > 0
        assert bool(run.developer.layers[1].unit_gate.all()) is opened


def test_b2s_range_has_both_bounds_at_the_signed_maximum() -> None:
    weight = torch.tensor([[-4.0, 1.0, 2.0, -3.0]])
    signed = constant_ranges(weight, weight.max())
    assert signed.upper.unique().tolist() == [2.0]
    assert signed.lower.unique().tolist() == [-2.0]
    torch.testing.assert_close(clamp(weight, signed), torch.tensor([[-2.0, 1.0, 2.0, -2.0]]))
    torch.testing.assert_close(spine_size(signed), torch.full((1, 4), 4.0))


@pytest.mark.parametrize("among_absent", [False, True])
def test_percentile_hits_are_numpys_percentile_of_signed_values(among_absent: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        value = rng.normal(size=(6, 5))
        absent = rng.random((6, 5)) < 0.5
        percent = rng.uniform(1, 60)
        pool = value[absent] if among_absent else value
        expected = absent & (value > np.percentile(pool, 100 - percent))
        got = percentile_hits(torch.from_numpy(value), torch.from_numpy(absent), percent, among_absent=among_absent)
        np.testing.assert_array_equal(got.numpy(), expected)


def test_b4_only_positive_weights_come_back_and_magnitudes_bring_both_signs() -> None:
    value = torch.tensor([-5.0, -4.0, 0.1, 0.2, 5.0, 0.0, 0.0, 0.0])
    absent = torch.ones(8, dtype=torch.bool)
    assert torch.nonzero(percentile_hits(value, absent, 20)).flatten().tolist() == [3, 4]
    assert torch.nonzero(percentile_hits(value.abs(), absent, 20)).flatten().tolist() == [0, 4]
    assert torch.nonzero(gradient_hits(value.abs(), absent, 25)).flatten().tolist() == [0, 4]
