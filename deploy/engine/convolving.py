"""Sending spikes through convolutions, tap by tap onto vectors of output channels."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined, spliced

from . import tables as tb
from .instructions import VECTOR, add4, add8, add16, add_scaled_windows, add_windows, moved
from .synapses import scaled


@spliced
def _vector(weights: Any, n: Any, ring: Any) -> Any:
    """Add n neighbouring weights to as many accumulators; n is small, so the compiler's own vector loop is not used."""
    k = 0
    while k + 16 <= n:
        add16(weights, k, ring, k)
        k += 16
    if k + 8 <= n:
        add8(weights, k, ring, k)
        k += 8
    if k + 4 <= n:
        add4(weights, k, ring, k)
        k += 4
    while k < n:
        ring[k] = np.int32(ring[k] + np.int32(weights[k]))
        k += 1


@spliced
def _divided(n: Any, factor: Any, shift: Any) -> Any:
    """n // d, by the factor and shift of `geometry.reciprocal`."""
    return np.int64(np.uint64(np.uint64(n) * np.uint64(factor)) >> np.uint64(shift))


@inlined
def send_convolved(projection: Any, plan: Any, sent: Any, target: Any) -> Any:
    """Send spikes through a convolution, by the tables of `geometry.py`; return the synapses that they cross."""
    ring, slot, slots = target.ring, target.slot, target.slots
    stride, delays, shift = projection[tb.P_STRIDE], projection[tb.P_DELAYS], projection[tb.P_SHIFT]
    channels, last = projection[tb.C_CHANNELS], projection[tb.C_LAST]
    divisor = channels if last else projection[tb.C_HEIGHT] * projection[tb.C_WIDTH]
    factor_c, shift_c = projection[tb.C_FACTOR], projection[tb.C_SHIFT]
    factor_g, shift_g = projection[tb.C_FACTOR_GROUP], projection[tb.C_SHIFT_GROUP]
    each, run = projection[tb.C_EACH], projection[tb.C_RUN]
    numbers, kernel = projection[tb.C_PLACE], projection[tb.C_KERNEL]
    windows = moved(plan.geometry, projection[tb.C_WINDOWS])
    weights, fan_out = moved(plan.weight16, projection[tb.P_WEIGHT]), moved(plan.fan_out, projection[tb.P_FAN])
    plain = not sent.graded and shift == 0 and delays < 0 and factor_g == 0
    now = moved(ring, slot * stride)
    crossed = 0
    if plain:  # a loop of its own, with as few instructions as possible: a spike takes 20 to 40 cycles
        for k in range(sent.first, sent.last):
            source = np.int64(sent.event[k])
            crossed += fan_out[source]
            high = _divided(source, factor_c, shift_c)
            low = source - high * divisor
            channel, place = (low, high) if last else (high, low)
            window, w = moved(windows, place * numbers), moved(weights, channel * kernel)
            if run % VECTOR == 0:
                add_windows(window, w, now, run, np.int32(1))
            else:
                for i in range(1, 2 * np.int64(window[0]), 2):
                    _vector(moved(w, np.int64(window[i])), run, moved(now, np.int64(window[i + 1])))
        return crossed
    for k in range(sent.first, sent.last):
        source, factor = np.int64(sent.event[k]), np.int32(1 << shift)
        crossed += fan_out[source]
        if sent.graded:
            factor = np.int32(factor * np.int32(sent.value[k]))
        high = _divided(source, factor_c, shift_c)
        low = source - high * divisor
        channel, place = (low, high) if last else (high, low)
        arrival = slot
        if delays >= 0:
            arrival += np.int64(plan.delay[delays + channel])
            arrival -= slots if arrival >= slots else 0
        sums = moved(ring, arrival * stride + _divided(channel, factor_g, shift_g) * each)
        window, w = moved(windows, place * numbers), moved(weights, channel * kernel)
        if run % VECTOR == 0:
            add_scaled_windows(window, w, sums, run, factor)
        else:
            for i in range(1, 2 * np.int64(window[0]), 2):
                scaled(w, np.int64(window[i]), run, factor, sums, np.int64(window[i + 1]))
    return crossed
