"""Where the taps of a convolution land, as tables: the compiled code needs no division, and no test of edges.

Every spike takes the same number of steps, so that the processor foresees them: a source line has as many target lines
as any other, a source column as many runs of target columns. What is missing is filled up with weights of 0.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Convolution, Shape

from . import tables as tb

Ints = npt.NDArray[np.int64]
NO_TAP = -1  # in an order of taps: a weight of 0


def landings(taps: Ints, size: int) -> list[list[tuple[int, int]]]:
    """Return for every source place along one axis the (tap, target place) pairs that it reaches; taps: of the axis."""
    result: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    for tap, target in np.argwhere(taps >= 0).tolist():
        result[taps[tap, target]].append((tap, target))
    return result


class Columns(NamedTuple):
    """How source columns reach target columns.

    order: the taps of a kernel row as they are stored, some of them NO_TAP. run: taps that lie next to each other both
    in storage and in the target. place, target: (source columns, runs) first stored tap and target column of each run.
    """

    order: list[int]
    run: int
    place: Ints
    target: Ints


def columns(convolution: Convolution, width: int) -> Columns:
    """Return the columns of a convolution: one run for each source column where that is possible, else single taps.

    A source column x reaches the taps of one residue: (x + padding - tap * dilation) modulo stride is 0. Its targets
    follow each other where these taps are stride apart; they are stored so that a window over them and the zeros
    around them begins at any target column.
    """
    taps = convolution.taps((0, 0, width))[1]
    kernel, extent = taps.shape
    stride, padding, dilation = (each[1] for each in convolution.window[:3])
    residues = [[k for k in range(kernel)[::-1] if k * dilation % stride == residue] for residue in range(stride)]
    run = max(map(len, residues))
    together = all(dilation * (a - b) == stride for own in residues for a, b in itertools.pairwise(own))
    if convolution.groups > 1 or run > extent or not together:
        return _single(taps, width)
    order, begin = [NO_TAP] * run, []
    for own in residues:
        begin.append(len(order))
        order += [*own, *[NO_TAP] * run]
    place, target = np.zeros((2, width, 1), np.int64)
    for x in range(width):
        own = residues[residue := (x + padding) % stride]
        if not own:
            continue
        first = (x + padding - own[0] * dilation) // stride  # may lie outside
        target[x] = min(max(first, 0), extent - run)
        if -len(own) < first < extent:
            place[x] = begin[residue] + int(target[x, 0]) - first
    return Columns(order, run, place, target)


def _single(taps: Ints, width: int) -> Columns:
    """Return columns as runs of one tap."""
    pairs = landings(taps, width)
    place = np.full((width, max(map(len, pairs))), len(taps))
    target = np.zeros_like(place)
    for x, own in enumerate(pairs):
        for j, (tap, column) in enumerate(own):
            place[x, j], target[x, j] = tap, column
        target[x, len(own) :] = own[0][1] if own else 0
    return Columns([*range(len(taps)), NO_TAP], 1, place, target)


class Geometry(NamedTuple):
    """Tables of a convolution, in elements of its stored kernel and of a slot of its target's ring.

    windows: (source places, 1 + 2 * most runs): the number of its runs, and for each run where its weights begin in the
    kernel of an input channel, and where they go. run: weights of a run. weights: as `stored_kernel`.
    """

    windows: Ints
    run: int
    weights: npt.NDArray[np.int16]


def geometry(convolution: Convolution, source_shape: Shape) -> Geometry:
    """Return the tables that `convolving.send_convolved` reads."""
    c_out = convolution.kernel.shape[0]
    each = c_out // convolution.groups
    across = columns(convolution, source_shape[2])
    row_taps, column_taps = convolution.taps(source_shape)
    row_size, line = len(across.order) * each, column_taps.shape[1] * c_out
    down = landings(row_taps, source_shape[1])
    runs = across.place.shape[1]
    windows = np.zeros((len(down), source_shape[2], 1 + 2 * runs * max(map(len, down))), np.int64)
    for y, own in enumerate(down):
        windows[y, :, 0] = runs * len(own)
        for i, (tap, target) in enumerate(own):
            of_run = windows[y, :, 1 + 2 * runs * i : 1 + 2 * runs * (i + 1)]
            of_run[:, ::2] = tap * row_size + across.place * each
            of_run[:, 1::2] = target * line + across.target * c_out
    return Geometry(windows.reshape(-1, windows.shape[2]), across.run * each, stored_kernel(convolution, across.order))


def stored_kernel(convolution: Convolution, order: list[int]) -> npt.NDArray[np.int16]:
    """Return the kernel as (C_in, kh, taps in `order`, C_out / groups) int16."""
    c_out, c_in, kh, kw = convolution.kernel.shape
    grouped = convolution.kernel.reshape(convolution.groups, c_out // convolution.groups, c_in, kh, kw)
    by_source = grouped.transpose(0, 2, 3, 4, 1).reshape(convolution.groups * c_in, kh, kw, -1)
    shape = (*by_source.shape[:2], len(order), by_source.shape[3])
    stored = tb.aligned(math.prod(shape), np.int16).reshape(shape)
    taps = np.array(order)
    stored[:, :, taps != NO_TAP] = by_source[:, :, taps[taps != NO_TAP]]
    return stored


def reciprocal(divisor: int) -> tuple[int, int]:
    """Return (factor, shift) such that n // divisor is n * factor >> shift for every n below 2**31.

    factor is 2**shift / divisor rounded up, by less than 1, so the product is too large by less than n; with a
    shift of 31 bits and those of the divisor that is less than 1 / divisor of the result's unit.
    """
    shift = 31 + divisor.bit_length()
    return -(-(1 << shift) // divisor), shift
