"""Grey levels as spikes: rate, latency and direct coding, none of them random."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sdsnn_core.system.compiled import compiled

from .load import Bins

Encode = Callable[[npt.NDArray[Any]], Bins]


def encoder(
    coding: Literal["rate", "latency", "direct"], n_steps: int, full: float, levels: int = 15
) -> tuple[Encode, int]:
    """Return a function that encodes values as spikes, and the largest value of a bin.

    Args:
        coding: name of the code.
        n_steps: time steps of the result.
        full: largest value.
        levels: direct coding: largest graded spike.

    Returns:
        (values (n, *shape) in 0..full) -> bins (n, n_steps, *shape) uint8; and 1, or `levels` in direct coding.
    """
    if coding == "rate":
        return lambda values: accumulate(values, n_steps, full), 1
    if coding == "latency":
        return lambda values: latency(values, n_steps, full), 1
    return lambda values: direct(values, n_steps, full, levels), levels


def accumulate(values: npt.NDArray[Any], n_steps: int, full: float) -> Bins:
    """Rate code: every step adds value / full to an accumulator that emits at 1.

    values: (n, *shape) in 0..full. Returns (n, n_steps, *shape) uint8; a channel emits round(n_steps * value / full)
    spikes, spread evenly. The accumulator starts at one half, so that emission is centred.
    """
    n, channels = len(values), math.prod(values.shape[1:])
    spikes = np.empty((n, n_steps, *values.shape[1:]), np.uint8)
    _emit(values.reshape(n, channels).astype(np.float64) / full, spikes.reshape(n, n_steps, channels))
    return spikes


@compiled
def _emit(levels: npt.NDArray[np.float64], spikes: Bins) -> None:
    """Write the spikes (n, steps, channels) of levels (n, channels) in 0..1."""
    for sample in range(levels.shape[0]):
        for step in range(spikes.shape[1]):
            for channel in range(levels.shape[1]):
                level = levels[sample, channel]
                spikes[sample, step, channel] = np.floor(level * (step + 1) + 0.5) - np.floor(level * step + 0.5)


def latency(values: npt.NDArray[Any], n_steps: int, full: float) -> Bins:
    """Latency code: one spike per channel, the earlier the larger its value; none for a value of zero.

    values: (n, *shape) in 0..full. The spike falls into step round((1 - value / full) * (n_steps - 1)).
    """
    when = np.rint((1 - values.astype(np.float64) / full) * (n_steps - 1))
    when[values == 0] = -1
    steps = np.arange(n_steps).reshape(1, -1, *(1,) * (values.ndim - 1))
    spikes: Bins = (when[:, None] == steps).astype(np.uint8)
    return spikes


def direct(values: npt.NDArray[Any], n_steps: int, full: float, levels: int) -> Bins:
    """Direct code: a graded spike of round(levels * value / full) in every step, for chips that take those."""
    graded = np.rint(values.astype(np.float64) * levels / full).astype(np.uint8)
    return np.repeat(graded[:, None], n_steps, axis=1)
