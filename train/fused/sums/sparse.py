"""Currents of a layer whose mask leaves few synapses: only those are multiplied, in both directions.

A row is one step of one sample. Some rows at a time are transposed to lie columns one another, so that one synapse
serves them all with a few vector instructions, whatever the rows hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from sdsnn_core.system.compiled import compiled, contracted, reassociated

from .. import buffers
from ..kernels.threads import run_rows
from .currents import Sums

Tensor = torch.Tensor
SPARSE = 0.1  # share of synapses left; measured: above it, oneDNN's product of matrices takes less time
SMALLEST = 2**14  # entries of the dense matrix; below, nothing is gained
_ROWS = 64
_UNITS = 16


@final
@dataclass(frozen=True)
class Pattern:
    """Where a matrix (units, inputs) has synapses: indices[offsets[unit] : offsets[unit + 1]] are the unit's inputs."""

    units: int
    offsets: Any  # int64 (units + 1)
    indices: Any  # int32 (synapses)
    back_offsets: Any  # int64 (inputs + 1): the same lists by input
    back_indices: Any  # int32 (synapses)
    order: Any  # int64 (synapses): where in the list by unit each of the list by input stands
    places: Tensor  # int64 (synapses): where in the weight each of the list by unit stands

    @classmethod
    def of(cls, mask: Tensor, channels_last: bool = False) -> Pattern | None:
        """Return where a mask (units, ...) bool on the CPU is True; None if that is too often or too small to gain.

        channels_last: mask is (units, channels, height, width, 1), and inputs come with channels innermost.
        """
        count = int(mask.sum())
        if mask.numel() < SMALLEST or count > SPARSE * mask.numel():
            return None
        places = torch.arange(mask.numel()).view(mask.shape)
        if channels_last:
            mask, places = (tensor.squeeze(-1).permute(0, 2, 3, 1) for tensor in (mask, places))
        matrix = mask.flatten(1)
        unit, source = (index.numpy() for index in matrix.nonzero().unbind(1))
        order = np.argsort(source, kind="stable")
        return cls(
            len(matrix), _offsets(unit, len(matrix)), source.astype(np.int32), _offsets(source, matrix.shape[1]),
            unit[order].astype(np.int32), order, places.flatten(1)[matrix],
        )  # fmt: skip


def _offsets(owners: Any, size: int) -> Any:
    """Return where each of `size` owners begins in a list sorted by owner."""
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=size))]).astype(np.int64)


@compiled
def _load(x: Any, first: int, n: int, begin: int, end: int, out: Any) -> None:
    """out[column - begin, row] = x[first + row, column] for n rows and the columns begin..end."""
    for row in range(n):
        for column in range(begin, end):
            out[column - begin, row] = x[first + row, column]


@contracted
def add_products(first: int, last: int, x: Any, offsets: Any, indices: Any, weights: Any, out: Any) -> None:
    """out[row, unit] = sum of weights[s] x[row, indices[s]] over a unit's synapses s, for rows first..last."""
    units, inputs = offsets.size - 1, x.shape[1]
    rows = 0 <= first <= last <= x.shape[0] == out.shape[0]
    if not rows or out.shape[1] != units or not offsets[units] == indices.size == weights.size:
        raise ValueError("fused kernel: arrays do not fit together")
    columns = np.zeros((inputs, _ROWS), np.float32)
    sums = np.zeros((_UNITS, _ROWS), np.float32)
    for begin in range(first, last, _ROWS):
        n = min(_ROWS, last - begin)
        for start in range(0, inputs, _UNITS):
            end = min(start + _UNITS, inputs)
            _load(x, begin, n, start, end, columns[start:end])
        for start in range(0, units, _UNITS):
            end = min(start + _UNITS, units)
            for unit in range(start, end):
                target = sums[unit - start]
                target[:] = np.float32(0)
                for s in range(offsets[unit], offsets[unit + 1]):
                    weight, source = weights[s], columns[indices[s]]
                    for row in range(_ROWS):
                        target[row] += weight * source[row]
            for row in range(n):
                for unit in range(start, end):
                    out[begin + row, unit] = sums[unit - start, row]


@reassociated
def add_weight_gradients(first: int, last: int, x: Any, gradient: Any, offsets: Any, indices: Any, out: Any) -> None:
    """out[s] += sum of gradient[row, unit] x[row, indices[s]] over the rows, for the synapses of units first..last."""
    rows, inputs = x.shape
    units = 0 <= first <= last <= gradient.shape[1] == offsets.size - 1
    if not units or gradient.shape[0] != rows or not offsets[offsets.size - 1] == indices.size == out.size:
        raise ValueError("fused kernel: arrays do not fit together")
    columns = np.zeros((inputs, _ROWS), np.float32)
    gradients = np.zeros((_UNITS, _ROWS), np.float32)
    for begin in range(0, rows, _ROWS):
        n = min(_ROWS, rows - begin)
        if n < _ROWS:
            columns[:], gradients[:] = np.float32(0), np.float32(0)
        for start in range(0, inputs, _UNITS):
            end = min(start + _UNITS, inputs)
            _load(x, begin, n, start, end, columns[start:end])
        for start in range(first, last, _UNITS):
            end = min(start + _UNITS, last)
            _load(gradient, begin, n, start, end, gradients)
            for unit in range(start, end):
                error = gradients[unit - start]
                for s in range(offsets[unit], offsets[unit + 1]):
                    source, total = columns[indices[s]], np.float32(0)
                    for row in range(_ROWS):
                        total += error[row] * source[row]
                    out[s] += total


@dataclass
class SparseSums(Sums):
    """The synapses of a pattern; weight (synapses,) in the order of its list by unit."""

    pattern: Pattern

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return (self.pattern.units,)

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        pattern, flat = self.pattern, x.flatten(1)
        assert flat.shape[1] == len(pattern.back_offsets) - 1, (flat.shape, len(pattern.back_offsets))
        out = buffers.empty((flat.shape[0], pattern.units))
        work = flat.shape[0] * len(pattern.indices)
        run_rows(
            add_products, flat.shape[0], work, flat.numpy(), pattern.offsets, pattern.indices, weight.numpy(),
            out.numpy(),
        )  # fmt: skip
        return out

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """See Sums."""
        pattern, error = self.pattern, gradient.flatten(1)
        rows = error.shape[0]
        work = rows * len(pattern.indices)
        if to_x is not None:
            run_rows(
                add_products, rows, work, error.numpy(), pattern.back_offsets, pattern.back_indices,
                weight.numpy()[pattern.order], to_x.view(rows, -1).numpy(),
            )  # fmt: skip
        if not to_weight:
            return None
        total = weight.new_zeros(weight.shape)
        run_rows(
            add_weight_gradients, error.shape[1], work, x.flatten(1).numpy(), error.numpy(), pattern.offsets,
            pattern.indices, total.numpy(),
        )  # fmt: skip
        return total
