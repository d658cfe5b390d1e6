"""Pieces of a population that convolutions feed: boxes of channels, rows and columns, without expanding the kernel.

Inside a box, the list of a source pixel depends only on its channel, on which kernel rows reach which rows of the
box and the same for columns. Pixels with the same relative list share one stored list.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise, product, starmap
from typing import Any

import numpy as np

from sdsnn_core.network import Convolution, Network, Shape

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


def _reach(taps: Ints, size: int, first: int, last: int) -> tuple[Ints, Ints]:
    """Return (size,) the pattern of each source place at targets first..last-1, and the patterns.

    A pattern is (kernel places,) the target that each kernel place reaches, from the first one on; -1: none.
    """
    k, target = np.nonzero(taps[:, first:last] >= 0)
    reached = np.full((size, len(taps)), -1, np.int64)
    reached[taps[k, first + target], k] = target
    lowest = np.where(reached >= 0, reached, last).min(axis=1, keepdims=True)
    patterns, index = np.unique(np.where(reached >= 0, reached - lowest, -1), axis=0, return_inverse=True)
    return index.reshape(-1), patterns


class BoxCounter:
    """Counts the lists that one convolution brings to boxes; boxes that look alike are counted once."""

    boxed = True  # its targets are cut into boxes

    def __init__(self, network: Network, convolution: Convolution, layout: SynapseFormat) -> None:
        self.convolution, self.layout = convolution, layout
        self.source_shape = source_shape = network.shape_of(convolution.source)
        self.form = list_format(convolution, layout)
        self.present = (convolution.kernel != 0).astype(np.float32)
        self.reach = [
            functools.lru_cache(maxsize=4096)(functools.partial(_reach, taps, size))
            for taps, size in zip(convolution.taps(source_shape), source_shape[1:], strict=True)
        ]
        self.known: dict[tuple[Any, ...], tuple[Ints, Ints]] = {}

    def lists(self, box: Box) -> Lists:
        """Return the lists of a box; exact, counted without the expansion.

        Where the chip does not share lists (layout.shared_convolution false), each axon stores its own.
        """
        row, rows = self.reach[0](*box.rows)
        column, columns = self.reach[1](*box.columns)
        key = (box.channels, box.shape, rows.tobytes(), columns.tobytes())
        if key not in self.known:
            self.known[key] = self._count(box, rows, columns)
        n, span = self.known[key]
        present = n > 0
        needed = present[:, row][:, :, column]

        def of_axons(values: Ints) -> Ints:
            return values[:, row][:, :, column][needed]

        if not self.layout.shared_convolution:
            return Lists(needed.reshape(-1), of_axons(n), of_axons(span), self.form, True)
        number = (np.cumsum(present) - 1).reshape(n.shape)
        return Lists(needed.reshape(-1), n[present], span[present], self.form, True, lambda: of_axons(number))

    def _count(self, box: Box, y: Ints, x: Ints) -> tuple[Ints, Ints]:
        """Return (c_in, patterns of rows y, patterns of columns x) synapses of each list, and its span in the box."""
        c = self.convolution
        per_group_out, per_group_in = c.kernel.shape[0] // c.groups, c.kernel.shape[1]
        _, height, width = box.shape
        at = y[:, None, :, None] * width + x[:, None, :]  # (rows, columns, kh, kw) target within its channel
        lands = (y >= 0)[:, None, :, None] & (x >= 0)[:, None, :]
        n = np.zeros((self.source_shape[0], len(y), len(x)), np.int64)
        span = np.zeros_like(n)
        out = np.arange(*box.channels)
        for group in np.unique(out // per_group_out).tolist():
            mine = np.flatnonzero(out // per_group_out == group)
            sources = slice(group * per_group_in, (group + 1) * per_group_in)
            part = self.present[out[mine]]  # (out, c_in / groups, kh, kw)
            hits = (y >= 0).astype(np.float32) @ part @ (x >= 0).T.astype(np.float32)
            n[sources] = hits.sum(axis=0, dtype=np.float64)
            # The first and the last target lie in the first and the last channel that the list reaches.
            first, last = (hits > 0).argmax(axis=0), len(part) - 1 - (hits[::-1] > 0).argmax(axis=0)
            from_first, from_last = (
                (part[channel, np.arange(per_group_in)[:, None, None]] > 0) & lands for channel in (first, last)
            )
            begin = np.where(from_first, at, height * width).min(axis=(3, 4)) + mine[first] * height * width
            end = np.where(from_last, at, -1).max(axis=(3, 4)) + mine[last] * height * width
            span[sources] = np.where(n[sources] > 0, end - begin + 1, 0)
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
    whole = a + (skipped > 0)
    begun = (skipped > 0, (a, a + 1), (skipped, inner))
    parts = (begun, (b > whole, (whole, b), (0, inner)), (rest > 0, (b, b + 1), (0, rest)))
    return [box(outer, part) for wanted, outer, part in parts if wanted]


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
