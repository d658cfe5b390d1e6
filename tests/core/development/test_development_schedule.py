"""The schedule against the released script's formulas, and the synapse stage against a sorting oracle."""

from __future__ import annotations

import doctest
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdsnn.train.run.config import load_config, parse_toml, shipped_recipes
from sdsnn_core.development import DevelopmentConfig, Schedule, config
from sdsnn_core.development.pruning import next_percent
from sdsnn_core.development.synapse_stage import balanced_budgets, drop_and_grow, sparsity_at, turnover_at
from sdsnn_core.errors import ConfigError


def test_script_run_of_600_epochs_has_the_scripts_rates() -> None:
    schedule = Schedule(DevelopmentConfig(), 600)
    assert schedule.persistence == 18
    assert schedule.first_pruning == 37
    assert next(epoch for epoch in range(600) if schedule.clamps(epoch)) == 19
    for epoch in (37, 40, 55, 60, 61, 300):
        t = epoch - 37
        assert schedule.rate(epoch, "conv") == pytest.approx(math.exp(-t / 5), abs=1e-12)
        assert schedule.rate(epoch, "dense") == pytest.approx(0.5 * math.exp(-t) if t <= 23 else 0.0005, abs=1e-12)
        assert schedule.regeneration_percent(epoch, "conv") == pytest.approx(max(1, 35 - 1.1 ** min(t, 99)))


def test_hidden_layer_of_the_script_loses_the_published_share() -> None:
    """P of the 512-unit layer before 10 classes: 37.55 % at epoch 60 and 45.62 % at epoch 599, with floor(512 P)."""
    schedule = Schedule(DevelopmentConfig(), 600)
    percent, seen = schedule.initial_percent("dense"), {}
    for epoch in range(37, 600):
        alive = 512 - math.floor(512 * percent / 100)
        percent = next_percent(percent, schedule.rate(epoch, "dense"), alive, 10)
        seen[epoch] = percent
    assert seen[60] == pytest.approx(37.55, abs=0.5)
    assert seen[599] == pytest.approx(45.62, abs=0.5)


