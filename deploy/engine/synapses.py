"""Sending spikes through matrices, stored as dense rows or compressed columns."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined

from . import tables as tb
from .instructions import (
    TILE,
    WIDE,
    add_rows8,
    add_rows8_narrow,
    add_rows8_wide,
    add_rows16,
    add_rows16_narrow,
    add_rows16_wide,
    add_values8,
    add_values8_narrow,
    add_values16,
    add_values16_narrow,
    moved,
)


@inlined
def _dense(projection: Any, plan: Any, sent: Any, sums: Any) -> Any:
    """Add the rows of the spikes to the accumulators `sums`."""
    stride, weight, shift = projection[tb.P_STRIDE], projection[tb.P_WEIGHT], np.int32(projection[tb.P_SHIFT])
    wide, tiled = stride // WIDE * WIDE, stride // TILE * TILE
    narrow = projection[tb.P_KIND] == tb.ROWS8
    limit = 255 if narrow else 127  # rows whose sum always fits 16 bits
    rows, first = sent.event, sent.first
    while first < sent.last:
        end = min(first + limit, sent.last)
        if narrow:
            for c in range(0, wide, WIDE):
                add_rows8_wide(moved(plan.weight8, weight + c), rows, first, end, stride, moved(sums, c), shift)
            for c in range(wide, tiled, TILE):
                add_rows8(moved(plan.weight8, weight + c), rows, first, end, stride, moved(sums, c), shift)
            for c in range(tiled, stride, tb.ALIGN):
                add_rows8_narrow(moved(plan.weight8, weight + c), rows, first, end, stride, moved(sums, c), shift)
        else:
            for c in range(0, wide, WIDE):
                add_rows16_wide(moved(plan.weight16, weight + c), rows, first, end, stride, moved(sums, c), shift)
            for c in range(wide, tiled, TILE):
                add_rows16(moved(plan.weight16, weight + c), rows, first, end, stride, moved(sums, c), shift)
            for c in range(tiled, stride, tb.ALIGN):
                add_rows16_narrow(moved(plan.weight16, weight + c), rows, first, end, stride, moved(sums, c), shift)
        first = end


@inlined
def _dense_values(projection: Any, plan: Any, sent: Any, sums: Any) -> Any:
    """Add the rows of the spikes, each times its value, to the accumulators `sums`."""
    if sent.first == sent.last:
        return
    stride, weight, shift = projection[tb.P_STRIDE], projection[tb.P_WEIGHT], np.int32(projection[tb.P_SHIFT])
    tiled, ends = stride // TILE * TILE, (sent.first, sent.last)
    if projection[tb.P_KIND] == tb.ROWS8:
        for c in range(0, tiled, TILE):
            add_values8(moved(plan.weight8, weight + c), sent.event, sent.value, ends, stride, moved(sums, c), shift)
        for c in range(tiled, stride, tb.ALIGN):
            own = moved(plan.weight8, weight + c)
            add_values8_narrow(own, sent.event, sent.value, ends, stride, moved(sums, c), shift)
    else:
        for c in range(0, tiled, TILE):
            add_values16(moved(plan.weight16, weight + c), sent.event, sent.value, ends, stride, moved(sums, c), shift)
        for c in range(tiled, stride, tb.ALIGN):
            own = moved(plan.weight16, weight + c)
            add_values16_narrow(own, sent.event, sent.value, ends, stride, moved(sums, c), shift)


@inlined
def _dense_of(projection: Any, plan: Any, sent: Any, sums: Any) -> Any:
    if sent.graded:
        _dense_values(projection, plan, sent, sums)
    else:
        _dense(projection, plan, sent, sums)


@inlined
def scaled(weights: Any, begin: Any, n: Any, factor: Any, ring: Any, at: Any) -> Any:
    """Add n neighbouring weights times `factor`."""
    for j in range(n):
        ring[at + j] = np.int32(ring[at + j] + np.int32(np.int32(weights[begin + j]) * factor))


@inlined
def _scattered(post: Any, weights: Any, n: Any, factor: Any, ring: Any) -> Any:
    """Add n weights times `factor` to the accumulators that `post` names."""
    for j in range(n):
        place = np.int64(post[j])
        ring[place] = np.int32(ring[place] + np.int32(np.int32(weights[j]) * factor))


@inlined
def send_columns(post: Any, projection: Any, plan: Any, sent: Any, target: Any) -> Any:
    """Send spikes through compressed columns, a segment per source and delay; return the synapses that they cross."""
    ring, slot, slots = target.ring, target.slot, target.slots
    # Fields are read here, once: after every sum that is written the compiler would have to read them again.
    stride, rows, delays = projection[tb.P_STRIDE], projection[tb.P_ROWS], projection[tb.P_DELAYS]
    begins = moved(plan.pointer, projection[tb.P_SEGMENTS])
    post, weights = moved(post, projection[tb.P_POST]), moved(plan.weight16, projection[tb.P_WEIGHT])
    fan_out = moved(plan.fan_out, projection[tb.P_FAN])
    plain = rows < 0 and delays < 0
    now, factor = moved(ring, slot * stride), np.int32(1 << projection[tb.P_SHIFT])
    crossed = 0
    if plain and not sent.graded:  # a loop of its own: lists are short, and a choice for each spike costs 5 to 10 %
        for k in range(sent.first, sent.last):
            pre = np.int64(sent.event[k])
            begin = begins[pre]
            n = begins[pre + 1] - begin
            crossed += n
            _scattered(moved(post, begin), moved(weights, begin), n, factor, now)
        return crossed
    if plain:
        for k in range(sent.first, sent.last):
            pre = np.int64(sent.event[k])
            begin = begins[pre]
            n = begins[pre + 1] - begin
            crossed += n
            value = np.int32(factor * np.int32(sent.value[k]))
            _scattered(moved(post, begin), moved(weights, begin), n, value, now)
        return crossed
    for k in range(sent.first, sent.last):
        pre, value = np.int64(sent.event[k]), factor
        crossed += fan_out[pre]
        if sent.graded:
            value = np.int32(factor * np.int32(sent.value[k]))
        begin_segment, end_segment = pre, pre + 1
        if rows >= 0:
            begin_segment, end_segment = plan.pointer[rows + pre], plan.pointer[rows + pre + 1]
        for segment in range(begin_segment, end_segment):
            arrival = slot
            if delays >= 0:
                arrival += np.int64(plan.delay[delays + segment])
                arrival -= slots if arrival >= slots else 0
            begin = begins[segment]
            n = begins[segment + 1] - begin
            _scattered(moved(post, begin), moved(weights, begin), n, value, moved(ring, arrival * stride))
    return crossed


@inlined
def send_rows(projection: Any, plan: Any, sent: Any, target: Any) -> Any:
    """Send spikes through dense rows; return the synapses that they cross."""
    ring, slot, slots = target.ring, target.slot, target.slots
    stride, delays, fan_out = projection[tb.P_STRIDE], projection[tb.P_DELAYS], projection[tb.P_FAN]
    crossed = 0
    for k in range(sent.first, sent.last):
        crossed += plan.fan_out[fan_out + np.int64(sent.event[k])]
    if delays < 0:
        _dense_of(projection, plan, sent, moved(ring, slot * stride))
        return crossed
    for k in range(sent.first, sent.last):
        arrival = slot + np.int64(plan.delay[delays + np.int64(sent.event[k])])
        arrival -= slots if arrival >= slots else 0
        single = tb.Sent(sent.event, sent.value, sent.graded, k, k + 1)
        _dense_of(projection, plan, single, moved(ring, arrival * stride))
    return crossed
