"""SLAYER's pooling with channels innermost: sums over squares that do not overlap, times one weight.

Images are (images, height, width * channels) float32, C-contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import buffers
from .rows import compiled, run_rows

Tensor = torch.Tensor
_F0 = np.float32(0.0)
_HALF = np.float32(0.5)
_LIMIT = np.float32(2**20)
_I0 = np.int32(0)


@compiled
def check(first: int, last: int, large: Any, small: Any, kernel: Any, channels: int) -> None:
    """Raise ValueError unless the arrays fit together: no access goes astray."""
    height, width = kernel
    if not (0 <= first <= last <= large.shape[0] == small.shape[0]) or channels < 1 or height < 1 or width < 1:
        raise ValueError("fused kernel: these images or channels do not exist")
    if large.shape[1] > small.shape[1] * height or large.shape[2] > small.shape[2] * width:
        raise ValueError("fused kernel: arrays differ in shape")
    if large.shape[2] % channels or small.shape[2] % channels:
        raise ValueError("fused kernel: rows are not pixels of so many channels")


@compiled
def pool_forward(first: int, last: int, x: Any, kernel: Any, channels: int, weight: Any, out: Any, sizes: Any) -> None:
    """Pool images first..last of x (images, height, width * channels) into out; kernel: (height, width).

    sizes (images) int32: a bound on an image's |values|, below twice the largest, or -1 unless all are integers below
    2^20. Raises ValueError for arrays of other shapes.
    """
    check(first, last, x, out, kernel, channels)
    if sizes.size != x.shape[0]:
        raise ValueError("fused kernel: sizes do not have one value per image")
    height, width = kernel
    step = width * channels
    row = np.zeros(out.shape[2] * width, np.float32)
    n = x.shape[2]
    for image in range(first, last):
        bits, wrong = _I0, _I0
        for y in range(out.shape[1]):
            row[:] = _F0
            for line in range(y * height, min((y + 1) * height, x.shape[1])):
                source = x[image, line]
                for i in range(n):
                    value = source[i]
                    inside = value if abs(value) < _LIMIT else _HALF  # NaN too becomes what is no integer
                    whole = np.int32(inside)
                    wrong |= np.int32(np.float32(whole) != inside)
                    bits |= np.int32(abs(whole))
                    row[i] += value
            target = out[image, y]
            for pixel in range(target.size // channels):
                sums = target[pixel * channels : (pixel + 1) * channels]
                for c in range(channels):
                    sums[c] = row[pixel * step + c]
                for k in range(1, width):
                    for c in range(channels):
                        sums[c] += row[pixel * step + k * channels + c]
            for i in range(target.size):
                target[i] *= weight
        sizes[image] = np.int32(-1) if wrong else bits


@compiled
def pool_backward(first: int, last: int, gradient: Any, kernel: Any, channels: int, weight: Any, out: Any) -> None:
    """Write the gradient of images first..last into out (images, height, width * channels), from the pooled ones'."""
    check(first, last, out, gradient, kernel, channels)
    height, width = kernel
    step = width * channels
    row = np.zeros(gradient.shape[2] * width, np.float32)
    n = out.shape[2]
    for image in range(first, last):
        for y in range(gradient.shape[1]):
            source = gradient[image, y]
            for pixel in range(source.size // channels):
                for k in range(width):
                    for c in range(channels):
                        row[pixel * step + k * channels + c] = weight * source[pixel * channels + c]
            for line in range(y * height, min((y + 1) * height, out.shape[1])):
                out[image, line] = row[:n]


def pool(x: Tensor, weight: float, kernel: tuple[int, int]) -> tuple[Tensor, int]:
    """Pool x (images, height, width, channels) float32, contiguous; edges are filled with zeros.

    Returns the pooled images and a bound on |x|, -1 unless all are integers below 2^20.
    """
    count, height, width, channels = x.shape
    out = buffers.empty((count, -(-height // kernel[0]), -(-width // kernel[1]), channels))
    sizes = np.zeros(count, np.int32)
    run_rows(
        pool_forward, count, x.numel(), x.detach().view(count, height, -1).numpy(), kernel, channels,
        np.float32(weight), out.view(count, out.shape[1], -1).numpy(), sizes,
    )  # fmt: skip
    return out, (int(sizes.max()) if int(sizes.min()) >= 0 else -1) if count else 0


def pool_back(gradient: Tensor, weight: float, kernel: tuple[int, int], shape: torch.Size) -> Tensor:
    """Return the gradient of x (images, height, width, channels), from that of what `pool` made of it."""
    count, height, _, channels = shape
    out = buffers.empty(shape)
    run_rows(
        pool_backward, count, out.numel(), gradient.view(count, gradient.shape[1], -1).numpy(), kernel, channels,
        np.float32(weight), out.view(count, height, -1).numpy(),
    )  # fmt: skip
    return out
