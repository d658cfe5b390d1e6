"""The forward pass of the CUBA neuron on CPU, over all steps, many neurons ("lanes") at a time.

lava-dl's integer arithmetic (leaky_integrator.py, `_li_dynamics_fwd`, and spike.py), step by step:

    I = tz(I (4096 - A) / 4096) + trunc(scale x)       tz, trunc: towards zero
    c = float32(I) / scale                             the current that SLAYER reports and hands to the voltage
    V = tz(V (4096 - B) / 4096) + trunc(scale c)
    v = float32(V) / scale;  spike = v >= threshold;  V = 0 where V >= reset

`scale` is SLAYER's s_scale, `reset` is float32(threshold scale), as SLAYER compares, or infinity for an integrator
without threshold. SLAYER computes in int64. So do we, but a block of neurons whose values all stay below 2^30 and
whose decays are in 0..4096 gives the same integers in int32, which is several times as fast: every block is checked
while it runs, and done again in int64 when it does not qualify. The usual neuron goes through steps.py first, where
the limit is 2^24.

Arrays are float32, C-contiguous, and either (steps, neurons), which the inner loops run over as they are, or
(neurons, steps), which pass through small transposed buffers: the loops run over neighbours in memory and become
vector instructions, one per operation and 8 or 16 neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import BLOCK, CHUNK, LANES, check, check_decays, compiled, load, store
from .steps import is_power_of_two, step_forward, whole

INT32_LIMIT = np.float32(2**30)
_F1 = np.float32(1.0)
_F0 = np.float32(0.0)
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
    first: int, last: int, x: Any, by_step: bool, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, state_i: Any,
    state_v: Any, reset: Any, threshold: Any, scale: Any, graded: bool, current: Any, voltage: Any, spikes: Any,
    last_i: Any, last_v: Any,
) -> None:  # fmt: skip
    """Do what `forward` does for neurons first..last, one by one in int64."""
    steps = x.shape[0] if by_step else x.shape[1]
    values = np.zeros((steps, 1), np.float32)
    line = values[:, 0]
    for i in range(first, last):
        load(x, by_step, i, 1, 0, steps, values)
        if keep_a.size:
            keep = keep_a[(i // rows_a[0]) % rows_a[1]]
            leak_exact(line, line, keep, state_i[i], np.float32(np.inf), scale)
        last_i[i] = line[steps - 1]
        if current.size:
            store(values, by_step, i, 1, 0, steps, current)
        if keep_b.size:
            leak_exact(line, line, keep_b[(i // rows_b[0]) % rows_b[1]], state_v[i], reset, scale)
        last_v[i] = line[steps - 1]
        if voltage.size:
            store(values, by_step, i, 1, 0, steps, voltage)
        if spikes.size:
            for t in range(steps):
                line[t] = (line[t] if graded else _F1) if line[t] >= threshold else _F0
            store(values, by_step, i, 1, 0, steps, spikes)


@compiled
def advance(
    steps: int, t0: int, i0: int, x: Any, ka: Any, kb: Any, si: Any, sv: Any, has_a: bool, has_b: bool, reset: Any,
    threshold: Any, scale: Any, graded: bool, current: Any, voltage: Any, spikes: Any, last_i: Any, last_v: Any,
) -> Any:  # fmt: skip
    """Take `steps` steps from row t0 of the (steps, neurons) arrays, for the ka.size neurons from i0 on.

    last_i, last_v (lanes): scratch, and the newest values on return. Returns 0 if no value left the int32 path.
    """
    n = ka.shape[0]
    infinity = np.float32(np.inf)
    left = _I0
    for t in range(t0, t0 + steps):
        c = x[t, i0 : i0 + n]
        if has_a:
            target = current[t, i0 : i0 + n] if current.size else last_i
            left |= leak(c, ka, si, infinity, scale, target)
            c = target
        elif current.size:
            current[t, i0 : i0 + n] = c
        v = c
        if has_b:
            target = voltage[t, i0 : i0 + n] if voltage.size else last_v
            left |= leak(c, kb, sv, reset, scale, target)
            v = target
        elif voltage.size:
            voltage[t, i0 : i0 + n] = v
        if spikes.size:
            fire(v, threshold, graded, spikes[t, i0 : i0 + n])
        if t == t0 + steps - 1:
            last_i[:] = c
            last_v[:] = v
    return left


@compiled
def advance_plain(
    steps: int, t0: int, i0: int, x: Any, ka: Any, kb: Any, si: Any, sv: Any, fire_at: Any, reset_at: Any, scale: Any,
    voltage: Any, spikes: Any, last_i: Any, last_v: Any,
) -> Any:  # fmt: skip
    """Do what `advance` does for the usual neuron; without a voltage array, only the last one is kept."""
    n = ka.shape[0]
    unit = _F1 / scale
    left = _I0
    for t in range(t0, t0 + steps):
        volts = voltage[t, i0 : i0 + n] if voltage.size else last_v
        left |= step_forward(
            x[t, i0 : i0 + n], ka, kb, si, sv, scale, unit, fire_at, reset_at, volts, spikes[t, i0 : i0 + n]
        )
        if t == t0 + steps - 1 and voltage.size:
            last_v[:] = volts
    for lane in range(n):
        last_i[lane] = np.float32(si[lane]) * unit
    return left


@compiled
def forward(
    first: int, last: int, x: Any, by_step: bool, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, state_i: Any,
    state_v: Any, reset: Any, threshold: Any, scale: Any, graded: bool, current: Any, voltage: Any, spikes: Any,
    last_i: Any, last_v: Any,
) -> None:  # fmt: skip
    """Run neurons first..last over all steps.

    x float32: (steps, neurons) if by_step, else (neurons, steps). keep_a, keep_b: int64 4096 - decay, per decay;
    empty: that integrator is left out, and x goes to the next one as it is. rows_a, rows_b: (stride, count), see
    `start`. state_i, state_v (neurons) float32: the state before the first step, as SLAYER keeps it. current, voltage,
    spikes (x's shape): results; empty: not wanted. last_i, last_v (neurons): the last step's current and voltage,
    before reset. Raises ValueError for arrays of other shapes.
    """
    steps, neurons = x.shape if by_step else (x.shape[1], x.shape[0])
    check(first, last, neurons, steps, x.shape, current.shape, voltage.shape, spikes.shape)
    check_decays(keep_a.size, rows_a)
    check_decays(keep_b.size, rows_b)
    if not state_i.size == state_v.size == last_i.size == last_v.size == neurons:
        raise ValueError("fused kernel: states do not have one value per neuron")
    has_a, has_b = keep_a.size > 0, keep_b.size > 0
    width = BLOCK if by_step else LANES
    ka, kb = np.zeros(width, np.int32), np.zeros(width, np.int32)
    si, sv = np.zeros(width, np.int32), np.zeros(width, np.int32)
    li, lv = np.zeros(width, np.float32), np.zeros(width, np.float32)
    side = 0 if by_step else CHUNK
    xs = np.zeros((side, LANES), np.float32)
    cs = np.zeros((side if current.size else 0, LANES), np.float32)
    vs = np.zeros((side if voltage.size else 0, LANES), np.float32)
    ss = np.zeros((side if spikes.size else 0, LANES), np.float32)
    usual = has_a and has_b and not graded and not current.size and spikes.size > 0 and is_power_of_two(scale)
    fire_at, reset_at = whole(np.float64(threshold) * np.float64(scale)), whole(np.float64(reset))
    for begin in range(first, last, width):
        n = min(begin + width, last) - begin
        left = _I1
        for plain in (True, False):  # the one loop for the usual neuron, then the one for any
            if not left or (plain and not usual):
                continue
            fits = True
            if has_a:
                fits &= start(state_i, keep_a, rows_a, begin, n, scale, si, ka)
            if has_b:
                fits &= start(state_v, keep_b, rows_b, begin, n, scale, sv, kb)
            left = _I0 if fits else _I1
            for t0 in range(0, steps, steps if by_step else CHUNK):
                if not fits:
                    break
                t1 = steps if by_step else min(t0 + CHUNK, steps)
                if not by_step:
                    load(x, False, begin, n, t0, t1, xs)
                row, lane = (t0, begin) if by_step else (0, 0)
                z, c, v, s = (x, current, voltage, spikes) if by_step else (xs, cs, vs, ss)
                if plain:
                    left |= advance_plain(
                        t1 - t0, row, lane, z, ka[:n], kb[:n], si[:n], sv[:n], fire_at, reset_at, scale, v, s, li[:n],
                        lv[:n],
                    )  # fmt: skip
                else:
                    left |= advance(
                        t1 - t0, row, lane, z, ka[:n], kb[:n], si[:n], sv[:n], has_a, has_b, reset, threshold, scale,
                        graded, c, v, s, li[:n], lv[:n],
                    )  # fmt: skip
                if not by_step:
                    if current.size:
                        store(cs, False, begin, n, t0, t1, current)
                    if voltage.size:
                        store(vs, False, begin, n, t0, t1, voltage)
                    if spikes.size:
                        store(ss, False, begin, n, t0, t1, spikes)
        if left:
            run_exact(
                begin, begin + n, x, by_step, keep_a, keep_b, rows_a, rows_b, state_i, state_v, reset, threshold,
                scale, graded, current, voltage, spikes, last_i, last_v,
            )  # fmt: skip
        else:
            last_i[begin : begin + n] = li[:n]
            last_v[begin : begin + n] = lv[:n]
