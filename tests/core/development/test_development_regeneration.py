"""Regeneration by gradient against oracles with loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdsnn_core.development import regeneration


@given(st.data())
def test_gradient_hits_are_the_best_share_of_the_absent(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    value = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    absent = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    percent = data.draw(st.sampled_from([0.0, 1.0, 10.0, 34.0, 100.0]))
    pool = sorted((v for v, a in zip(value, absent, strict=True) if a), reverse=True)
    n_top = math.ceil(len(pool) * percent / 100 - 1e-9)
    expected = [bool(a and n_top and v >= pool[n_top - 1] and v > 0) for v, a in zip(value, absent, strict=True)]
    got = regeneration.gradient_hits(torch.tensor(value, dtype=torch.float32), torch.tensor(absent), percent)
    assert got.tolist() == expected


def test_persistence_counts_hits_in_a_row_after_the_first() -> None:
    rng = np.random.default_rng(2)
    groups = torch.zeros(30, dtype=torch.bool)
    state = regeneration.init_regeneration(groups)
    runs = [0] * 30
    for _ in range(40):
        hits = rng.random(30) < 0.8
        state = regeneration.update_persistence(state, torch.from_numpy(hits))
        runs = [run + 1 if hit else 0 for run, hit in zip(runs, hits, strict=True)]
        assert state.run.tolist() == [max(0, run - 1) for run in runs]
    assert max(runs) > 5


def test_choice_is_the_best_of_the_persistent_within_the_budget() -> None:
    run = torch.tensor([3, 3, 0, 3, 2, 3], dtype=torch.int16)
    state = regeneration.RegenerationState(run, run > 0)
    value = torch.tensor([1.0, 5.0, 9.0, 5.0, 9.0, 2.0])

    def choose(budget: int) -> list[int]:
        return torch.nonzero(regeneration.choose_groups(state, value, 3, budget)).flatten().tolist()

    assert choose(6) == [0, 1, 3, 5]
    assert choose(2) == [1, 3]
    assert choose(1) == [1]  # equal values: the lower index
    assert choose(0) == []
    assert choose(9) == [0, 1, 3, 5]


def test_kernels_are_groups() -> None:
    value = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2, 1)
    assert torch.equal(regeneration.grouped(value, True)[..., 0, 0, 0], value.flatten(2).sum(2))
    assert regeneration.grouped(value, False) is value
    mask = torch.ones(2, 3, 2, 2, 1, dtype=torch.bool)
    mask[1, 2, 0, 1] = False
    absent = regeneration.absent_groups(mask, True)
    assert absent.shape == (2, 3, 1, 1, 1)
    assert torch.nonzero(absent.flatten()).flatten().tolist() == [5]


def test_what_came_back_is_forgotten() -> None:
    state = regeneration.RegenerationState(torch.tensor([4, 4], dtype=torch.int16), torch.tensor([True, True]))
    new = regeneration.forget(state, torch.tensor([True, False]))
    assert new.run.tolist() == [0, 4]
    assert new.was_hit.tolist() == [False, True]
