"""The CUBA neuron on the CPU: current, voltage, spike and reset of a step in one loop, and the step back.

lava-dl's integer arithmetic (lava/lib/dl/slayer/neuron/dynamics/leaky_integrator.py, `_li_dynamics_fwd`, and spike.py):

    I = tz(I (4096 - A) / 4096) + trunc(scale x)       tz, trunc: towards zero
    V = tz(V (4096 - B) / 4096) + trunc(scale float32(I) / scale)
    v = float32(V) / scale;  spike = v >= threshold;  V = 0 where V >= float32(threshold scale)

SLAYER computes in int64. These kernels compute in int32 where that gives the same integers: the scale is a power of
two and states stay below 2^24, so that float32(I) is exact, the voltage's drive is I itself, and v >= threshold is a
comparison of integers. I keep / 4096 towards zero, with keep = 4096 - A, is h keep + ((l keep + (4095 if I < 0 else
0)) >> 12) with h = I >> 12 and l = I & 4095: both products fit 31 bits. Values that leave the range are reported.

Backward (`_li_dynamics_bwd` and `_spike_backward`), with slope(v) = height exp(-|v - threshold| / width):

    gv[t] = (1 - B/4096) gv[t+1] + slope(v[t]) gs[t]
    gx[t] = (1 - A/4096) gx[t+1] + gv[t]

Arrays are (steps, neurons), C-contiguous; a neuron is one lane of a vector instruction.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from sdsnn_core.system.compiled import compiled, contracted

BLOCK = 2048  # neurons at a time: a step's values are 8 KiB per array
STATE_LIMIT = 2**24
_F0, _F1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_I0, _TWELVE, _LOW, _SIGN = np.int32(0), np.int32(12), np.int32(4095), np.int32(31)
_LIMIT, _LIMIT_BITS, _DRIVE_LIMIT = np.int32(STATE_LIMIT), np.int32(25), np.float32(2**25)
_FLOOR = np.float32(-126.0)  # float32 is about to underflow
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
# Taylor's ln(2)^k / k!: |r| <= 1/2, so the first term left out is below 1.2e-7 of the result.
_E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))


class Constants(NamedTuple):
    """Numbers of a layer's neurons, as the kernels take them."""

    scale: Any  # float32: SLAYER's s_scale
    unit: Any  # float32: 1 / scale
    reset: Any  # float32 state, as SLAYER compares; infinity: never
    fire_at: Any  # int32: the smallest state that spikes
    reset_at: Any  # int32: the smallest state that is reset
    threshold: Any  # float32, SLAYER's units
    rate: Any  # float32: log2(e) / width of the surrogate gradient
    height: Any  # float32: of the surrogate gradient

    @classmethod
    def of(cls, scale: int, threshold: float, width: float, height: float) -> Constants:
        """Return the constants of a neuron: s_scale, threshold + threshold_eps, and the surrogate gradient's size.

        width, height: as SLAYER gives them to Spike.apply as tau_rho and scale_rho.
        """
        scaled = threshold * scale
        reset = np.float32(scaled if scaled > 0 else math.inf)  # SLAYER resets at a positive threshold only
        return cls(
            np.float32(scale), _F1 / np.float32(scale), reset, _smallest_state(float(np.float32(threshold)) * scale),
            _smallest_state(float(reset)),
            np.float32(threshold), np.float32(math.log2(math.e)) / np.float32(width),
            np.float32(np.float32(np.float32(height) / np.float32(2)) / np.float32(width)),  # SLAYER's order
        )  # fmt: skip


class Keeps(NamedTuple):
    """4096 - decay of current and voltage: int32 forward, float32 and divided by 4096 backward.

    Neuron i has entry i % size: one for all neurons, or one per channel, for channels are innermost.
    """

    current: Any
    voltage: Any


class States(NamedTuple):
    """What neurons carry from step to step, one entry per neuron: int32 states forward, float32 gradients backward."""

    current: Any
    voltage: Any


def _smallest_state(level: float) -> Any:
    """Return the smallest int32 that reaches `level`; the largest int32 for a level beyond."""
    return np.int32(2**31 - 1) if level > 2**31 - 2 else np.int32(math.ceil(max(level, -(2.0**31) + 1)))


def _type_as_float(_context: Any, _bits: Any) -> Any:
    """Type and code of a float32 with the bits of an int32."""
    return types.float32(types.int32), lambda context, builder, _signature, arguments: builder.bitcast(
        arguments[0], context.get_value_type(types.float32)
    )


_as_float: Any = intrinsic(_type_as_float)


