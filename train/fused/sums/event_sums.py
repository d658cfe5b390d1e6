"""Sums of the weights of inputs that spike, and the gradient of those weights, a tile of units at a time.

With up to some 1,000 inputs, the weights of a tile stay in a core's second cache while the rows pass by. Both
directions are the same sum over sources: the current of a unit adds up its weights over the inputs that spike, and the
gradient of an input's weight adds up the gradient of the unit's currents over the rows in which that input spikes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sdsnn_core.system.compiled import compiled

from .. import buffers
from ..kernels.threads import run_rows
from .events import Events

Tensor = torch.Tensor
_WIDTHS = range(96, 161, 16)  # units of a tile: measured, 64 units take 1.3 times as long as 128
_AT_ONCE = 8  # sources added per load and store of a target; add_sources is written for eight
_PLACES = 512  # inputs: rows of the weight that lie a multiple apart share few places of a cache


@compiled
def add_sources(first: int, last: int, offsets: Any, indices: Any, tiles: Any, out: Any) -> None:
    """out[row, unit] += the sum of the values of the row's sources at that unit, for rows first..last.

    offsets, indices: the sources of each row, as in Events. tiles[t, source, i]: the source's value at unit
    t * width + i. out (rows, units).
    """
    n_tiles, _, width = tiles.shape
    units, rows = out.shape[1], out.shape[0]
    if not (0 <= first <= last <= rows == offsets.size - 1) or not (n_tiles - 1) * width < units <= n_tiles * width:
        raise ValueError("fused kernel: arrays differ in shape")
    if offsets[rows] > indices.size:
        raise ValueError("fused kernel: offsets point beyond the events")
    for number in range(n_tiles):
        tile, start = tiles[number], number * width
        size = min(width, units - start)
        for row in range(first, last):
            target = out[row, start : start + size]
            event, end = offsets[row], offsets[row + 1]
            while event + _AT_ONCE <= end:
                a, b = tile[indices[event]], tile[indices[event + 1]]
                c, d = tile[indices[event + 2]], tile[indices[event + 3]]
                e, f = tile[indices[event + 4]], tile[indices[event + 5]]
                g, h = tile[indices[event + 6]], tile[indices[event + 7]]
                for i in range(size):
                    target[i] += ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]))
                event += _AT_ONCE
            for rest in range(event, end):
                source = tile[indices[rest]]
                for i in range(size):
                    target[i] += source[i]


@compiled
def by_input(first: int, last: int, offsets: Any, indices: Any, begins: Any, rows: Any) -> None:
    """List the rows first..last, counted from `first`, in which each input spikes: rows[begins[i] : begins[i + 1]].

    begins (inputs + 1) and rows are written. offsets, indices: as in Events.
    """
    if not 0 <= first <= last < offsets.size:
        raise ValueError("fused kernel: arrays differ in shape")
    inputs, start, end = begins.size - 1, offsets[first], offsets[last]
    if end > indices.size or end - start > rows.size:
        raise ValueError("fused kernel: offsets point beyond the events")
    begins[:] = 0
    for event in range(start, end):
        begins[indices[event] + 1] += 1
    for i in range(inputs):
        begins[i + 1] += begins[i]
    for row in range(first, last):
        for event in range(offsets[row], offsets[row + 1]):
            i = indices[event]
            rows[begins[i]] = row - first
            begins[i] += 1
    for i in range(inputs, 0, -1):  # each was moved to its end, where the next one begins
        begins[i] = begins[i - 1]
    begins[0] = 0


def tiled(values: Tensor) -> Tensor:
    """Return values (sources, units) as (tiles, sources, width), the last tile filled up with zeros."""
    units = values.shape[1]
    width = min(_WIDTHS, key=lambda w: (-units % w, abs(w - 128))) if units > _WIDTHS[-1] else -(-units // 16) * 16
    if len(values) % _PLACES == 0:
        values = buffers.packed(values)
    whole = units // width
    out = buffers.empty((-(-units // width), len(values), width))
    if whole:
        out[:whole] = values[:, : whole * width].reshape(-1, whole, width).transpose(0, 1)
    if whole < len(out):
        out[whole] = 0
        out[whole, :, : units - whole * width] = values[:, whole * width :]
    return out


def sums_of(events: Events, at: int, rows: int, tiles: Tensor, units: int) -> Tensor:
    """Return (rows, units): the sums of rows at..at + rows. tiles: of the weights (inputs, units)."""
    out = buffers.empty((rows, units)).zero_()
    offsets = events.offsets[at : at + rows + 1]
    run_rows(add_sources, rows, out.numel(), offsets, events.indices, tiles.numpy(), out.numpy())
    return out


def add_gradient(events: Events, at: int, gradient: Tensor, out: Tensor) -> None:
    """Add the gradient of weights (inputs, units) to `out`; gradient (rows, units): of the sums of rows from `at`."""
    inputs, units = out.shape
    begins = np.empty(inputs + 1, np.int64)
    last = at + len(gradient)
    rows = np.empty(int(events.offsets[last] - events.offsets[at]), np.int32)
    by_input(at, last, events.offsets, events.indices, begins, rows)
    run_rows(add_sources, inputs, len(rows) * units, begins, rows, tiled(gradient).numpy(), out.numpy(), share=8)
