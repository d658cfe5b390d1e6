"""Pieces of a population that convolutions feed: boxes of channels, rows and columns, without expanding the kernel.

Inside a box, the list of a source pixel depends only on its channel, on which kernel rows reach which rows of the
box and the same for columns. Pixels with the same relative list share one stored list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise, product, starmap
from typing import Any

import numpy as np

from sdsnn_core.network import Convolution, Shape

from .chip import SynapseFormat
from .synapse_lists import Lists, list_format
from .types import Ints

_TRIES = 400  # shapes of boxes tried for one population
_SAME = 6  # of them with the same number of boxes


@dataclass(frozen=True)
class Box:
    """Channels, rows and columns first..last-1 of a (C, H, W) population."""

    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent in channels, rows, columns."""
        c, y, x = self.channels, self.rows, self.columns
        return c[1] - c[0], y[1] - y[0], x[1] - x[0]

    def neurons(self, shape: Shape) -> Ints:
        """Return flat indices of its neurons in the population, in C order."""
        c, y, x = (np.arange(*pair) for pair in (self.channels, self.rows, self.columns))
        flat = (c[:, None, None] * shape[1] + y[:, None]) * shape[2] + x
        return np.asarray(flat.reshape(-1), np.int64)


def boxes(shape: Shape, size: tuple[int, int, int]) -> Iterator[Box]:
    """Return boxes of at most `size` that cover `shape`, their extents as even as they can be."""

    def cuts(extent: int, step: int) -> list[tuple[int, int]]:
        parts = -(-extent // step)
        return list(pairwise(extent * i // parts for i in range(parts + 1)))

    return starmap(Box, product(*map(cuts, shape, size)))


Pattern = tuple[tuple[int, int], ...]  # (target relative to the first target, kernel place) along one axis


def _reach(taps: Ints, size: int, first: int, last: int) -> tuple[Ints, list[Pattern]]:
    """Return (size,) index of the pattern of each place (-1: none) at targets first..last-1, and the patterns."""
    index = np.full(size, -1, np.int64)
    patterns: dict[Pattern, int] = {}
    hits: dict[int, list[tuple[int, int]]] = {}
    for target, k in np.argwhere(taps[:, first:last].T >= 0).tolist():
        hits.setdefault(int(taps[k, first + target]), []).append((target, k))
    for place, pairs in hits.items():
        base = pairs[0][0]
        key = tuple((target - base, k) for target, k in pairs)
        index[place] = patterns.setdefault(key, len(patterns))
    return index, list(patterns)


class BoxCounter:
    """Counts the lists that one convolution brings to boxes; boxes that look alike are counted once."""

    boxed = True  # its targets are cut into boxes

    def __init__(self, convolution: Convolution, source_shape: Shape, layout: SynapseFormat) -> None:
        self.convolution, self.source_shape, self.layout = convolution, source_shape, layout
        self.form = list_format(convolution, layout)
        self.present = convolution.kernel != 0
        self.taps = convolution.taps(source_shape)
        self.known: dict[tuple[Any, ...], tuple[Ints, Ints]] = {}

    def lists(self, box: Box) -> Lists:
        """Return the lists of a box; exact, counted without the expansion.

        Where the chip does not share lists (layout.shared_convolution false), each axon stores its own.
        """
        _, height, width = self.source_shape
        row_of, rows = _reach(self.taps[0], height, *box.rows)
        column_of, columns = _reach(self.taps[1], width, *box.columns)
        key = (box.channels, box.shape, tuple(rows), tuple(columns))
        if key not in self.known:
            self.known[key] = self._count(box, rows, columns)
        n, span = self.known[key]
        if n.size:
            row, column = np.maximum(row_of, 0), np.maximum(column_of, 0)
            pattern = np.arange(n.size).reshape(n.shape)[:, row[:, None], column[None, :]]
            valid = (row_of >= 0)[:, None] & (column_of >= 0)[None, :] & (n.reshape(-1)[pattern] > 0)
            source = np.flatnonzero(valid.reshape(-1))
            pattern = pattern.reshape(-1)[source]
        else:
            source = pattern = np.zeros(0, np.int64)
        n, span = n.reshape(-1), span.reshape(-1)
        if not self.layout.shared_convolution:
            own = np.arange(source.size)
            return Lists(source, own, n[pattern], n[pattern], span[pattern], self.form, True)
        kept, renumbered = np.unique(pattern, return_inverse=True)
        return Lists(source, renumbered, n[pattern], n[kept], span[kept], self.form, True)

    def _count(self, box: Box, rows: list[Pattern], columns: list[Pattern]) -> tuple[Ints, Ints]:
        """Return (c_in, rows, columns) synapses of each list, and its span in the box."""
        c = self.convolution
        per_group_out, per_group_in = c.kernel.shape[0] // c.groups, c.kernel.shape[1]
        _, box_rows, box_columns = box.shape
        n = np.zeros((self.source_shape[0], len(rows), len(columns)), np.int64)
        span = np.zeros_like(n)
        out = np.arange(*box.channels)
        for group in np.unique(out // per_group_out).tolist():
            mine = np.flatnonzero(out // per_group_out == group)
            channels = slice(group * per_group_in, (group + 1) * per_group_in)
            part = self.present[out[mine]]  # (out, c_in / groups, kh, kw)
            for i, row in enumerate(rows):
                dy, ky = np.array(row).T
                for j, column in enumerate(columns):
                    dx, kx = np.array(column).T
                    hit = part[:, :, ky[:, None], kx[None, :]]
                    at = ((mine[:, None, None] * box_rows + dy[:, None]) * box_columns + dx)[:, None]
                    n[channels, i, j] = hit.sum(axis=(0, 2, 3))
                    last = np.where(hit, at, -1).max(axis=(0, 2, 3))
                    first = np.where(hit, at, np.iinfo(np.int64).max).min(axis=(0, 2, 3))
                    span[channels, i, j] = np.where(last >= 0, last - first + 1, 0)
        return n, span


def interval(shape: Shape, first: int, last: int, by_place: bool) -> list[Box]:
    """Return up to three boxes that are units first..last-1 of a population of `shape` (C, H, W).

    by_place: a unit is a place (row, column) with all its channels; otherwise it is a row of one channel.
    """
    inner = shape[2] if by_place else shape[1]

    def box(outer: tuple[int, int], part: tuple[int, int]) -> Box:
        return Box((0, shape[0]), outer, part) if by_place else Box(outer, part, (0, shape[2]))

    (a, skipped), (b, rest) = divmod(first, inner), divmod(last, inner)
    if a == b:
        return [box((a, a + 1), (skipped, rest))]
    parts = [box((a, a + 1), (skipped, inner))] if skipped else []
    whole = a + (skipped > 0)
    if b > whole:
        parts.append(box((whole, b), (0, inner)))
    return [*parts, box((b, b + 1), (0, rest))] if rest else parts


def box_sizes(shape: Shape, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield box sizes of at most `most` neurons: fewest boxes first, then the least border; at the end one neuron."""

    def steps(extent: int) -> list[int]:
        return sorted({-(-extent // parts) for parts in range(1, extent + 1)})

    ranked = []
    for c, y, x in product(*map(steps, shape)):
        if c * y * x <= most:
            parts = -(-shape[0] // c) * (-(-shape[1] // y)) * (-(-shape[2] // x))
            ranked.append((parts, parts * (y + 2) * (x + 2), (c, y, x)))
    by_parts = groupby(sorted(ranked), key=lambda item: item[0])
    few = (size for _, same in by_parts for *_, size in islice(same, _SAME))
    yield from islice(few, _TRIES)
    yield 1, 1, 1