@compiled
def step_forward(x: Any, keeps: Any, states: Any, constants: Any, volts: Any, spikes: Any) -> Any:
    """Take one step of each neuron; return 0 if no value left the range where this arithmetic is SLAYER's.

    x, volts (voltage before reset), spikes: one entry per neuron, as in keeps and states.
    """
    current, voltage, keep_a, keep_b = states.current, states.voltage, keeps.current, keeps.voltage
    scale, unit, fire_at, reset_at = constants.scale, constants.unit, constants.fire_at, constants.reset_at
    outside = _I0
    for lane in range(x.shape[0]):
        drive = x[lane] * scale
        drive = drive if drive < _DRIVE_LIMIT else _DRIVE_LIMIT  # NaN too becomes the limit, which is out of range
        drive = drive if drive > -_DRIVE_LIMIT else -_DRIVE_LIMIT
        old, keep = current[lane], keep_a[lane]
        high = np.int32(np.int32(old >> _TWELVE) * keep)
        low = np.int32(np.int32(np.int32(old & _LOW) * keep) + np.int32(np.int32(old >> _SIGN) & _LOW))
        new = np.int32(np.int32(high + np.int32(low >> _TWELVE)) + np.int32(drive))
        outside = np.int32(outside | np.int32(np.int32(new + _LIMIT) >> _LIMIT_BITS))
        current[lane] = new
        old, keep = voltage[lane], keep_b[lane]
        high = np.int32(np.int32(old >> _TWELVE) * keep)
        low = np.int32(np.int32(np.int32(old & _LOW) * keep) + np.int32(np.int32(old >> _SIGN) & _LOW))
        new = np.int32(np.int32(high + np.int32(low >> _TWELVE)) + new)
        outside = np.int32(outside | np.int32(np.int32(new + _LIMIT) >> _LIMIT_BITS))
        volts[lane] = np.float32(new) * unit
        spikes[lane] = _F1 if new >= fire_at else _F0
        voltage[lane] = _I0 if new >= reset_at else new
    return outside


@contracted
def step_back(gradient: Any, volts: Any, keeps: Any, carries: Any, constants: Any, out: Any) -> None:
    """Take one step back. All arrays are float32, one entry per neuron; carries are the gradients of the step after.

    exp(-|v - threshold| / width) is 2^y = 2^n 2^r with |r| <= 1/2, and 2^r a polynomial. y has a relative error of 2
    ulp, which is at most 1e-7 of the slope's height anywhere.
    """
    keep_a, keep_b, carry_a, carry_b = keeps.current, keeps.voltage, carries.current, carries.voltage
    threshold, rate, height = constants.threshold, constants.rate, constants.height
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


@compiled
def _check(first: int, last: int, shape: Any, keeps: Any, states: Any, a: Any, b: Any) -> None:
    """Raise ValueError unless first..last are neurons and all arrays fit `shape` (steps, neurons)."""
    neurons = 0 <= first <= last <= shape[1] == states.current.size == states.voltage.size
    if not neurons or shape[0] < 1 or a != shape or b != shape or min(keeps.current.size, keeps.voltage.size) < 1:
        raise ValueError("fused kernel: arrays do not fit together")


@compiled
def spread(values: Any, first: int, out: Any) -> Any:
    """Return `out` with each neuron's value of those that neurons share in turns; `first`: the neuron of out[0]."""
    if values.size == 1:
        out[:] = values[0]
    else:
        for lane in range(out.shape[0]):
            out[lane] = values[(first + lane) % values.size]
    return out


@compiled
def chunk_forward(
    first: int, last: int, z: Any, keeps: Any, states: Any, constants: Any, voltage: Any, spikes: Any
) -> Any:
    """Run neurons first..last over all steps of the currents z (steps, neurons) float32, from `states` and into them.

    keeps, states: int32. voltage (before reset; or empty) and spikes: results, z's shape. Returns 0 if no value left
    the range where this is SLAYER's arithmetic.
    """
    _check(first, last, z.shape, keeps, states, voltage.shape if voltage.size else z.shape, spikes.shape)
    ka, kb, scratch = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.float32)
    outside, own_keeps = _I0, Keeps(ka, kb)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        n = end - begin
        if begin == first or BLOCK % keeps.current.size or BLOCK % keeps.voltage.size:  # else they are the same again
            own_keeps = Keeps(spread(keeps.current, begin, ka), spread(keeps.voltage, begin, kb))
        own_states = States(states.current[begin:end], states.voltage[begin:end])
        for t in range(z.shape[0]):
            volts = voltage[t, begin:end] if voltage.size else scratch[:n]
            outside |= step_forward(z[t, begin:end], own_keeps, own_states, constants, volts, spikes[t, begin:end])
    return outside


@compiled
def chunk_backward(
    first: int, last: int, gradient: Any, voltage: Any, keeps: Any, carries: Any, constants: Any, out: Any
) -> None:
    """Take all steps back, from the gradient of the spikes (steps, neurons) to that of z, into `out`.

    keeps: Keeps, float32 1 - decay / 4096. carries: States, float32 gradients, carried on.
    """
    _check(first, last, gradient.shape, keeps, carries, voltage.shape, out.shape)
    ka, kb = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    own_keeps = Keeps(ka, kb)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        if begin == first or BLOCK % keeps.current.size or BLOCK % keeps.voltage.size:  # else they are the same again
            own_keeps = Keeps(spread(keeps.current, begin, ka), spread(keeps.voltage, begin, kb))
        own = States(carries.current[begin:end], carries.voltage[begin:end])
        for t in range(gradient.shape[0] - 1, -1, -1):
            step_back(gradient[t, begin:end], voltage[t, begin:end], own_keeps, own, constants, out[t, begin:end])
