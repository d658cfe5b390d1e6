"""Unit pruning against oracles with loops, and the laws of its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdsnn_core.development import pruning


def test_scores_are_sums_of_layerwise_normalised_sizes_of_present_synapses() -> None:
    rng = np.random.default_rng(0)
    for shapes in ([(5, 7, 1, 1, 1)], [(4, 2, 3, 3, 1)], [(5, 7, 1, 1, 1), (5, 5, 1, 1, 1)]):
        sizes = [rng.random(shape) for shape in shapes]
        masks = [rng.random(shape) < 0.6 for shape in shapes]
        low, high = min(s.min() for s in sizes), max(s.max() for s in sizes)
        expected = [
            sum(
                (size - low) / (high - low)
                for tensor, mask in zip(sizes, masks, strict=True)
                for size, here in zip(tensor[unit].flat, mask[unit].flat, strict=True)
                if here
            )
            for unit in range(shapes[0][0])
        ]
        got = pruning.unit_scores([torch.from_numpy(s) for s in sizes], [torch.from_numpy(m) for m in masks])
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_equal_sizes_count_one_half() -> None:
    size = torch.full((3, 4), 2.0)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    assert pruning.unit_scores([size], [mask]).tolist() == [2.0, 0.5, 0.0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_order_is_by_score_then_magnitude_then_index(units: list[tuple[int, int]]) -> None:
    scores, magnitudes = (torch.tensor(column, dtype=torch.float64) for column in zip(*units, strict=True))
    expected = sorted(range(len(units)), key=lambda unit: (*units[unit], unit))
    assert pruning.pruning_order(scores, magnitudes).tolist() == expected


@given(st.data())
def test_choice_follows_the_rule_written_as_a_loop(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    bits = st.lists(st.booleans(), min_size=n, max_size=n)
    order = data.draw(st.permutations(range(n)))
    history, alive = data.draw(bits), data.draw(bits)
    percent = data.draw(st.floats(0, 100))
    max_step, min_kept = data.draw(st.sampled_from([(1.0, 0.0), (0.1, 0.1), (0.25, 0.5), (1.0, 0.3)]))

    target = math.floor(n * percent / 100 + 1e-9)
    going: list[int] = []
    spare = sum(alive) - max(1, math.ceil(min_kept * n - 1e-9)) if min_kept else n
    for unit in order[:target]:
        if history[unit]:
            continue
        if len(going) == max(1, math.floor(max_step * n + 1e-9)):
            break
        if alive[unit] and sum(alive[u] for u in going) + 1 > max(0, spare):
            break
        going.append(unit)
    got = pruning.choose_units(
        torch.tensor(order), torch.tensor(history), torch.tensor(alive), percent, max_step=max_step, min_kept=min_kept
    )
    assert sorted(going) == torch.nonzero(got).flatten().tolist()
    if min_kept and any(alive):
        left = sum(a for u, a in enumerate(alive) if not got[u])
        assert left >= min(sum(alive), max(1, math.ceil(min_kept * n - 1e-9)))


def test_alive_counts_present_synapses_of_all_tensors_against_the_fan_in() -> None:
    first = torch.zeros(3, 100, dtype=torch.bool)
    second = torch.zeros(3, 50, dtype=torch.bool)
    first[0, :2], second[1, :1] = True, True
    assert pruning.alive_units([first, second], 0.01).tolist() == [True, False, False]  # ceil(1.5) = 2 of 150
    assert pruning.alive_units([first, second], 0.0).tolist() == [True, True, False]
    assert pruning.incoming([first, second]).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("alive", "behind", "expected"), [(512, 10, 2 + 0.5 * 51.2), (0, 10, 2.05), (10, 0, 7.0), (10**6, 1, 100.0)]
)
def test_rate_is_neurotrophic_and_never_divides_by_zero(alive: int, behind: int, expected: float) -> None:
    assert pruning.next_percent(2.0, 0.5, alive, behind) == pytest.approx(expected)


def test_removed_units_lose_all_incoming_synapses_and_nobody_else_any() -> None:
    mask = torch.rand(4, 3, 2, 2, 1) < 0.7
    units = torch.tensor([True, False, False, True])
    new = pruning.remove_units(mask, units)
    assert not new[units].any()
    assert torch.equal(new[~units], mask[~units])
