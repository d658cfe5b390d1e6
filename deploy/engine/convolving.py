"""Sending spikes through convolutions, tap by tap onto vectors of output channels."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined

from . import tables as tb
from .instructions import add4, add8, add16, moved
from .synapses import scaled


@inlined
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


@inlined
def send_convolved(projection: Any, plan: Any, sent: Any, target: Any) -> Any:
    """Send spikes through a convolution, by the tables of `geometry.py`; return the synapses that they cross."""
    ring, slot, slots = target.ring, target.slot, target.slots
    stride, delays, shift = projection[tb.P_STRIDE], projection[tb.P_DELAYS], projection[tb.P_SHIFT]
    channels, width = projection[tb.C_CHANNELS], projection[tb.C_WIDTH]
    area, channels_last = projection[tb.C_HEIGHT] * width, projection[tb.C_LAST]
    rows, columns = moved(plan.geometry, projection[tb.C_ROWS]), moved(plan.geometry, projection[tb.C_COLUMNS])
    each, group, out, line = projection[tb.C_EACH], projection[tb.C_GROUP], projection[tb.C_OUT], projection[tb.C_LINE]
    kernel_row, kernel_size = projection[tb.C_TAPS] * each, projection[tb.C_KERNEL]
    weights, fan_out = moved(plan.weight16, projection[tb.P_WEIGHT]), moved(plan.fan_out, projection[tb.P_FAN])
    crossed = 0
    for k in range(sent.first, sent.last):
        source, factor = np.int64(sent.event[k]), np.int32(1 << shift)
        crossed += fan_out[source]
        if sent.graded:
            factor = np.int32(factor * np.int32(sent.value[k]))
        if channels_last:
            place = np.int64(np.uint32(source) // np.uint32(channels))
            channel = source - place * channels
        else:
            channel = np.int64(np.uint32(source) // np.uint32(area))
            place = source - channel * area
        y = np.int64(np.uint32(place) // np.uint32(width))
        x = place - y * width
        arrival = slot
        if delays >= 0:
            arrival += np.int64(plan.delay[delays + channel])
            arrival -= slots if arrival >= slots else 0
        base = arrival * stride + (0 if group == channels else channel // group * each)
        kernel = channel * kernel_size
        left, right = np.int64(columns[x]), np.int64(columns[x + 1])
        for i in range(np.int64(rows[y]), np.int64(rows[y + 1]), 2):
            w_line = kernel + np.int64(plan.geometry[i]) * kernel_row
            a_line = base + np.int64(plan.geometry[i + 1]) * line
            for j in range(left, right, 3):
                w = moved(weights, w_line + np.int64(plan.geometry[j]) * each)
                a = moved(ring, a_line + np.int64(plan.geometry[j + 1]) * out)
                n = np.int64(plan.geometry[j + 2]) * each
                if factor == 1:
                    _vector(w, n, a)
                else:
                    scaled(w, 0, n, factor, a, 0)
    return crossed
