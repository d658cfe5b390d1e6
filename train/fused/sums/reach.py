"""Convolutions of sparse spikes: each spike adds its weights to the units that it reaches, and back.

An image is (height, width, channels), its currents are (height, width, units), both with the last axis innermost. The
units that one input reaches lie in some lines, and in a line side by side; weights are stored in the same order.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sdsnn_core.system.compiled import compiled

from ..kernels.threads import run_rows
from .events import Events

Tensor = torch.Tensor
SPARSE = 0.15  # share of inputs that spike; measured: above it, oneDNN's convolution takes less time
_PART = 16  # images whose gradients are added up on their own: so sums do not depend on the number of threads


def _adder(lanes: int) -> Any:
    """Return a function for kernels: add(target, to, source, at) adds `lanes` floats of one vector to another."""

    def type_and_code(_context: Any, target: Any, _to: Any, source: Any, _at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointers = []
            for index in (0, 2):
                array = context.make_array(signature.args[index])(context, builder, arguments[index])
                place = builder.gep(array.data, [arguments[index + 1]])
                pointers.append(builder.bitcast(place, ir.VectorType(ir.FloatType(), lanes).as_pointer()))
            builder.store(builder.fadd(*(builder.load(pointer, align=4) for pointer in pointers)), pointers[0], align=4)
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), code

    return intrinsic(type_and_code)


_add_16, _add_4 = _adder(16), _adder(4)


@compiled
def _add_run(target: Any, to: int, source: Any, at: int, n: int) -> None:
    """target[to : to + n] += source[at : at + n]; both one axis, contiguous float32."""
    done = 0
    while done + 16 <= n:
        _add_16(target, to + done, source, at + done)
        done += 16
    while done + 4 <= n:
        _add_4(target, to + done, source, at + done)
        done += 4
    while done < n:
        target[to + done] += source[at + done]
        done += 1


@compiled
def _check(first: int, last: int, offsets: Any, reach: Any, strides: Any, sizes: Any) -> None:
    """Raise ValueError unless first..last are images, and what an input reaches is inside an image and the weights."""
    wrong = not (0 <= first <= last < offsets.size) or reach.shape[1] != 4
    for place in range(reach.shape[0]):
        for k in range(2):
            begin, lines, n = reach[place, k], reach[place, 2], reach[place, 3]
            inside = begin >= 0 and begin + (lines - 1) * strides[k] + n <= sizes[k]
            wrong |= lines > 0 and n > 0 and not inside
    if wrong:
        raise ValueError("fused kernel: arrays do not fit together")


@compiled
def spread_spikes(
    first: int, last: int, offsets: Any, indices: Any, reach: Any, strides: Any, weights: Any, out: Any
) -> None:
    """out[image] = sum of the weights of an image's spikes, for images first..last.

    offsets, indices: as in Events. reach (inputs, 4) int32: the first unit and weight, lines, length of a line.
    strides: from line to line in an image's currents and in the weights. weights: one axis. out (images, units).
    """
    _check(first, last, offsets, reach, strides, (out.shape[1], weights.size))
    for image in range(first, last):
        target = out[image]
        target[:] = np.float32(0)
        for event in range(offsets[image], offsets[image + 1]):
            place = indices[event]
            to, at, n = np.int64(reach[place, 0]), np.int64(reach[place, 1]), np.int64(reach[place, 3])
            for _ in range(reach[place, 2]):
                _add_run(target, to, weights, at, n)
                to += strides[0]
                at += strides[1]


@compiled
def gather_gradients(
    first: int, last: int, offsets: Any, indices: Any, reach: Any, strides: Any, gradient: Any, out: Any
) -> None:
    """out[part] = gradient of the weights over the images of a part, for parts first..last.

    gradient (images, units); the other arguments are as in spread_spikes. out (parts, weights).
    """
    images = gradient.shape[0]
    if not (0 <= first <= last <= out.shape[0]) or out.shape[0] != -(-images // _PART):
        raise ValueError("fused kernel: arrays do not fit together")
    _check(0, images, offsets, reach, strides, (gradient.shape[1], out.shape[1]))
    for part in range(first, last):
        target = out[part]
        target[:] = np.float32(0)
        for image in range(part * _PART, min((part + 1) * _PART, images)):
            source = gradient[image]
            for event in range(offsets[image], offsets[image + 1]):
                place = indices[event]
                at, to, n = np.int64(reach[place, 0]), np.int64(reach[place, 1]), np.int64(reach[place, 3])
                for _ in range(reach[place, 2]):
                    _add_run(target, to, source, at, n)
                    at += strides[0]
                    to += strides[1]


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

    @functools.lru_cache(maxsize=64)  # noqa: B019 a few dozen convolutions in a process, tables are small
    def tables(self) -> tuple[Any, Any]:
        """Return `reach` and `strides` as the kernels take them."""
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

    @functools.lru_cache(maxsize=64)  # noqa: B019 as above
    def _orders(self) -> tuple[Tensor, Tensor]:
        """Return where each weight in the kernels' order stands in SLAYER's, and the other way round."""
        shape = (self.units, self.channels, self.rows.kernel, self.columns.kernel)
        places = torch.arange(math.prod(shape)).view(shape)
        order = places[:, :, self.rows.order][:, :, :, self.columns.order].permute(1, 2, 3, 0).reshape(-1)
        return order, order.argsort()

    def weights(self, weight: Tensor) -> Tensor:
        """Return a weight (units, channels, height, width) in the kernels' order, one axis."""
        return weight.reshape(-1)[self._orders()[0]]

    def sums(self, events: Events, at: int, images: int, weight: Tensor, out: Tensor) -> None:
        """Write the currents of images at..at + images into `out`."""
        reach, strides = self.tables()
        offsets = events.offsets[at : at + images + 1]
        work = int(offsets[-1] - offsets[0]) * self.units + out.numel() // 16
        run_rows(
            spread_spikes, images, work, offsets, events.indices, reach, strides, self.weights(weight).numpy(),
            out.view(images, -1).numpy(), share=_PART,
        )  # fmt: skip

    def gradient(self, events: Events, at: int, gradient: Tensor, shape: torch.Size) -> Tensor:
        """Return the gradient of a weight of `shape`, from that of the currents of the images from `at` on."""
        reach, strides = self.tables()
        images = gradient.shape[0]
        offsets = events.offsets[at : at + images + 1]
        parts = gradient.new_empty(-(-images // _PART), shape.numel())
        work = int(offsets[-1] - offsets[0]) * self.units + parts.numel() // 16
        run_rows(
            gather_gradients, len(parts), work, offsets, events.indices, reach, strides,
            gradient.reshape(images, -1).numpy(), parts.numpy(), share=1,
        )  # fmt: skip
        return parts.sum(0)[self._orders()[1]].view(shape)
