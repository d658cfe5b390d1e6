"""Lists of the inputs that spike, made where they are few: adding their weights is then faster than a product."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from sdsnn_core.system.compiled import compiled

from .. import buffers
from ..kernels.threads import run_rows
from .exactness import input_bound

Tensor = torch.Tensor
SPARSE = 0.2  # share of inputs that spike; measured: there it takes half the time, at 0.45 the same
SPARSE_WIDE = 0.08  # the same with more inputs than fit: measured, at 20,000 the sums take as long at 0.1
WIDE = 2048
FEW_ROWS = 64  # with fewer rows, copying the weights into tiles takes longer than the product
_GROUP = 16
_I0 = np.int32(0)
_ONE_BITS = np.int32(0x3F800000)


@dataclass(frozen=True)
class Events:
    """The inputs that spike in each row: indices[offsets[row] : offsets[row + 1]], ascending."""

    offsets: Any  # int64 (rows + 1)
    indices: Any  # int32


@compiled
def count_events(first: int, last: int, bits: Any, counts: Any) -> None:
    """Count the spikes of rows first..last, or -1 where a value is neither 0 nor 1.

    bits: (rows, inputs), the memory of float32 as int32.
    """
    if not (0 <= first <= last <= bits.shape[0] == counts.size):
        raise ValueError("fused kernel: counts do not have one value per row")
    for row in range(first, last):
        line, count, other = bits[row], _I0, _I0
        for i in range(line.size):
            count += np.int32(line[i] == _ONE_BITS)
            other |= np.int32((line[i] != _I0) & (line[i] != _ONE_BITS))
        counts[row] = -1 if other else count


@compiled
def list_events(first: int, last: int, bits: Any, offsets: Any, indices: Any) -> None:
    """Write the places of the values other than 0 of rows first..last."""
    if not (0 <= first <= last <= bits.shape[0] == offsets.size - 1) or offsets[offsets.size - 1] > indices.size:
        raise ValueError("fused kernel: offsets do not have one value per row, or point beyond the events")
    places = np.zeros(bits.shape[1] + 1, np.int32)  # one place more than inputs: the next write goes there
    for row in range(first, last):
        line, count = bits[row], 0
        whole = line.size // _GROUP * _GROUP
        for start in range(0, whole, _GROUP):
            some = _I0
            for i in range(_GROUP):
                some |= line[start + i]
            if some:
                for i in range(_GROUP):
                    places[count] = start + i
                    count += np.int64(line[start + i] != _I0)
        for i in range(whole, line.size):
            places[count] = i
            count += np.int64(line[i] != _I0)
        if count != offsets[row + 1] - offsets[row]:
            raise ValueError("fused kernel: offsets are not those of these events")
        for event in range(count):
            indices[offsets[row] + event] = places[event]


class Inputs(NamedTuple):
    """What is known of a block's inputs."""

    bound: int  # on their size, as exactness.input_bound gives it
    events: Events | None  # if they are spikes, and few
    spikes: bool  # whether all are 0 or 1


def few_enough(rows: int, inputs: int) -> float:
    """Return the share of inputs that spike up to which a dense block adds up their weights; negative for never."""
    if rows < FEW_ROWS:
        return -1.0
    return SPARSE if inputs <= WIDE else min(SPARSE, SPARSE_WIDE)


def look_at(x: Tensor, few: float | None = None) -> Inputs:
    """Look at inputs (rows, inputs) float32.

    few: the share of inputs that spike up to which events are listed; None for that of a dense block.
    """
    rows, inputs = x.shape
    few = few_enough(rows, inputs) if few is None else few
    bits = x.detach().view(torch.int32).numpy()
    counts = np.zeros(rows, np.int64)
    run_rows(count_events, rows, bits.size, bits, counts)
    if counts.min(initial=0) < 0:
        return Inputs(input_bound(x), None, spikes=False)
    offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    if offsets[-1] > few * rows * inputs:
        return Inputs(1, None, spikes=True)
    indices = buffers.empty((int(offsets[-1]),)).numpy().view(np.int32)
    run_rows(list_events, rows, bits.size, bits, offsets, indices)
    return Inputs(1, Events(offsets, indices), spikes=True)
