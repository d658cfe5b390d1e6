"""One step of the usual CUBA neuron in a single loop, forward and back: both integrators, binary spike, reset.

The loops of forward.py and backward.py take any scale, graded spikes, one integrator alone and the decays' gradients,
in a loop for each of these. The neuron that nearly every layer has needs none of that, and one loop with the whole
step in registers takes a third of the time.

Forward: with a scale that is a power of two and states below 2^24, float32(I) is exact, so that the voltage's drive
trunc(scale (I / scale)) is I itself, and v >= threshold is a comparison of integers. I keep / 4096 towards zero is
h keep + ((l keep + (4095 if I < 0 else 0)) >> 12) with h = I >> 12 and l = I & 4095: both products fit 31 bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .rows import compiled, contracted

_F0 = np.float32(0.0)
_F1 = np.float32(1.0)
_HALF = np.float32(0.5)
_I0 = np.int32(0)
_TWELVE = np.int32(12)
_LOW = np.int32(4095)
_SIGN = np.int32(31)
_LARGEST = np.int32(2**31 - 1)
_LIMIT = np.int32(2**24)
_LIMIT_BITS = np.int32(25)
_DRIVE_LIMIT = np.float32(2**25)
_FLOOR = np.float32(-126.0)  # float32 is about to underflow
_BIAS = np.int32(127)
_MANTISSA = np.int32(23)
# Taylor's ln(2)^k / k!: |r| <= 1/2, so the first term left out is below 1.2e-7 of the result.
_E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))


def _type_as_float(_context: Any, _bits: Any) -> Any:
    """Type and code of a float32 with the bits of an int32."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


_as_float: Any = intrinsic(_type_as_float)


@compiled
def whole(level: Any) -> Any:
    """Return the smallest int32 that reaches `level` (state units); the largest int32 for what none reaches."""
    return _LARGEST if level > 2147483646.0 else np.int32(math.ceil(max(level, -2147483647.0)))


@compiled
def is_power_of_two(scale: Any) -> Any:
    """Return whether dividing by `scale` is exact."""
    power = 1.0
    while power < scale:
        power *= 2.0
    return power == scale


@compiled
def step_forward(
    x: Any, keep_a: Any, keep_b: Any, current: Any, voltage: Any, scale: Any, unit: Any, fire_at: Any, reset_at: Any,
    volts: Any, spikes: Any,
) -> Any:  # fmt: skip
    """Take one step of each lane. Returns 0 if no value left the range where this arithmetic is SLAYER's.

    x, keep_a, keep_b (int32), current, voltage (int32, carried on), volts (voltage before reset), spikes: lanes.
    unit: 1 / scale. fire_at, reset_at: thresholds in state units, int32.
    """
    left = _I0
    for lane in range(x.shape[0]):
        drive = x[lane] * scale
        drive = drive if drive < _DRIVE_LIMIT else _DRIVE_LIMIT  # NaN too becomes the limit, which is out of range
        drive = drive if drive > -_DRIVE_LIMIT else -_DRIVE_LIMIT
        old, keep = current[lane], keep_a[lane]
        high = np.int32(np.int32(old >> _TWELVE) * keep)
        low = np.int32(np.int32(np.int32(old & _LOW) * keep) + np.int32(np.int32(old >> _SIGN) & _LOW))
        new = np.int32(np.int32(high + np.int32(low >> _TWELVE)) + np.int32(drive))
        left |= np.int32(np.int32(new + _LIMIT) >> _LIMIT_BITS)
        current[lane] = new
        old, keep = voltage[lane], keep_b[lane]
        high = np.int32(np.int32(old >> _TWELVE) * keep)
        low = np.int32(np.int32(np.int32(old & _LOW) * keep) + np.int32(np.int32(old >> _SIGN) & _LOW))
        new = np.int32(np.int32(high + np.int32(low >> _TWELVE)) + new)
        left |= np.int32(np.int32(new + _LIMIT) >> _LIMIT_BITS)
        volts[lane] = np.float32(new) * unit
        spikes[lane] = _F1 if new >= fire_at else _F0
        voltage[lane] = _I0 if new >= reset_at else new
    return left


@contracted
def step_back(
    gradient: Any, volts: Any, keep_a: Any, keep_b: Any, carry_a: Any, carry_b: Any, threshold: Any, rate: Any,
    height: Any, out: Any,
) -> None:  # fmt: skip
    """Take one step back: the equations of backward.py. All arrays are lanes, float32; carries are carried on.

    rate: log2(e) / width. exp(-|v - threshold| / width) is 2^y = 2^n 2^r with |r| <= 1/2, and 2^r a polynomial. y has
    a relative error of 2 ulp, which is at most 1e-7 of the slope's height anywhere.
    """
    for lane in range(gradient.shape[0]):
        y = -abs(volts[lane] - threshold) * rate
        normal = y > _FLOOR
        y = y if normal else _FLOOR
        n = np.int32(y - _HALF)  # y <= 0: towards zero is up, so this rounds to the nearest
        r = y - np.float32(n)
        factor = height * (_F1 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6))))))
        power = _as_float(np.int32(np.int32(n + _BIAS) << _MANTISSA))
        slope = factor * power if normal else _F0
        b = keep_b[lane] * carry_b[lane] + gradient[lane] * slope
        carry_b[lane] = b
        a = keep_a[lane] * carry_a[lane] + b
        carry_a[lane] = a
        out[lane] = a
