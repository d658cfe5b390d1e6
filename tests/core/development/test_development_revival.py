"""Revival, trends, adaptive budgets and criteria as pure functions, against oracles with loops."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdsnn_core.development import criteria, revival
from sdsnn_core.development.adaptive import SLOWEST, Pace, Verdict, next_step, per_epoch
from sdsnn_core.development.criteria import UnitActivity
from sdsnn_core.development.ranges import constant_ranges, fresh
from sdsnn_core.development.trend import Trend


@pytest.mark.parametrize("seed", range(20))
def test_start_weights_answer_the_strongest_requests_and_reach_the_drive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gradient = rng.normal(rng.normal(), 1, (4, 30))
    drive, step = float(rng.uniform(0.1, 3)), 1 / 32
    start = revival.start_weights(torch.from_numpy(gradient), drive, step).numpy()
    count = min(30, math.ceil(drive / (2 * step)))
    for row, weights in zip(gradient, start, strict=True):
        requests = [j for j in np.argsort(row, kind="stable")[:count] if row[j] < 0]
        assert sorted(np.flatnonzero(weights)) == sorted(requests)
        assert (weights >= 0).all()
        if requests:
            assert np.allclose(weights[requests], max(2 * step, drive / len(requests)))
            assert weights.sum() >= drive - 1e-6


def test_a_unit_that_nothing_asks_for_stays_silent() -> None:
    gradient = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [-3.0, 0.0]])
    start = revival.start_weights(gradient, 0.125, 1 / 32)
    gain = revival.predicted_gain(gradient, start)
    assert gain[0] == 0
    assert gain.tolist() == [0.0, 0.125, 0.375]
    everyone = torch.ones(3, dtype=torch.bool)
    assert revival.choose_units(gain, everyone, 3).tolist() == [False, True, True]
    assert revival.choose_units(gain, everyone, 1).tolist() == [False, False, True]
    assert revival.choose_units(gain, torch.tensor([True, True, False]), 1).tolist() == [False, True, False]


def test_the_gain_is_the_loss_that_a_small_step_saves() -> None:
    """Of a linear loss, exactly."""
    torch.manual_seed(0)
    slope, start = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    weight = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    (weight * slope).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert torch.allclose(revival.predicted_gain(weight.grad, start), -(start * slope).sum(1))


def test_the_drive_is_the_median_of_the_living() -> None:
    weights = torch.tensor([[1.0, -5.0], [2.0, 1.0], [9.0, 9.0], [0.5, 0.0]])
    assert revival.excitatory_drive(weights, torch.tensor([True, True, False, True])) == 1.0
    assert revival.excitatory_drive(weights, torch.zeros(4, dtype=torch.bool)) == 0.0


def test_a_trend_is_a_mean_over_the_window() -> None:
    trend, losses, called = Trend(3), [1.0, 0.4, 0.4, 0.4, 1.0, 1.0, 1.0, 0.1], []
    for loss in losses:
        trend.loss = loss
        trend.note(1 - loss)
        called.append(trend.worse(0.5))
    means = [np.mean(losses[i - 2 : i + 1]) if i >= 2 else math.inf for i in range(len(losses))]
    expected = [i >= 2 and means[i] > 1.5 * min(means[: i + 1]) for i in range(len(losses))]
    assert called == expected
    assert any(called)
    assert trend.accuracy == pytest.approx(1 - np.mean(losses[-3:]))
    other = Trend(3)
    other.load_state_dict(trend.state_dict())
    assert vars(other) == vars(trend)


def test_an_adaptive_budget_falls_faster_until_it_is_held_and_then_takes_the_last_removal_back() -> None:
    pace, present, sizes = Pace(0.1), 1000, []
    verdicts: list[Verdict] = ["remove", "remove", "give back", "wait", "give back", "give back", "remove"]
    for verdict in verdicts:
        pace, present = next_step(pace, present, 0.12, verdict=verdict)
        sizes.append(present)
    assert sizes[:2] == [900, round(900 * 0.88)]
    assert sizes[2:4] == [900, 900]  # what the last step took is back
    assert sizes[4:6] == [1000, 1000]  # then what the one before it took, and no more than that
    assert sizes[6] == round(1000 * (1 - 0.12 / 4))  # the rate was halved twice
    for turn in range(21):
        verdict = "give back" if turn % 2 == 0 else "remove"
        pace, present = next_step(pace, present, 0.012, verdict=verdict)
    assert pace.rate == SLOWEST
    assert present <= 1000


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_removals_of_a_window_add_up_to_the_share_of_one(share: float, window: int) -> None:
    assert (1 - per_epoch(share, window)) ** window == pytest.approx(1 - share)


def test_accuracy_rises_while_it_beats_its_record_of_a_window_ago() -> None:
    trend, rising = Trend(2), []
    accuracies = (0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.3, 0.4, 0.42, 0.5)
    for accuracy in accuracies:
        trend.note(accuracy)
        rising.append(trend.rising(0.02))
    means = [0.0, *((a + b) / 2 for a, b in pairwise(accuracies))]
    records = list(accumulate(means, max))
    expected = [i < 3 or means[i] > records[i - 2] + 0.02 for i in range(len(means))]
    assert rising == expected
    assert expected[-4:] == [False, False, False, True]
    assert trend.noise == pytest.approx(np.std([0.42, 0.5], ddof=1) / math.sqrt(2))


@pytest.mark.parametrize("criterion", ["spine", "magnitude", "inverse", "random", "activity", "dpap"])
def test_each_criterion_orders_units_by_what_it_names(criterion: str) -> None:
    torch.manual_seed(3)
    weight, mask = torch.randn(6, 9), torch.rand(6, 9) < 0.7
    spines = constant_ranges(weight, torch.tensor(1.0))
    spines = spines._replace(upper=torch.rand(6, 9) + 0.1)
    activity = UnitActivity(torch.rand(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64))
    scores = criteria.unit_scores(criterion, [weight], [mask], [spines], activity)  # type: ignore[arg-type]
    size = spines.upper.double() + 1
    sizes = ((size - size.min()) / (size.max() - size.min()) * mask).sum(1)
    orders = {
        "spine": sizes,
        "inverse": -sizes,
        "magnitude": (weight.abs() * mask).sum(1),
        "activity": activity.spikes,
        "dpap": (activity.spikes - activity.spikes.min()) * (activity.plasticity - activity.plasticity.min()),
    }
    if criterion == "random":
        assert sorted(scores.tolist()) == list(range(6))
        return
    assert torch.argsort(scores).tolist() == torch.argsort(orders[criterion]).tolist()


def test_bcm_strengthens_what_fires_above_its_threshold() -> None:
    post, pre = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([2.0])
    assert criteria.bcm(post, pre, torch.tensor([0.25, 0.75, 0.5])).tolist() == [[0.25, -0.25, 0.0]]


def test_fresh_ranges_are_the_widest_of_the_layer() -> None:
    weight = torch.tensor([[0.5, 0.2], [0.1, -2.0]])
    state = constant_ranges(weight, torch.tensor(1.0))._replace(upper=torch.tensor([[0.5, 3.0], [1.0, 1.0]]))
    new = fresh(state, weight, torch.tensor([True, False]))
    assert new.upper.tolist() == [[3.0, 3.0], [1.0, 1.0]]
    assert new.lower.tolist() == [[-3.0, -3.0], [-1.0, -1.0]]