@pytest.mark.parametrize("kind", ["conv", "dense"])
@pytest.mark.parametrize("n_epochs", [40, 100, 300, 1200])
def test_what_a_run_removes_does_not_depend_on_its_length(kind: str, n_epochs: int) -> None:
    def total(epochs: int) -> float:
        schedule = Schedule(DevelopmentConfig(persistence=max(1, epochs * 3 // 100)), epochs)
        return sum(schedule.rate(epoch, kind) for epoch in range(schedule.first_pruning, epochs))  # type: ignore

    assert total(n_epochs) == pytest.approx(total(600), rel=0.05)


@given(st.data())
def test_drop_and_grow_keeps_and_grows_the_highest_scores(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    n = sum(sizes)
    values = st.lists(st.integers(0, 6), min_size=n, max_size=n)
    bits = st.lists(st.booleans(), min_size=n, max_size=n)
    drop, score, mask, may = data.draw(values), data.draw(values), data.draw(bits), data.draw(bits)
    keep, grow = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    options = [i for i in range(n) if may[i] and not mask[i] and score[i] > 0]
    grown = sorted(options, key=lambda i: (-score[i], i))[: min(grow, keep)]
    kept = sorted((i for i in range(n) if mask[i]), key=lambda i: (-drop[i], i))[: keep - len(grown)]

    def pieces(column: list, dtype: torch.dtype) -> list[torch.Tensor]:
        return list(torch.split(torch.tensor(column, dtype=dtype), sizes))

    got = drop_and_grow(
        pieces(drop, torch.float32), pieces(score, torch.float32), pieces(mask, torch.bool),
        pieces(may, torch.bool), keep, grow,
    )  # fmt: skip
    assert torch.nonzero(torch.cat(got)).flatten().tolist() == sorted([*grown, *kept])


def test_sparsity_grows_to_the_target_and_turnover_falls_to_nothing() -> None:
    course = [sparsity_at(phase / 20, 0.2, 0.9) for phase in range(21)]
    assert course == sorted(course)
    assert (course[0], course[-1]) == (0.2, pytest.approx(0.9))
    assert sparsity_at(0.5, 0.95, 0.9) == 0.95  # never below the start
    assert [turnover_at(phase, 0.1) for phase in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 0.05, 0.0])


def test_every_bad_value_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DevelopmentConfig(shrink=2.0, persistence=0, defects=("B5", "B99"), synapse_begin=0.9, grow_score_every=0)
    for part in (
        "shrink: expected 0..1, got 2.0",
        "persistence: expected at least 1, got 0",
        "defects: expected B1, B2, B4, B5, B6, B7, B9, B11, B12, B14, got B99",
        "defects: expected B6 beside B5",
        "synapse_begin: expected at most synapse_end 0.7, got 0.9",
        "grow_score_every: expected at least 1, got 0",
    ):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="needs hard masks"):
        DevelopmentConfig(mode="literal", synapse_stage=True)
    with pytest.raises(ConfigError, match="defects: expected B5 beside B4"):
        DevelopmentConfig(defects=("B4",))


def test_short_and_earlier_names_of_keys() -> None:
    assert DevelopmentConfig(target_sparsity=0.9) == DevelopmentConfig(synapse_stage=True, synapse_target=0.9)
    assert DevelopmentConfig(listen_every=8) == DevelopmentConfig(grow_score_every=8)
    with pytest.raises(ConfigError, match=r"synapse_target: expected 0..1, got 1.5"):
        DevelopmentConfig(target_sparsity=1.5)
    old = parse_toml("[development]\nlisten_every = 8\ntarget_sparsity = 0.5\n")  # as in older run folders
    assert old.development == DevelopmentConfig(grow_score_every=8, target_sparsity=0.5)
    assert parse_toml(old.to_toml()) == old
    assert "listen_every" not in old.to_toml()
    assert doctest.testmod(config).failed == 0


@given(
    st.floats(0, allow_nan=False, exclude_min=True, allow_infinity=False),
    st.floats(0, allow_nan=False, exclude_min=True, allow_infinity=False),
    st.floats(0, allow_nan=False),
    st.integers(1, 700),
)
def test_rates_are_numbers_for_every_value_that_is_accepted(conv: float, dense: float, switch: float, n: int) -> None:
    config = DevelopmentConfig(rate_decay_conv=conv, rate_decay_dense=dense, rate_dense_switch=switch)
    schedule = Schedule(config, n)
    for epoch in {schedule.first_pruning, n // 2, n - 1}:
        for kind in ("conv", "dense"):
            assert math.isfinite(schedule.rate(max(epoch, schedule.first_pruning), kind))
    assert 0 <= schedule.settled_from < n


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_whatever_a_shipped_recipe_switches_on_can_act(recipe: str) -> None:
    config = load_config(recipe)
    assert Schedule(config.development, config.optimiser.epochs).idle() == []


def test_the_structure_settles_when_both_stages_are_through() -> None:
    plain = Schedule(DevelopmentConfig(), 600)
    assert plain.settled_from == 37 + 23
    assert Schedule(DevelopmentConfig(adaptive_pruning_rate=False), 600).settled_from == 599
    assert Schedule(DevelopmentConfig(adaptive_pruning_rate=False, pruning=False), 600).settled_from == 0
    assert Schedule(DevelopmentConfig(synapse_stage=True, synapse_end=0.7), 600).settled_from == 419


def test_mechanisms_that_cannot_act_are_reported() -> None:
    short = Schedule(DevelopmentConfig(persistence=2), 5).idle()
    assert [sentence.split(":")[0] for sentence in short] == ["pruning", "regeneration"]
    assert short[0] == "pruning: acts after epoch 5 at the earliest (persistence 2, 5 epochs)"
    assert Schedule(DevelopmentConfig(persistence=5), 5).idle()[0].startswith("constraint: acts after epoch 6")
    assert Schedule(DevelopmentConfig(persistence=2), 9).idle() == []
    stage = DevelopmentConfig(persistence=2, synapse_stage=True, synapse_begin=0.4)
    (note,) = Schedule(stage, 20).idle()
    assert note.startswith("regeneration: acts after epoch 8 at the earliest")
    assert "stops at epoch 8" in note
    assert Schedule(stage, 25).idle() == []


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_balanced_budgets_add_up_and_leave_thin_layers_denser(shapes: list[tuple[int, int, int]], share: float) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    keep = round(share * sum(sizes))
    budgets = balanced_budgets(shapes, keep)
    assert sum(budgets) == keep
    assert all(0 <= budget <= size for budget, size in zip(budgets, sizes, strict=True))
    twice = [(2 * out, 2 * into, kernel) for out, into, kernel in shapes]
    (thin, thick) = balanced_budgets([shapes[0], twice[0]], keep := min(keep, sizes[0]))
    assert thin + thick == keep
    assert thin / sizes[0] >= (thick - 1) / (4 * sizes[0])


def test_balanced_budgets_by_hand() -> None:
    # 98 % of 784-512-256-10 masked: 10,704 synapses over sums of dimensions 1296, 768 and 266.
    assert balanced_budgets([(512, 784), (256, 512), (10, 256)], 10_704) == [5_954, 3_528, 1_222]
    assert balanced_budgets([(512, 784, 1, 1, 1), (10, 10)], 10_000) == [9_900, 100]  # the small one stays whole
