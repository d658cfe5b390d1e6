"""The backward pass of the CUBA neuron on CPU, over all steps, many neurons ("lanes") at a time.

lava-dl's `_li_dynamics_bwd` and `_spike_backward`: the reset passes the gradient on, and the decays' gradient has
SLAYER's sign and scale,

    gv[t] = (1 - B/4096) gv[t+1] + slope(v[t]) gs[t]          dB = sum gv[t+1] v[t]
    gx[t] = (1 - A/4096) gx[t+1] + gv[t]                      dA = sum gx[t+1] c[t]

with slope(v) = height exp(-|v - threshold| / width), or height exp(min(v - threshold, 0) / width) for graded spikes.
Layouts are those of the forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import BLOCK, CHUNK, LANES, check, check_decays, compiled, load, store
from .steps import step_back

_F1 = np.float32(1.0)
_F0 = np.float32(0.0)
_HALF = np.float32(0.5)
_I0 = np.int32(0)
_LOG2E = np.float32(1.4426950408889634)
# Cody and Waite's two-part ln 2: the high part has 9 bits, so n * high is exact for |n| < 2^15.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440054690583e-4)
_EXP_FLOOR = np.float32(-87.0)
# Taylor's 1/k!: |r| <= ln2/2, so the first term left out, r^8/8!, is below 6e-9 of the result.
_E3, _E4, _E5, _E6, _E7 = (np.float32(1 / k) for k in (6, 24, 120, 720, 5040))


@compiled
def slopes(voltage: Any, threshold: Any, width: Any, height: Any, graded: bool, powers: Any, factors: Any) -> None:
    """Write the surrogate's slope at each voltage, height exp(z) with z <= 0, as 2^n (float32 bits) and a factor.

    z = n ln 2 + r with |r| <= ln2/2, and exp(r) a polynomial: within 2 ulp of the exact value down to exp(-87) =
    1.6e-38, where float32 is about to underflow, and 0 below.
    """
    for lane in range(voltage.shape[0]):
        distance = voltage[lane] - threshold
        z = (min(distance, _F0) if graded else -abs(distance)) / width
        normal = z > _EXP_FLOOR
        z = z if normal else _EXP_FLOOR
        n = np.int32(z * _LOG2E - _HALF)  # z <= 0: towards zero is up, so this rounds to the nearest
        r = z - np.float32(n) * _LN2_HIGH - np.float32(n) * _LN2_LOW
        powers[lane] = np.int32(np.int32(n + np.int32(127)) << np.int32(23)) if normal else _I0
        poly = _F1 + r * (_F1 + r * (_HALF + r * (_E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * _E7))))))
        factors[lane] = height * poly


@compiled
def scale_by(gradient: Any, powers: Any, factors: Any) -> None:
    """gradient *= powers * factors."""
    for lane in range(gradient.shape[0]):
        gradient[lane] *= powers[lane] * factors[lane]


@compiled
def correlate(gradient: Any, states: Any, sums: Any) -> None:
    """sums += gradient * states, in float64."""
    for lane in range(sums.shape[0]):
        sums[lane] += np.float64(gradient[lane] * states[lane])


@compiled
def filter_back(gradient: Any, keep: Any, carry: Any) -> None:
    """carry = keep * carry + gradient."""
    for lane in range(carry.shape[0]):
        carry[lane] = keep[lane] * carry[lane] + gradient[lane]


@compiled
def retreat(
    steps: int, t0: int, i0: int, gradient: Any, ka: Any, kb: Any, ca: Any, cb: Any, has_a: bool, has_b: bool,
    threshold: Any, width: Any, height: Any, graded: bool, current: Any, voltage: Any, has_spikes: bool, out: Any,
    sums_a: Any, sums_b: Any, g: Any, powers: Any, factors: Any,
) -> None:  # fmt: skip
    """Take `steps` steps back to row t0 of the (steps, neurons) arrays, for the g.size neurons from i0 on.

    ca, cb (lanes): the gradients carried on. g, powers, factors (lanes): scratch. sums_a, sums_b (lanes) or empty.
    """
    n = g.shape[0]
    usual = has_a and has_b and has_spikes and not graded and not sums_a.size and not sums_b.size
    for t in range(t0 + steps - 1, t0 - 1, -1):
        if usual:
            step_back(
                gradient[t, i0 : i0 + n], voltage[t, i0 : i0 + n], ka, kb, ca, cb, threshold, _LOG2E / width, height,
                out[t, i0 : i0 + n],
            )  # fmt: skip
            continue
        g[:] = gradient[t, i0 : i0 + n]
        if has_spikes:
            slopes(voltage[t, i0 : i0 + n], threshold, width, height, graded, powers, factors)
            scale_by(g, powers.view(np.float32), factors)
        result = g
        if has_b:
            if sums_b.size:
                correlate(cb, voltage[t, i0 : i0 + n], sums_b)
            filter_back(result, kb, cb)
            result = cb
        if has_a:
            if sums_a.size:
                correlate(ca, current[t, i0 : i0 + n], sums_a)
            filter_back(result, ka, ca)
            result = ca
        out[t, i0 : i0 + n] = result


@compiled
def spread(values: Any, rows: Any, first: int, out: Any) -> None:
    """Give every lane its value: neuron i has values[(i // stride) % count]."""
    for lane in range(out.shape[0]):
        out[lane] = values[((first + lane) // rows[0]) % rows[1]]


@compiled
def backward(
    first: int, last: int, gradient: Any, by_step: bool, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any,
    threshold: Any, width: Any, height: Any, graded: bool, current: Any, voltage: Any, has_spikes: bool, out: Any,
    sums_a: Any, sums_b: Any,
) -> None:  # fmt: skip
    """Run neurons first..last backwards: from the gradient of spikes (or of the last integrator) to that of x.

    gradient, out: (steps, neurons) float32 if by_step, else (neurons, steps): the gradients of the result and of x.
    keep_a, keep_b float32: 1 - decay/4096, per decay; empty: integrator left out. rows_a, rows_b: as in forward.
    voltage (gradient's shape): needed with has_spikes and for sums_b; current: for sums_a. sums_a, sums_b (neurons)
    float64: a neuron's share in the decays' gradient; empty: not wanted. Raises ValueError for arrays of other shapes.
    """
    steps, neurons = gradient.shape if by_step else (gradient.shape[1], gradient.shape[0])
    check(first, last, neurons, steps, gradient.shape, current.shape, voltage.shape, out.shape)
    check_decays(keep_a.size, rows_a)
    check_decays(keep_b.size, rows_b)
    has_a, has_b = keep_a.size > 0, keep_b.size > 0
    wants_v = has_spikes or (has_b and sums_b.size > 0)
    wants_c = has_a and sums_a.size > 0
    if not out.size or (wants_v and not voltage.size) or (wants_c and not current.size):
        raise ValueError("fused kernel: an array that this pass needs is empty")
    if (sums_a.size and sums_a.size != neurons) or (sums_b.size and sums_b.size != neurons):
        raise ValueError("fused kernel: sums do not have one value per neuron")
    size = BLOCK if by_step else LANES
    ka, kb = np.zeros(size, np.float32), np.zeros(size, np.float32)
    ca, cb = np.zeros(size, np.float32), np.zeros(size, np.float32)
    powers, factors = np.zeros(size, np.int32), np.zeros(size, np.float32)
    g = np.zeros(size, np.float32)
    side = 0 if by_step else CHUNK
    gs, outs = np.zeros((side, LANES), np.float32), np.zeros((side, LANES), np.float32)
    cs = np.zeros((side if wants_c else 0, LANES), np.float32)
    vs = np.zeros((side if wants_v else 0, LANES), np.float32)
    for begin in range(first, last, size):
        end = min(begin + size, last)
        n = end - begin
        if has_a:
            spread(keep_a, rows_a, begin, ka[:n])
        if has_b:
            spread(keep_b, rows_b, begin, kb[:n])
        ca[:] = 0
        cb[:] = 0
        sa = sums_a[begin:end] if sums_a.size else sums_a
        sb = sums_b[begin:end] if sums_b.size else sums_b
        if by_step:
            retreat(
                steps, 0, begin, gradient, ka[:n], kb[:n], ca[:n], cb[:n], has_a, has_b, threshold, width, height,
                graded, current, voltage, has_spikes, out, sa, sb, g[:n], powers[:n], factors[:n],
            )  # fmt: skip
            continue
        for t1 in range(steps, 0, -CHUNK):
            t0 = max(t1 - CHUNK, 0)
            load(gradient, False, begin, n, t0, t1, gs)
            if wants_v:
                load(voltage, False, begin, n, t0, t1, vs)
            if wants_c:
                load(current, False, begin, n, t0, t1, cs)
            retreat(
                t1 - t0, 0, 0, gs, ka[:n], kb[:n], ca[:n], cb[:n], has_a, has_b, threshold, width, height, graded,
                cs, vs, has_spikes, outs, sa, sb, g[:n], powers[:n], factors[:n],
            )  # fmt: skip
            store(outs, False, begin, n, t0, t1, out)
