"""Whole units that regenerate: they fire, they come when validation calls, and they may go again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from developing_runs import OFF, Run, same

from sdsnn.train.development.developer import Developer
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.errors import ConfigError

UNITS = {**OFF, "regeneration": True, "regeneration_rule": "units", "regeneration_cap": 0.1}


def developer_of(run: Run) -> Developer:
    assert run.developer is not None
    return run.developer


def prune(run: Run, layer: int, units: list[int]) -> None:
    """Prune units of a layer, as unit pruning does."""
    developer = developer_of(run)
    masked = developer.layers[layer]
    chosen = torch.zeros(masked.n_units, dtype=torch.bool)
    chosen[units] = True
    developer._revivers[layer].remember(chosen)
    masked.set_masks([s.mask & ~chosen.reshape(-1, *(1,) * (s.mask.dim() - 1)) for s in masked.synapses], None)
    developer._states[layer].history |= chosen
    developer._begin_epoch()


def spikes_of(run: Run, layer: int) -> torch.Tensor:
    """Return (units,) spikes of a layer on the training samples."""
    block, seen = developer_of(run).layers[layer].block, []
    handle = block.register_forward_hook(lambda _block, _inputs, output: seen.append(output))
    reset_state(run.model)
    with torch.no_grad():
        run.model(run.x)
    handle.remove()
    counts: torch.Tensor = seen[0].transpose(0, 1).flatten(1).sum(1)
    return counts


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
@pytest.mark.parametrize("start", ["remembered", "gradient"])
def test_revived_units_have_their_drive_and_spike(kind: str, start: str) -> None:
    run = Run(kind, **{**UNITS, "regeneration_start": start}).go(3)
    developer, layer = developer_of(run), 1 if kind == "conv" else 0
    fired = torch.nonzero(spikes_of(run, layer) > 0).flatten().tolist()[:4]
    before = [s.float_weight.clone() for s in developer.layers[layer].synapses]
    prune(run, layer, fired)
    assert not spikes_of(run, layer)[fired].any()
    run.learn()
    developer.epoch_end(run.optimiser)
    back = [unit for unit in fired if developer.layers[layer].unit_gate[unit]]
    assert 1 <= len(back) <= max(1, int(0.1 * developer.layers[layer].n_units))
    assert (spikes_of(run, layer)[back] > 0).all()
    for synapse, old in zip(developer.layers[layer].synapses, before, strict=True):
        assert synapse.mask[back].all()  # whole
        if start == "remembered":
            assert torch.equal(synapse.float_weight[back], old[back])


def test_units_return_only_while_validation_calls_for_them() -> None:
    run = Run(**{**UNITS, "regeneration_when": "validation", "regeneration_margin": 0.2}).go(3)
    developer = developer_of(run)
    prune(run, 0, [0, 1, 2, 3, 4, 5])
    counts = []
    for loss in (1.0, 1.0, 1.19, 1.21, 1.0, 2.0):
        run.learn()
        developer.trend.loss = loss
        counts.append(developer.epoch_end(run.optimiser)[0]["regrown"] > 0)
    assert counts == [False, False, False, True, False, True]


def test_a_revived_unit_is_protected_for_t_epochs_and_lowers_the_pruning_target() -> None:
    run = Run(**{**UNITS, "pruning": True, "fixed_pruning_rate": 0.0, "adaptive_pruning_rate": False}).go(3)
    developer = developer_of(run)
    prune(run, 0, list(range(10)))
    state, layer = developer._states[0], developer.layers[0]
    state.percent = 50.0
    run.learn()
    developer.epoch_end(run.optimiser)
    revived = torch.nonzero(layer.unit_gate[:10]).flatten().tolist()
    assert len(revived) == 2  # a tenth of 20
    assert state.percent == 40.0
    assert state.history[revived].all()  # protected in this epoch, T is 1
    run.learn()
    developer.epoch_end(run.optimiser)
    assert not state.history[revived].any()


@pytest.mark.parametrize(
    "keys",
    [
        {"regeneration_rule": "units", "regeneration_when": "validation", "pruning_gain": 15.0},
        {"mode": "adaptive", "regeneration": False, "synapse_begin": 0.0},
        {"unit_criterion": "dpap", "pruning_gain": 15.0},
        {"synapse_growth": "random", "target_sparsity": 0.7},
    ],
)
def test_a_run_goes_on_to_the_last_bit(keys: dict[str, Any]) -> None:
    def go(run: Run, until: int) -> Run:
        for epoch in range(len(run.records), until):
            developer_of(run).trend.loss = 1.0 + epoch % 3
            run.go(epoch + 1, accuracy=0.5 + 0.01 * (epoch % 4))
        return run

    whole, half = go(Run(**keys), 14), go(Run(**keys), 7)
    second = Run(**keys)
    second.load(half.state())
    second.records = [[] for _ in range(7)]
    assert same(go(second, 14).state(), whole.state())


def test_activity_is_counted_in_training_over_all_samples_of_an_epoch() -> None:
    run = Run(**OFF, unit_criterion="activity").go(1)
    developer = developer_of(run)
    emitted = []
    handle = developer.layers[0].block.register_forward_hook(lambda _block, _inputs, output: emitted.append(output))
    run.learn()
    run.learn()
    handle.remove()
    spikes_of(run, 0)  # without gradients: not counted
    expected = torch.cat(emitted).sum(2).double().mean(0)
    assert torch.allclose(developer.meters[0].read().spikes, expected)
    developer.epoch_end(run.optimiser)
    assert not developer.meters[0].sums.any()


def test_adaptive_mode_removes_until_accuracy_falls_and_then_gives_back() -> None:
    run = Run(**OFF, mode="adaptive", synapse_begin=0.0, synapse_end=1.0, protect_last=False)
    developer, present = developer_of(run), []
    for accuracy in (0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9):
        run.learn()
        developer.epoch_end(run.optimiser, accuracy)
        present.append(sum(int(s.mask.sum()) for layer in developer.layers for s in layer.synapses))
    assert present[0] == present[1] == sum(s.mask.numel() for layer in developer.layers for s in layer.synapses)
    assert all(after < before for before, after in pairwise(present[1:7]))  # 0.9 is a record at first, and T is 1
    assert present[7] > present[6]
    assert all(after < before for before, after in pairwise(present[7:]))
    assert developer.config.max_accuracy_drop == 0.005
    assert developer.config.synapse_stage


@pytest.mark.parametrize("last", [0.9, 0.5])
def test_adaptive_mode_judges_the_last_removal_of_the_stage(last: float) -> None:
    run = Run(**OFF, mode="adaptive", persistence=2, synapse_begin=0.0, synapse_end=0.5, protect_last=False)
    developer, present = developer_of(run), []
    developer.begin_trained(0.9)
    for accuracy in (*(0.9,) * 6, last, last):
        run.learn()
        developer.epoch_end(run.optimiser, accuracy)
        present.append(sum(int(s.mask.sum()) for layer in developer.layers for s in layer.synapses))
    assert all(after < before for before, after in pairwise(present[1:6]))
    assert (present[7] == present[5]) == (last == 0.9)  # nothing is removed in the last T epochs, but taken back
    assert present[7] >= present[5]


def test_adaptive_mode_counts_from_the_network_that_it_begins_with() -> None:
    """The mean of its first T accuracies; later only what surely beats it raises the bar."""
    run = Run(**OFF, mode="adaptive", persistence=2, synapse_begin=0.0, synapse_end=0.5, protect_last=False)
    developer, bars, held = developer_of(run), [], []
    developer.begin_trained(0.94)
    for accuracy in (0.94, 0.90, 0.91, 0.96, 0.98, 0.98, 0.5, 0.5):
        run.learn()
        developer.epoch_end(run.optimiser, accuracy)
        bars.append(developer.reference.accuracy)
        held.append(developer.held)
    assert bars[:4] == pytest.approx([0, 0.92, 0.92, 0.92])
    assert bars[5] == pytest.approx(0.98)  # the same twice: no noise
    assert bars[6:] == bars[5:6] * 2
    assert held == [False, False, True, False, False, False, True, True]  # 0.905 of 0.92
    other = Run(**OFF, mode="adaptive", persistence=2, protect_last=False)
    developer_of(other).load_state_dict(developer.state_dict())
    assert developer_of(other).reference == developer.reference


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
@pytest.mark.parametrize("norm", [False, True])
def test_what_adaptive_mode_takes_back_has_the_weights_that_it_had(kind: str, norm: bool) -> None:
    norm = norm and kind != "recurrent"
    run = Run(kind, norm, **OFF, mode="adaptive", synapse_begin=0.0, synapse_end=1.0, synapse_turnover=0.0)
    developer = developer_of(run)
    developer.begin_trained(0.9)
    synapses = [synapse for layer in developer.layers for synapse in layer.synapses]
    for accuracy in (0.9, 0.9):  # the second one removes
        run.learn()
        before = [synapse.float_weight.clone() for synapse in synapses]
        developer.epoch_end(run.optimiser, accuracy)
    removed = [~synapse.mask for synapse in synapses]
    assert sum(int(places.sum()) for places in removed) > 10
    run.learn()
    if norm or kind == "conv":  # resumed in between
        other = Run(kind, norm, **OFF, mode="adaptive", synapse_begin=0.0, synapse_end=1.0, synapse_turnover=0.0)
        other.load(run.state())
        run, developer = other, developer_of(other)
        synapses = [synapse for layer in developer.layers for synapse in layer.synapses]
    developer.epoch_end(run.optimiser, 0.5)
    for synapse, places, weight in zip(synapses, removed, before, strict=True):
        assert bool(synapse.mask.all())
        assert torch.allclose(synapse.float_weight[places], weight[places], atol=1e-6)


def test_adaptive_mode_removes_only_where_it_is_sure() -> None:
    run = Run(**OFF, mode="adaptive", persistence=2, synapse_begin=0.0, synapse_end=1.0, protect_last=False)
    developer, present = developer_of(run), []
    developer.begin_trained(0.92)
    for accuracy in (0.92, 0.92, 0.912, 0.928, 0.92, 0.92):  # the fourth mean is 0.92 as well, but +- 0.008
        run.learn()
        developer.epoch_end(run.optimiser, accuracy)
        present.append(sum(int(s.mask.sum()) for layer in developer.layers for s in layer.synapses))
        assert not developer.held
    assert present[0] == present[1] > present[5]
    assert present[2:4] == present[1:2] * 2


def test_signed_growth_scores_are_the_absolute_sum() -> None:
    scores = {}
    for growth in ("abs", "signed"):
        run = Run(**OFF, synapse_stage=True, synapse_begin=0.0, synapse_growth=growth)
        run.go(2)
        for layer in developer_of(run).layers:
            for synapse in layer.synapses:
                synapse.hook.absent_gradient.zero_()
        run.learn()
        run.optimiser.zero_grad()
        scores[growth] = [layer.absent_gradient.clone() for layer in developer_of(run).layers]
    assert all((score >= 0).all() for score in scores["abs"])
    assert any((score < 0).any() for score in scores["signed"])


def test_whole_units_are_no_part_of_the_released_code() -> None:
    with pytest.raises(ConfigError, match="regeneration_rule: expected synapses with defects of the released code"):
        DevelopmentConfig(mode="literal", regeneration_rule="units")
    with pytest.raises(ConfigError, match=r"unit_criterion: expected spine, .*, got spines"):
        DevelopmentConfig(unit_criterion="spines")  # type: ignore[arg-type]
