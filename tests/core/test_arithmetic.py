"""The chip's integers: laws over the whole legal range."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdsnn_core.arithmetic import DECAY_UNITY, STATE_LIMIT, before_decay, decay, int32, saturate

STATES = st.integers(-(2**31) + 1, 2**31 - 1)
RATES = st.integers(0, DECAY_UNITY - 1)


def one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


@settings(max_examples=500)
@given(STATES, RATES)
@example(-(2**31) + 1, 4095)
@example(2**31 - 1, 0)
@example(1, 4095)
def test_the_inverse_of_the_decay_is_exact_and_the_smallest(state: int, rate: int) -> None:
    before = int(before_decay(one(state), one(rate))[0])
    assert int(decay(one(before), one(rate))[0]) == state
    nearer = before - int(np.sign(before))  # one closer to zero
    assert before == 0 or int(decay(one(nearer), one(rate))[0]) != state


def test_every_rate_is_inverted() -> None:
    rates = np.arange(DECAY_UNITY)
    for state in (-STATE_LIMIT + 1, -4097, -1, 0, 1, 63, 64, 4095, 4096, STATE_LIMIT - 1):
        states = np.full(rates.shape, state)
        np.testing.assert_array_equal(decay(before_decay(states, rates), rates), states)


@settings(max_examples=300)
@given(STATES, st.integers(0, DECAY_UNITY))
def test_decay_rounds_towards_zero(state: int, rate: int) -> None:
    assert int(decay(one(state), one(rate))[0]) == int(Fraction(state * (DECAY_UNITY - rate), DECAY_UNITY))


def test_nothing_leads_through_a_decay_that_keeps_nothing() -> None:
    assert before_decay(np.array([5, -5]), np.array(DECAY_UNITY)).tolist() == [0, 0]


@pytest.mark.parametrize(("value", "held"), [(2**31, -(2**31)), (-(2**31) - 1, 2**31 - 1), (7, 7)])
def test_a_32_bit_accumulator(value: int, held: int) -> None:
    assert int(int32(one(value))[0]) == held


def test_voltages_saturate() -> None:
    assert saturate(np.array([STATE_LIMIT, -STATE_LIMIT, 3])).tolist() == [STATE_LIMIT - 1, 1 - STATE_LIMIT, 3]
