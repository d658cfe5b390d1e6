"""Codes of signals against plain Python, and what each code keeps of a signal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdsnn.train.data.load import load_data
from sdsnn.train.data.sensors.coding import encode, held, scaled
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.errors import ConfigError

SHAPE = (5, 30, 3)  # samples, steps, channels


def signals(rng: np.random.Generator) -> np.ndarray:
    values = rng.random(SHAPE)
    values[0] = 0
    values[1] = 1
    return values


def test_rate_code_emits_the_running_sum(rng: np.random.Generator) -> None:
    values = signals(rng)
    bins, largest = encode(DataConfig(coding="rate"), values)
    assert (bins.shape, bins.dtype, largest) == (SHAPE, np.uint8, 1)
    assert bins.max() == 1
    assert (np.abs(np.cumsum(bins, 1, dtype=int) - np.cumsum(values, 1)) <= 0.5 + 1e-9).all()
    assert not bins[0].any()
    assert bins[1].all()


def test_direct_code_is_the_rounded_value(rng: np.random.Generator) -> None:
    values = signals(rng)
    bins, largest = encode(DataConfig(coding="direct", levels=7), values)
    assert largest == 7
    assert (np.abs(bins / 7 - values) <= 0.5 / 7 + 1e-12).all()


@pytest.mark.parametrize("delta", [0.03, 0.25, 1.0])
def test_delta_code_is_a_reference_that_follows(delta: float, rng: np.random.Generator) -> None:
    values = signals(rng)
    bins, largest = encode(DataConfig(coding="delta", delta=delta), values)
    assert (bins.shape, largest) == ((5, 30, 6), 1)
    for sample, channel in np.ndindex(5, 3):
        reference = 0
        for step in range(30):
            away = values[sample, step, channel] - reference * delta
            expected = 1 if away >= delta else -1 if away <= -delta else 0
            rise, fall = bins[sample, step, 2 * channel : 2 * channel + 2].tolist()
            assert rise - fall == expected
            assert not (rise and fall)
            reference += expected


def test_delta_code_keeps_a_slow_signal_up_to_delta() -> None:
    step = np.arange(200)
    slow = 0.5 - 0.5 * np.cos(step / 20 + np.arange(4)[:, None])  # at most 0.025 a step
    slow -= slow[:, :1] * (1 - np.clip(step / 40, 0, 1))  # begins at 0
    slow = np.clip(slow, 0, 1)
    assert np.abs(np.diff(slow)).max() < 0.05
    bins, _ = encode(DataConfig(coding="delta", delta=0.05), slow[..., None])
    decoded = 0.05 * np.cumsum(bins[..., 0].astype(int) - bins[..., 1], axis=1)
    assert np.abs(decoded - slow).max() < 0.05


@pytest.mark.parametrize("n_steps", [4, 9, 18, 20])
def test_frames_are_held_and_nothing_follows_the_end(n_steps: int, rng: np.random.Generator) -> None:
    frames, lengths = rng.random((3, 9, 2)), np.array([9, 5, 1])
    steps = held(frames, lengths, n_steps)
    for sample, step in np.ndindex(3, n_steps):
        frame = math.floor(step * 9 / n_steps)
        expected = frames[sample, frame] if frame < lengths[sample] else np.zeros(2)
        np.testing.assert_array_equal(steps[sample, step], expected)


def test_the_range_is_that_of_training() -> None:
    values = np.array([[[0.0, 5], [10, 5]], [[20, 5], [np.nan, np.nan]], [[-40, 5], [90, 7]]])
    levels = scaled(values, np.array([0, 1]))
    np.testing.assert_allclose(levels[:, :, 0], [[0, 0.5], [1, np.nan], [0, 1]])
    np.testing.assert_allclose(levels[:2, :, 1], [[0, 0], [0, np.nan]])


def test_codes_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.coding: expected rate, latency or direct for images, got delta"):
        load_data(DataConfig(coding="delta"), 0)
    with pytest.raises(ConfigError, match="expected rate, direct, delta for the signals of fsdd, got latency"):
        encode(DataConfig(name="fsdd", coding="latency"), np.zeros((1, 2, 3)))
