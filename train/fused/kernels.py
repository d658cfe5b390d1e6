"""The passes of the CUBA neuron on CPU: forward and backward over all steps, many neurons ("lanes") at a time.

Forward is lava-dl's integer arithmetic (leaky_integrator.py, `_li_dynamics_fwd`, and spike.py), step by step:

    I = tz(I (4096 - A) / 4096) + trunc(scale x)       tz, trunc: towards zero
    c = float32(I) / scale                             the current that SLAYER reports and hands to the voltage
    V = tz(V (4096 - B) / 4096) + trunc(scale c)
    v = float32(V) / scale;  spike = v >= threshold;  V = 0 where V >= reset

`scale` is SLAYER's s_scale, `reset` is float32(threshold scale), as SLAYER compares, or infinity for an integrator
without threshold. SLAYER computes in int64. So do we, but a block of neurons whose values all stay below 2^30 and
whose decays are in 0..4096 gives the same integers in int32, which is several times as fast: every block is checked
while it runs, and done again in int64 when it does not qualify.

Backward follows `_li_dynamics_bwd` and `_spike_backward`: the reset passes the gradient on, and the decays' gradient
has SLAYER's sign and scale,

    gv[t] = (1 - B/4096) gv[t+1] + slope(v[t]) gs[t]          dB = sum gv[t+1] v[t]
    gx[t] = (1 - A/4096) gx[t+1] + gv[t]                      dA = sum gx[t+1] c[t]

with slope(v) = height exp(-|v - threshold| / width), or height exp(min(v - threshold, 0) / width) for graded spikes.

Arrays are (steps, neurons), float32, C-contiguous: the inner loops run over neighbours in memory and become vector
instructions, one per operation and 8 or 16 neurons. passes.py brings other layouts into this form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import compiled

INT32_LIMIT = np.float32(2**30)
_LOG2E = np.float32(1.4426950408889634)
# Cody and Waite's two-part ln 2: the high part has 9 bits, so n * high is exact for |n| < 2^15.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440054690583e-4)
_EXP_FLOOR = np.float32(-87.0)
_F1 = np.float32(1.0)
_F0 = np.float32(0.0)
_HALF = np.float32(0.5)
# Taylor's 1/k!: |r| <= ln2/2, so the first term left out, r^8/8!, is below 6e-9 of the result.
_E3, _E4, _E5, _E6, _E7 = (np.float32(1 / k) for k in (6, 24, 120, 720, 5040))
_I0 = np.int32(0)
_I1 = np.int32(1)
_TWELVE = np.int32(12)
_LOW = np.int32(4095)


@compiled
def start(states: Any, keeps: Any, rows: Any, first: int, lanes: int, scale: Any, state: Any, keep: Any) -> bool:
    """Fill the lanes' first state and 4096 - decay. Returns whether both are in the range of the int32 path.

    rows: (stride, count): neuron i has decay (i // stride) % count.
    """
    good = True
    for lane in range(lanes):
        x = states[first + lane] * scale
        k = keeps[((first + lane) // rows[0]) % rows[1]]
        fits = abs(x) < INT32_LIMIT and 0 <= k <= 4096
        state[lane] = np.int32(x) if fits else _I0
        keep[lane] = np.int32(k) if fits else _I0
        good = good and fits
    return good


@compiled
def leak(source: Any, keep: Any, state: Any, reset: Any, scale: Any, out: Any) -> Any:
    """Take one step of an integrator in int32: out = float32(state) / scale. Returns 0 if no value left the range.

    keep: 4096 - decay per lane, int32. state: int32 per lane, carried on. out must not be source.
    """
    left = _I0
    for lane in range(source.shape[0]):
        x = source[lane] * scale
        fits = abs(x) < INT32_LIMIT
        drive = np.int32(x if fits else _F0)
        old = state[lane]
        size = np.int32(abs(old))
        # |old| keep / 4096 rounded down, in two parts that fit 31 bits
        high = np.int32(np.int32(size >> _TWELVE) * keep[lane])
        low = np.int32(np.int32(np.int32(size & _LOW) * keep[lane]) >> _TWELVE)
        size = np.int32(high + low)
        new = np.int32((size if old >= _I0 else np.int32(-size)) + drive)
        value = np.float32(new)
        left |= _I0 if fits and abs(value) < INT32_LIMIT else _I1
        state[lane] = _I0 if value >= reset else new
        out[lane] = value / scale
    return left


@compiled
def leak_exact(source: Any, target: Any, keep: int, first: float, reset: Any, scale: Any) -> None:
    """Integrate one neuron over all steps in int64, for any value and any decay. target may be source."""
    state = np.int64(first * scale)
    for t in range(source.shape[0]):
        product = state * keep
        kept = product >> 12 if product > 0 else -((-product) >> 12)
        state = kept + np.int64(source[t] * scale)
        value = np.float32(state)
        target[t] = value / scale
        if value >= reset:
            state = np.int64(0)


@compiled
def fire(voltage: Any, threshold: Any, graded: bool, out: Any) -> None:
    """Write one step's spikes: 1, or the voltage if graded, where it reaches the threshold."""
    if graded:
        for lane in range(voltage.shape[0]):
            out[lane] = voltage[lane] if voltage[lane] >= threshold else _F0
    else:
        for lane in range(voltage.shape[0]):
            out[lane] = _F1 if voltage[lane] >= threshold else _F0


@compiled
def run_exact(
    first: int, last: int, x: Any, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, state_i: Any, state_v: Any,
    reset: Any, threshold: Any, scale: Any, graded: bool, current: Any, voltage: Any, spikes: Any, last_i: Any,
    last_v: Any,
) -> None:  # fmt: skip
    """Do what `forward` does for neurons first..last, one by one in int64."""
    steps = x.shape[0]
    values = np.zeros(steps, np.float32)
    for i in range(first, last):
        for t in range(steps):
            values[t] = x[t, i]
        if keep_a.size:
            keep = keep_a[(i // rows_a[0]) % rows_a[1]]
            leak_exact(values, values, keep, state_i[i], np.float32(np.inf), scale)
        last_i[i] = values[steps - 1]
        if current.size:
            for t in range(steps):
                current[t, i] = values[t]
        if keep_b.size:
            leak_exact(values, values, keep_b[(i // rows_b[0]) % rows_b[1]], state_v[i], reset, scale)
        last_v[i] = values[steps - 1]
        if voltage.size:
            for t in range(steps):
                voltage[t, i] = values[t]
        if spikes.size:
            for t in range(steps):
                spikes[t, i] = (values[t] if graded else _F1) if values[t] >= threshold else _F0


BLOCK = 1024  # neurons at a time: a step's values are 4 KiB per array, and all of a block's states stay in cache


@compiled
def forward(
    first: int, last: int, x: Any, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, state_i: Any, state_v: Any,
    reset: Any, threshold: Any, scale: Any, graded: bool, current: Any, voltage: Any, spikes: Any, last_i: Any,
    last_v: Any,
) -> None:  # fmt: skip
    """Run neurons first..last over all steps.

    x (steps, neurons) float32. keep_a, keep_b: int64 4096 - decay, per decay; empty: that integrator is left out, and
    x goes to the next one as it is. rows_a, rows_b: (stride, count), see `start`. state_i, state_v (neurons) float32:
    the state before the first step, as SLAYER keeps it. current, voltage, spikes (steps, neurons): results; empty: not
    wanted. last_i, last_v (neurons): the last step's current and voltage, before reset.
    """
    steps = x.shape[0]
    has_a, has_b = keep_a.size > 0, keep_b.size > 0
    ka, kb = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int32)
    si, sv = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int32)
    currents, voltages = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    infinity = np.float32(np.inf)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        n = end - begin
        fits = True
        if has_a:
            fits &= start(state_i, keep_a, rows_a, begin, n, scale, si, ka)
        if has_b:
            fits &= start(state_v, keep_b, rows_b, begin, n, scale, sv, kb)
        left = _I0
        for t in range(steps):
            if not fits:
                break
            c = x[t, begin:end]
            if has_a:
                c = current[t, begin:end] if current.size else currents[:n]
                left |= leak(x[t, begin:end], ka[:n], si[:n], infinity, scale, c)
            elif current.size:
                current[t, begin:end] = c
            v = c
            if has_b:
                v = voltage[t, begin:end] if voltage.size else voltages[:n]
                left |= leak(c, kb[:n], sv[:n], reset, scale, v)
            elif voltage.size:
                voltage[t, begin:end] = v
            if spikes.size:
                fire(v, threshold, graded, spikes[t, begin:end])
            if t == steps - 1:
                last_i[begin:end] = c
                last_v[begin:end] = v
        if not fits or left:
            run_exact(
                begin, end, x, keep_a, keep_b, rows_a, rows_b, state_i, state_v, reset, threshold, scale, graded,
                current, voltage, spikes, last_i, last_v,
            )  # fmt: skip


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
def add(values: Any, total: Any) -> None:
    """total += values."""
    for lane in range(total.shape[0]):
        total[lane] += values[lane]


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
def backward(
    first: int, last: int, now: Any, later: Any, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, threshold: Any,
    width: Any, height: Any, graded: bool, current: Any, voltage: Any, has_spikes: bool, out: Any, sums_a: Any,
    sums_b: Any,
) -> None:  # fmt: skip
    """Run neurons first..last backwards: from the gradient of spikes (or of the last integrator) to that of x.

    now, later, out (steps, neurons): the gradient of the result, of the result one step later (the first step's is
    not used), and of x; now or later may be empty. keep_a, keep_b float32: 1 - decay/4096, per decay; empty:
    integrator left out. voltage: needed with has_spikes and for sums_b; current: for sums_a. sums_a, sums_b
    (neurons) float64: a neuron's share in the decays' gradient; empty: not wanted.
    """
    steps = out.shape[0]
    has_a, has_b = keep_a.size > 0, keep_b.size > 0
    ka, kb = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    ca, cb = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    powers, factors = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.float32)
    gradient = np.zeros(BLOCK, np.float32)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        n = end - begin
        for lane in range(n):
            if has_a:
                ka[lane] = keep_a[((begin + lane) // rows_a[0]) % rows_a[1]]
            if has_b:
                kb[lane] = keep_b[((begin + lane) // rows_b[0]) % rows_b[1]]
        ca[:] = 0
        cb[:] = 0
        for t in range(steps - 1, -1, -1):
            g = gradient[:n]
            g[:] = 0
            if now.size:
                add(now[t, begin:end], g)
            if later.size and t + 1 < steps:
                add(later[t + 1, begin:end], g)
            if has_spikes:
                slopes(voltage[t, begin:end], threshold, width, height, graded, powers[:n], factors[:n])
                scale_by(g, powers.view(np.float32)[:n], factors[:n])
            if has_b:
                if sums_b.size:
                    correlate(cb, voltage[t, begin:end], sums_b[begin:end])
                filter_back(g, kb[:n], cb[:n])
                g = cb[:n]
            if has_a:
                if sums_a.size:
                    correlate(ca, current[t, begin:end], sums_a[begin:end])
                filter_back(g, ka[:n], ca[:n])
                g = ca[:n]
            out[t, begin:end] = g
