"""Development of whole models: every switch does what it says, literal mode has its defects, runs go on exactly."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch

from sdsnn.train.developing import Developer
from sdsnn.train.trace import reset_state
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.lava_compat import import_slayer

NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.5, "scale_grad": 1.0}
OFF = {"constraint": False, "pruning": False, "regeneration": False}
EPOCHS = 16


def blocks_of(kind: str, norm: bool) -> tuple[list[Any], tuple[int, ...]]:
    cuba = import_slayer().block.cuba
    if kind == "conv":
        made: list[Any] = [
            cuba.Conv(dict(NEURON), 2, 6, 3, padding=1, weight_scale=3, weight_norm=norm),
            cuba.Pool(dict(NEURON), 2, weight_scale=2),
            cuba.Conv(dict(NEURON), 6, 10, 3, stride=2, groups=2, weight_scale=4, weight_norm=norm),
            cuba.Flatten(),
            cuba.Dense(dict(NEURON), 10, 12, weight_scale=4, weight_norm=norm),
        ]
        shape: tuple[int, ...] = (2, 8, 8)
    else:
        first = cuba.Recurrent if kind == "recurrent" else cuba.Dense
        made = [first(dict(NEURON), 14, 20, weight_scale=4, weight_norm=norm)]
        made.append(cuba.Dense(dict(NEURON), 20, 12, weight_scale=4, weight_norm=norm))
        shape = (14,)
    made.append(cuba.Dense(dict(NEURON), 12, 3, weight_scale=4, weight_norm=norm))
    return made, shape


class Run:
    """A small network in training: one step of the optimiser is an epoch."""

    def __init__(self, kind: str = "dense", norm: bool = False, develops: bool = True, **keys: Any) -> None:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*weight_norm")
            blocks, shape = blocks_of(kind, norm)
        self.model = torch.nn.Sequential(*blocks)
        self.x = (torch.rand(6, *shape, 12) < 0.5).float()
        self.labels = torch.tensor([0, 1, 2, 0, 1, 2])
        with torch.no_grad():
            self.model(self.x)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        config = DevelopmentConfig(**{"persistence": 1, "protect_first": False, **keys})
        self.developer = Developer.of_model(self.model, self.x[:1], config, EPOCHS) if develops else None
        self.records: list[list[dict[str, Any]]] = []
        self.masks: list[list[torch.Tensor]] = []

    def go(self, until: int = EPOCHS, accuracy: float | None = None) -> Run:
        for epoch in range(len(self.records), until):
            self.learn()
            self.records.append([])
            if self.developer is not None:
                self.records[-1] = self.developer.after_epoch(epoch, self.optimiser, accuracy)
                self.masks.append([s.mask.clone() for layer in self.developer.layers for s in layer.synapses])
        return self

    def learn(self) -> None:
        self.model.train()
        reset_state(self.model)
        self.optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(self.model(self.x).sum(-1), self.labels))
        self.optimiser.step()

    def series(self, key: str, layer: int) -> list[Any]:
        return [line[layer].get(key) for line in self.records]

    def total(self, key: str) -> int:
        return sum(record[key] for line in self.records for record in line)

    def state(self) -> dict[str, Any]:
        assert self.developer is not None
        state = {
            "model": {k: v for k, v in self.model.state_dict().items() if not k.endswith("_state")},
            "optimiser": self.optimiser.state_dict(),
            "developer": self.developer.state_dict(),
        }
        return copy.deepcopy(state)

    def load(self, state: dict[str, Any]) -> None:
        assert self.developer is not None
        self.model.load_state_dict(copy.deepcopy(state["model"]), strict=False)
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
        self.developer.load_state_dict(copy.deepcopy(state["developer"]))


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


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
    with pytest.raises(FileError, match="B6"):
        Run(norm=True, mode="literal")


def test_b9_widths_and_alive_test_are_the_scripts() -> None:
    run = Run(defects=("B9",), regeneration=False).go(4)
    assert run.developer is not None
    # P += a * (512 - pruned) / 10, of a layer of 20; alive are 50 synapses and more, of which no unit here has as many.
    rate = run.developer.schedule.rate(3, "dense")
    assert run.records[-1][0]["pruning_percent"] == pytest.approx(min(100.0, 2.0 + rate * (512 - 20) / 10))
    assert run.records[-1][0]["alive_units"] == 0


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
        keys = {"pruning_gain": 5.0, "regeneration_percent_dense": 100.0, "adaptive_regeneration_rate": False}
        run = Run(defects=defects, fixed_regeneration_percent=100.0, **keys).go()
        grown = [sum(record["regrown"] for record in line) for line in run.records]
        first[name] = next(epoch for epoch, count in enumerate(grown) if count)
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
            gone = torch.stack([~s.mask.flatten(1).any(1) for s in layer.synapses]).all(0)
            assert torch.isfinite(fired[index]).all()
            assert (fired[index][:, gone] == 0).all()
            for synapse in layer.synapses:
                assert (synapse.hook(synapse.weight)[~synapse.mask] == 0).all()
                assert torch.isfinite(synapse.weight).all()
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
    developer = Developer.of_model(model, x[:1], DevelopmentConfig(**keys), EPOCHS)
    assert [layer.name for layer in developer.layers] == ["readout", "side", "first"]
    assert developer.graph.successors == ((), (0,), (0, 1))
    assert [developer.develops(i) for i in range(3)] == [False, True, True]
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for epoch in range(EPOCHS):
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(x).sum(-1), labels))
        optimiser.step()
        developer.after_epoch(epoch, optimiser)
    assert developer.connection_sparsity() > 0.7
    gone = ~developer.layers[2].unit_gate
    assert 0 < int(gone.sum()) < 20
    with torch.no_grad():
        assert (model.first(x)[:, gone] == 0).all()


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
    full = dense.developer.measures().memory
    assert full <= 14 * 20 + 20 * 12 + 12 * 3
    run = Run(synapse_stage=True, synapse_target=0.95, stop_memory=0.7 * full).go()
    assert run.developer is not None
    assert 0.4 * full < run.developer.measures().memory <= 0.7 * full
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


def test_stop_criteria_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"stop_sparsity: got 1.5, allowed is 0..1"):
        DevelopmentConfig(stop_sparsity=1.5)
    with pytest.raises(ConfigError, match=r"stop_memory: got -1"):
        DevelopmentConfig(stop_memory=-1)
