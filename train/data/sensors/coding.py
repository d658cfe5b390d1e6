"""Codes of signals: values between 0 and 1 that change over time, as spikes; none of them random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import ConfigError

from ..load import Bins
from ..settings import DataConfig

Values = npt.NDArray[Any]


def encode(config: DataConfig, values: Values) -> tuple[Bins, int]:
    """Return signals as spikes by the code `data.coding`, and the largest value of a bin.

    Args:
        config: coding, levels (direct), delta (delta).
        values: (n, steps, channels) in 0..1.

    Returns:
        (n, steps, channels) uint8, of delta (n, steps, 2 x channels); and 1, of direct `levels`.

    Raises:
        ConfigError: the code is not one for signals.
    """
    if config.coding not in CODES:
        raise ConfigError(
            [f"data.coding: expected {', '.join(CODES)} for the signals of {config.name}, got {config.coding}"]
        )
    return CODES[config.coding](config, values.astype(np.float64)), config.levels if config.coding == "direct" else 1


def accumulate(_config: DataConfig, values: Values) -> Bins:
    """Rate code: each step adds its value to an accumulator, which emits at 1 and starts at one half."""
    emitted = np.floor(np.cumsum(values, axis=1) + 0.5)
    spikes: Bins = np.diff(emitted, axis=1, prepend=0).astype(np.uint8)
    return spikes


def direct(config: DataConfig, values: Values) -> Bins:
    """Direct code: a graded spike of round(levels x value)."""
    return np.asarray(np.rint(values * config.levels), np.uint8)


def modulate(config: DataConfig, values: Values) -> Bins:
    """Delta code: a spike where the signal has left a reference by `delta`, which then follows by `delta`.

    The reference begins at 0 and moves once per step at most. Channel 2c emits for rises of signal c, 2c + 1 for falls,
    so that delta x (rises - falls) up to a step is the reference.
    """
    n, n_steps, n_channels = values.shape
    spikes = np.zeros((n, n_steps, n_channels, 2), np.uint8)
    count = np.zeros((n, n_channels), np.int64)  # the reference in units of delta
    for step in range(n_steps):
        away = values[:, step] - count * config.delta
        rises, falls = away >= config.delta, away <= -config.delta
        spikes[:, step, :, 0], spikes[:, step, :, 1] = rises, falls
        count += rises.astype(np.int64) - falls
    return spikes.reshape(n, n_steps, 2 * n_channels)


CODES: Final[dict[str, Callable[[DataConfig, Values], Bins]]] = {
    "rate": accumulate,
    "direct": direct,
    "delta": modulate,
}


def held(frames: Values, lengths: npt.NDArray[np.int64], n_steps: int) -> Values:
    """Return signals at `n_steps` steps, which together last as long as the longest signal; 0 behind the end.

    Step s has the value of frame floor(s x longest / n_steps).

    Args:
        frames: (n, longest, channels).
        lengths: frames of each signal.
        n_steps: of the result.
    """
    frame = np.arange(n_steps) * frames.shape[1] // n_steps
    inside = frame < lengths[:, None]
    return np.where(inside[..., None], frames[:, frame], 0)


def scaled(values: Values, train: npt.NDArray[np.int64]) -> Values:
    """Return signals (n, frames, channels) in 0..1: each channel's smallest and largest value in training are 0 and 1.

    NaN stays. A channel that never changes in training is 0.
    """
    low, high = (reduce(values[train], axis=(0, 1)) for reduce in (np.nanmin, np.nanmax))
    spread = np.where(high > low, high - low, 1)
    return np.asarray(np.clip((values - low) / spread, 0, 1))
