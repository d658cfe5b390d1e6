"""The chip's integers: decay and its exact inverse, the wrap of currents, the saturation of voltages.

These are the steps of lava.proc.lif PyLifModelBitAcc (lava-nc 0.10.0). Arrays are int64.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

DECAY_UNITY = 4096  # decays are 12-bit fractions; 4096 forgets everything in one step (lava.proc.lif, ds_offset 1)
STATE_LIMIT = 2**23  # currents and voltages are 24-bit registers


def decay(state: Ints, rate: Ints) -> Ints:
    """Return `state` less the fraction rate/4096, rounded towards zero. Both int64, of one shape."""
    magnitude: Ints = np.abs(state) * (DECAY_UNITY - rate) >> 12
    return np.sign(state) * magnitude


def before_decay(state: npt.NDArray[np.integer], rate: npt.NDArray[np.integer]) -> Ints:
    """Return the smallest state that decays to exactly `state`; 0 where the rate is 4096, which keeps nothing.

    Examples:
        >>> before_decay(np.array([-100]), np.array([410]))
        array([-112])
        >>> decay(np.array([-112]), np.array([410]))
        array([-100])
    """
    kept = DECAY_UNITY - np.asarray(rate, np.int64)
    magnitude = -(-np.abs(np.asarray(state, np.int64)) * DECAY_UNITY // np.maximum(kept, 1))
    return np.where(kept > 0, np.sign(state) * magnitude, 0)


def int32(values: Ints) -> Ints:
    """Return `values` reduced to what a 32-bit accumulator holds."""
    return values.astype(np.int32).astype(np.int64)


def wrap_current(current: Ints) -> Ints:
    """Wrap into (-2**23, 2**23] once, as Lava does: further multiples of 2**24 stay."""
    wrapped = np.where(current > STATE_LIMIT, current - 2 * STATE_LIMIT, current)
    return np.where(current <= -STATE_LIMIT, current + 2 * STATE_LIMIT, wrapped)


def saturate(voltage: Ints) -> Ints:
    """Clip to -(2**23 - 1)..2**23 - 1."""
    return np.clip(voltage, -STATE_LIMIT + 1, STATE_LIMIT - 1)
