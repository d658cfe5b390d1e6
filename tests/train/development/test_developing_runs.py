"""Development of whole models: runs resume exactly, pruned units are silent, stop criteria hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from developing_runs import EPOCHS, NEURON, OFF, Run, same

from sdsnn.train.development.developer import Developer
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.development import DevelopmentConfig, stop_criteria
from sdsnn_core.errors import ConfigError
from sdsnn_core.lava.compat import import_slayer

# -- what holds in every mode -----------------------------------------------------------------------------------------


CASES: list[tuple[str, bool, dict[str, Any]]] = [
    ("dense", False, {"pruning_gain": 5.0}),
    ("dense", True, {"pruning_gain": 5.0, "synapse_stage": True, "synapse_scope": "balanced"}),
    ("dense", False, {"mode": "literal"}),
    ("conv", False, {"pruning_gain": 20.0, "synapse_stage": True, "synapse_scope": "layer"}),
    ("conv", True, {"pruning_gain": 20.0}),
    ("recurrent", False, {"pruning_gain": 5.0, "synapse_stage": True}),
]


@pytest.mark.parametrize(("kind", "norm", "keys"), CASES)
@pytest.mark.parametrize("epoch", [6, 10])
def test_a_run_goes_on_to_the_last_bit_from_any_epoch(kind: str, norm: bool, keys: dict[str, Any], epoch: int) -> None:
    run = Run(kind, norm, **keys).go(epoch)
    state = run.state()
    assert run.total("masked") > 0, "nothing has been pruned yet"
    run.go()
    other = Run(kind, norm, **keys)
    other.load(state)
    other.records = run.records[:epoch]
    other.go()
    assert same(run.state(), other.state())
    assert run.records == other.records


@pytest.mark.parametrize(("kind", "norm", "keys"), CASES)
def test_absent_synapses_are_zero_and_pruned_units_silent_after_every_epoch(
    kind: str, norm: bool, keys: dict[str, Any]
) -> None:
    run = Run(kind, norm, **keys)
    developer = run.developer
    assert developer is not None
    fired: dict[int, torch.Tensor] = {}
    for index, layer in enumerate(developer.layers):
        layer.block.neuron.register_forward_hook(lambda _m, _i, out, index=index: fired.update({index: out}))
    for epoch in range(EPOCHS):
        run.go(epoch + 1)
        run.model.eval()
        reset_state(run.model)
        with torch.no_grad():
            run.model(run.x)
        for index, layer in enumerate(developer.layers):
            pruned = torch.stack([~s.mask.flatten(1).any(1) for s in layer.synapses]).all(0)
            assert torch.isfinite(fired[index]).all()
            assert (fired[index][:, pruned] == 0).all()
            for synapse in layer.synapses:
                assert (synapse.hook(synapse.float_weight)[~synapse.mask] == 0).all()
                assert torch.isfinite(synapse.float_weight).all()
    assert run.total("masked") > 0


def test_regrown_synapses_start_at_zero_with_fresh_moments() -> None:
    run = Run(pruning_gain=5.0)
    developer = run.developer
    assert developer is not None
    seen = 0
    for epoch in range(EPOCHS):
        before = [layer.synapses[0].mask.clone() for layer in developer.layers]
        run.go(epoch + 1)
        for layer, mask in zip(developer.layers, before, strict=True):
            (parameter,) = layer.synapses[0].parameters
            new = layer.synapses[0].mask & ~mask
            seen += int(new.sum())
            assert (parameter[new] == 0).all()
            state = run.optimiser.state[parameter]
            assert (state["exp_avg"][new] == 0).all()
            if new.any() and mask.any():  # Adam's steps are as long as those of the others, not six times
                mean = state["exp_avg_sq"][mask & layer.synapses[0].mask].mean()
                torch.testing.assert_close(state["exp_avg_sq"][new], mean.expand(int(new.sum())))
    assert seen > 0


def test_a_unit_that_comes_back_under_weight_normalisation_takes_the_steps_of_the_others() -> None:
    run = Run(norm=True, develops=True, **OFF)
    assert run.developer is not None
    layer = run.developer.layers[0]
    g, v = layer.synapses[0].parameters
    optimiser = torch.optim.AdamW([g, v], lr=0.01)
    torch.manual_seed(1)
    for _ in range(200):
        g.grad, v.grad = torch.randn_like(g), torch.randn_like(v)
        optimiser.step()
    mask = torch.ones_like(layer.mask)
    mask[1] = False
    layer.set_masks([mask], optimiser)
    assert optimiser.state[g]["exp_avg_sq"][1] == 0
    layer.set_masks([torch.ones_like(mask)], optimiser)
    moments = optimiser.state[g]
    others = torch.arange(layer.n_units) != 1
    torch.testing.assert_close(moments["exp_avg_sq"][1], moments["exp_avg_sq"][others].mean(0))
    assert moments["exp_avg"][1] == 0


def test_the_synapse_stage_takes_over_from_regeneration_and_keeps_its_target() -> None:
    run = Run(pruning_gain=5.0, synapse_stage=True, synapse_target=0.7, synapse_begin=0.3).go()
    assert run.developer is not None
    first, last = run.developer.schedule.synapse_first, run.developer.schedule.synapse_last
    assert run.series("regeneration_percent", 1)[first - 1] is not None
    assert run.series("regeneration_percent", 1)[first:] == [None] * (EPOCHS - first)
    assert sum(record["regrown"] for line in run.records[last + 1 :] for record in line) == 0
    total = sum(record["synapses"] + record["absent"] for record in run.records[-1])
    assert sum(record["masked"] for record in run.records[-1]) >= round(0.7 * total)


class Branches(torch.nn.Module):
    """Two ways from the first layer, one of them through a layer of its own, meet again in the readout."""

    def __init__(self) -> None:
        super().__init__()
        cuba = import_slayer().block.cuba
        self.readout = cuba.Dense(dict(NEURON), 30, 3, weight_scale=4)  # listed first: the order must not matter
        self.side = cuba.Dense(dict(NEURON), 20, 10, weight_scale=4)
        self.first = cuba.Dense(dict(NEURON), 14, 20, weight_scale=4)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        spikes = self.first(spikes)
        out: torch.Tensor = self.readout(torch.cat([spikes, self.side(spikes)], 1))
        return out


def test_branches_develop_along_the_networks_own_graph() -> None:
    torch.manual_seed(0)
    model = Branches()
    x = (torch.rand(6, 14, 12) < 0.5).float()
    keys = {"protect_first": False, "persistence": 1, "pruning_gain": 10.0, "synapse_stage": True}
    developer = Developer(model, x[:1], EPOCHS, DevelopmentConfig(**keys))
    assert [layer.name for layer in developer.layers] == ["readout", "side", "first"]
    assert developer.graph.successors == ((), (0,), (0, 1))
    assert [developer.develops(i) for i in range(3)] == [False, True, True]
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(x).sum(-1), labels))
        optimiser.step()
        developer.epoch_end(optimiser)
    assert developer.connection_sparsity() > 0.7
    pruned = ~developer.layers[2].unit_gate
    assert 0 < int(pruned.sum()) < 20
    with torch.no_grad():
        assert (model.first(x)[:, pruned] == 0).all()


# -- stop criteria ----------------------------------------------------------------------------------------------------


def test_nothing_more_goes_once_enough_is_gone() -> None:
    free = Run(synapse_stage=True, synapse_target=0.9).go()
    run = Run(synapse_stage=True, synapse_target=0.9, stop_sparsity=0.5).go()
    assert free.developer is not None
    assert run.developer is not None
    assert free.developer.connection_sparsity() > 0.85
    assert 0.5 <= run.developer.connection_sparsity() < 0.75
    assert run.developer.held
    few = Run(pruning_gain=20.0, regeneration=False, stop_sparsity=0.1).go()
    assert few.developer is not None
    assert 0.1 <= few.developer.connection_sparsity() < 0.3  # unit pruning heeds it too


def test_synapse_memory_and_operations_stop_too() -> None:
    dense = Run(**OFF)
    assert dense.developer is not None
    full = dense.developer.metrics().memory
    assert full <= 14 * 20 + 20 * 12 + 12 * 3
    run = Run(synapse_stage=True, synapse_target=0.95, stop_memory=0.7 * full).go()
    assert run.developer is not None
    assert 0.4 * full < run.developer.metrics().memory <= 0.7 * full
    for operations, held in ((50.0, False), (10.0, True)):
        run = Run(synapse_stage=True, stop_operations=20.0)
        assert run.developer is not None
        run.developer.operations = operations
        run.go(6)
        assert run.developer.held is held
    both = Run(synapse_stage=True, stop_operations=20.0, stop_sparsity=0.99)
    assert both.developer is not None
    both.developer.operations = 10.0
    assert not both.go(6).developer.held  # type: ignore[union-attr]


def test_nothing_goes_while_accuracy_is_too_low() -> None:
    run = Run(synapse_stage=True, max_accuracy_drop=0.02, pruning_gain=5.0, regeneration=False).go(6, accuracy=0.9)
    assert run.developer is not None
    before = [layer["masked"] for layer in run.records[-1]]
    run.go(9, accuracy=0.87)
    assert run.developer.held
    assert [layer["alive_units"] for layer in run.records[-1]] == [layer["alive_units"] for layer in run.records[5]]
    assert sum(layer["masked"] for layer in run.records[-1]) <= sum(before) + 1
    run.go(accuracy=0.89)
    assert not run.developer.held
    assert sum(layer["masked"] for layer in run.records[-1]) > sum(before)


def test_criteria_that_are_not_reached_are_reported() -> None:
    run = Run(
        synapse_stage=True, synapse_target=0.5, stop_sparsity=0.95, stop_memory=1e6, stop_operations=5.0, **OFF
    ).go()
    assert run.developer is not None
    now = run.developer.metrics()._replace(operations=7.0)
    assert not run.developer.held
    assert stop_criteria.unmet(run.developer.config, now) == [
        f"stop_sparsity: 0.95 is not reached, the network is at {now.sparsity:g}",
        "stop_operations: 5 is not reached, the network is at 7",
    ]
    assert not stop_criteria.met(run.developer.config, now)
    assert stop_criteria.met(run.developer.config, now._replace(sparsity=0.95, operations=5.0))
    assert not stop_criteria.met(DevelopmentConfig(), now)


def test_stop_criteria_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"stop_sparsity: expected 0..1, got 1.5"):
        DevelopmentConfig(stop_sparsity=1.5)
    with pytest.raises(ConfigError, match=r"stop_memory: expected at least 0, got -1"):
        DevelopmentConfig(stop_memory=-1)
