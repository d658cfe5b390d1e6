"""Development of whole models: every switch does what it says, literal mode has its defects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from developing_runs import EPOCHS, NEURON, OFF, Run

from sdsnn.train.development.developer import Developer
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.lava.compat import import_slayer

# -- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
def test_with_every_mechanism_off_training_is_as_without_development(kind: str) -> None:
    run, plain = Run(kind, **OFF).go(8), Run(kind, develops=False).go(8)
    learned = dict(plain.model.named_parameters())
    assert all(torch.equal(value, learned[name]) for name, value in run.model.named_parameters())
    assert run.total("pruned") == run.total("regrown") == run.total("masked") == 0


def test_everything_happens_when_everything_is_on() -> None:
    run = Run(pruning_gain=5.0).go()
    assert run.total("pruned") > 0
    assert run.total("regrown") > 0


def test_without_the_constraint_no_weight_is_clipped() -> None:
    largest = []
    for constraint in (True, False):
        run = Run(**{**OFF, "constraint": constraint}).go(3)
        assert run.developer is not None
        synapse = run.developer.layers[0].synapses[0]
        with torch.no_grad():
            synapse.synapse.weight[0, 0] = 50.0
        run.optimiser.param_groups[0]["lr"] = 0.0
        run.go(4)
        largest.append(float(synapse.weight[0, 0]))
    assert largest[0] < 20
    assert largest[1] == 50.0


def test_without_pruning_no_unit_goes_and_the_rate_rests() -> None:
    run = Run(pruning=False).go()
    assert run.total("pruned") == 0
    assert set(run.series("pruning_percent", 0)) == {2.0}


def test_without_regeneration_what_is_gone_stays_gone() -> None:
    run = Run(regeneration=False, pruning_gain=5.0).go()
    assert run.total("pruned") > 0
    assert run.total("regrown") == 0
    for before, after in zip(run.masks, run.masks[1:], strict=False):
        assert all(not (new & ~old).any() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("every", [1, 3])
def test_absent_synapses_hear_one_batch_in_so_many(every: int) -> None:
    """The sum at the epoch's end is that of batches 0, `every`, 2 `every`, ...; the next epoch starts anew."""
    run = Run(**OFF, synapse_stage=True, synapse_begin=0.0, synapse_end=1.0, listen_every=every)
    run.go(2)
    assert run.developer is not None
    layer = run.developer.layers[1]
    assert not bool(layer.mask.all())
    for _ in range(2):
        heard = []
        for _ in range(5):
            before = layer.absent_gradient.clone()
            run.learn()
            run.developer.after_step()
            heard.append(bool((layer.absent_gradient != before).any()))
        assert heard == [batch % every == 0 for batch in range(5)]
        run.developer.after_epoch(run.developer.next_epoch, run.optimiser)


def test_fixed_pruning_rate_grows_alike_in_every_layer_and_epoch() -> None:
    run = Run(adaptive_pruning_rate=False, fixed_pruning_rate=0.1).go()
    first = 3  # e0 = 2 T + 1; an epoch passes 18 paper epochs with T = 1
    for layer in (0, 1):
        percent = run.series("pruning_percent", layer)
        assert percent[:first] == [2.0] * first
        steps = [after - before for before, after in zip(percent[first - 1 :], percent[first:], strict=False)]
        assert steps == pytest.approx([1.8] * len(steps))
    adaptive = Run().go()
    assert adaptive.series("pruning_percent", 0)[-1] != adaptive.series("pruning_percent", 1)[-1]


def test_fixed_regeneration_rate_is_its_constant_and_the_adaptive_one_falls() -> None:
    fixed = Run(adaptive_regeneration_rate=False, fixed_regeneration_percent=7.0).go()
    assert set(fixed.series("regeneration_percent", 1)[3:]) == {7.0}
    falling = Run(persistence=3).go().series("regeneration_percent", 1)[7:]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > falling[-1]


def test_protection_is_the_default_and_can_be_taken_off() -> None:
    run = Run(protect_first=True)
    assert run.developer is not None
    assert [run.developer.develops(i) for i in range(3)] == [False, True, False]
    run = Run(protect_last=False)
    assert run.developer is not None
    assert all(run.developer.develops(i) for i in range(3))


# -- literal mode, by the numbers of docs/development.md --------------------------------------------------------------


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
        weight = torch.full_like(run.developer.layers[0].synapses[0].weight, 0.5)
        weight[0, 0] = -2.0
        run.developer.layers[0].synapses[0].set_weight(weight)
        run.go(1)
        assert ranges_of(run, 0).unique().tolist() == [expected]


def test_b4_b5_b6_regrowth_is_by_positive_learned_weights_which_stay() -> None:
    run = Run(mode="literal", adaptive_regeneration_rate=False, fixed_regeneration_percent=40.0).go(4)
    developer = run.developer
    assert developer is not None
    regrown: list[torch.Tensor] = []
    for epoch in range(4, EPOCHS):
        before = [layer.synapses[0].mask.clone() for layer in developer.layers]
        run.learn()
        learned = [layer.synapses[0].weight.clone() for layer in developer.layers]
        run.records.append(developer.after_epoch(epoch, run.optimiser))
        for layer, mask, weight in zip(developer.layers, before, learned, strict=True):
            new = layer.synapses[0].mask & ~mask
            assert torch.equal(layer.synapses[0].weight[new], weight[new])  # not from zero
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
        assert bool((synapse.weight[absent] != 0).any()) is learns
        run.model.eval()
        assert (synapse.hook(synapse.weight)[absent] == 0).all()
    held = Run(mode="literal", regeneration=False, stop_sparsity=0.12).go()
    assert held.developer is not None
    assert held.developer.held
    synapse = held.developer.layers[1].synapses[0]
    assert (synapse.weight[~synapse.mask] == 0).all()  # what they learned in the epoch goes though nothing is pruned
    with pytest.raises(FileError, match="B6"):
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
    developer = Developer.of_model(model, torch.zeros(1, 2, 4, 4, 6), DevelopmentConfig(**keys), EPOCHS)
    for epoch in range(4):
        record = developer.after_epoch(epoch)[0]
    here, behind = record["alive_units"], 49  # 2 % of the 50 have gone by their own rule
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
    assert all(literal.has(f"B{number}") for number in (1, 2, 4, 5, 6, 7, 9, 11, 12, 14))
    with pytest.raises(ConfigError, match="synapse_stage"):
        DevelopmentConfig(mode="literal", synapse_stage=True)
