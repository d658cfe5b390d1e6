"""Convolutions of sparse spikes: which units each input reaches, and with which weights.

An image is (height, width, channels), its currents are (height, width, units), both with the last axis innermost.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import buffers
from ..kernels.reach import PART, gather_gradients, spread_spikes
from ..kernels.threads import run_rows
from .currents import ConvSums, Sums
from .events import Events

Tensor = torch.Tensor
SPARSE = 0.1  # share of inputs that spike; measured: oneDNN's convolutions take as long at 0.1 to 0.15


@dataclass(frozen=True)
class Axis:
    """What a convolution does along one axis of an image."""

    inputs: int
    units: int
    kernel: int
    stride: int
    padding: int

    @property
    def order(self) -> list[int]:
        """The order of the kernel's places in which those that one input uses lie side by side, units ascending."""
        return sorted(range(self.kernel), key=lambda k: (k % self.stride, -k))

    def runs(self) -> list[tuple[int, int, int]]:
        """Return for each input the first unit that it reaches, where in `order` its weight is, and how many."""
        places, runs = self.order, []
        for shifted in range(self.padding, self.padding + self.inputs):
            units = {(shifted - k) // self.stride: k for k in places if (shifted - k) % self.stride == 0}
            inside = [unit for unit in units if 0 <= unit < self.units]
            first = min(inside, default=0)
            runs.append((first, places.index(units[first]) if inside else 0, len(inside)))
        return runs


@dataclass(frozen=True)
class Reach:
    """The units that each input of an image reaches, in a convolution without groups and dilation."""

    rows: Axis
    columns: Axis
    channels: int
    units: int

    @functools.cached_property
    def tables(self) -> tuple[Any, Any]:
        """The arguments `reach` and `strides` of the kernels."""
        rows, columns = (np.array(axis.runs(), np.int64).T for axis in (self.rows, self.columns))
        lines = self.columns.units * self.units, self.columns.kernel * self.units
        (row, row_weight, count), (column, column_weight, length) = rows[:, :, None, None], columns[:, None, :, None]
        channel = np.arange(self.channels) * self.rows.kernel
        parts = (
            row * lines[0] + column * self.units,
            (channel + row_weight) * lines[1] + column_weight * self.units,
            count,
            length * self.units,
        )
        shape = (self.rows.inputs, self.columns.inputs, self.channels)
        reach = np.stack([np.broadcast_to(part, shape).ravel() for part in parts], axis=1)
        return np.ascontiguousarray(reach, np.int32), lines

    @functools.cached_property
    def orders(self) -> tuple[Tensor, Tensor]:
        """Where each weight in the kernels' order stands in SLAYER's, and the other way round."""
        shape = (self.units, self.channels, self.rows.kernel, self.columns.kernel)
        places = torch.arange(math.prod(shape)).view(shape)
        order = places[:, :, self.rows.order][:, :, :, self.columns.order].permute(1, 2, 3, 0).reshape(-1)
        return order, order.argsort()


@functools.lru_cache(maxsize=64)
def _reach(conv: ConvSums, size: tuple[int, int], shape: tuple[int, ...]) -> Reach:
    """Return the reach of the inputs of images of a height and width, for a weight of a shape."""
    units = conv.shape(torch.empty(0, *size, 0), torch.empty(shape, device="meta"))
    rows, columns = (Axis(*axis) for axis in zip(size, units[:2], shape[2:], conv.stride, conv.padding, strict=True))
    return Reach(rows, columns, shape[1], shape[0])


class ReachSums(Sums):
    """A convolution of sparse spikes, without groups and dilation; weight as in ConvSums."""

    def __init__(self, conv: ConvSums, events: Events, images: torch.Size, weight: Tensor) -> None:
        self.conv, self.events = conv, events
        self.reach = _reach(conv, (images[-3], images[-2]), tuple(weight.shape))
        self.parts: Tensor | None = None  # the gradient so far, of parts of a chunk
        self.weights = weight.detach().reshape(-1)[self.reach.orders[0]].numpy()

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return self.reach.rows.units, self.reach.columns.units, self.reach.units

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        images, offsets = x.shape[0], self.events.offsets[at : at + x.shape[0] + 1]
        out = buffers.empty((images, *self.shape(x, weight)))
        work = int(offsets[-1] - offsets[0]) * self.reach.units + out.numel() // 16
        run_rows(
            spread_spikes, images, work, offsets, self.events.indices, *self.reach.tables, self.weights,
            out.view(images, -1).numpy(), share=PART,
        )  # fmt: skip
        return out

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """See Sums."""
        if to_x is not None:
            self.conv.backward(x, weight, gradient, to_x, to_weight=False)
        if not to_weight:
            return None
        images, offsets = x.shape[0], self.events.offsets[at : at + x.shape[0] + 1]
        parts, needed = self.parts, -(-images // PART)
        if parts is None or len(parts) < needed:  # chunks come from the last to the first; the last may be smaller
            more = weight.new_zeros(needed, weight.numel())
            parts = self.parts = more if parts is None else torch.cat([parts, more[len(parts) :]])
        work = int(offsets[-1] - offsets[0]) * self.reach.units + parts.numel() // 16
        run_rows(
            gather_gradients, needed, work, offsets, self.events.indices, *self.reach.tables,
            gradient.reshape(images, -1).numpy(), parts.numpy(), share=1,
        )  # fmt: skip
        if at > 0:  # more chunks follow
            return None
        self.parts = None
        return parts.sum(0)[self.reach.orders[1]].view(weight.shape)
