"""SLAYER's pooling with channels innermost: sums over squares that do not overlap, times one weight.

Images are (images, height, width * channels) float32, C-contiguous.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sdsnn_core.system.compiled import compiled

from .. import buffers
from ..kernels.threads import run_rows
from .exactness import input_bound

Tensor = torch.Tensor
_I0 = np.int32(0)
_ONE_BITS = np.int32(0x3F800000)


@compiled
def check(first: int, last: int, large: Any, small: Any, kernel: Any, channels: int) -> None:
    """Raise ValueError unless the arrays fit together: no access goes astray."""
    height, width = kernel
    images = 0 <= first <= last <= large.shape[0] == small.shape[0]
    tiled = (small.shape[1] - 1) * height < large.shape[1] <= small.shape[1] * height
    if not (images and tiled and min(channels, height, width) > 0 and large.shape[2] <= small.shape[2] * width):
        raise ValueError("fused kernel: arrays do not fit together")
    if large.shape[2] % channels or small.shape[2] % channels:
        raise ValueError("fused kernel: rows are not pixels of so many channels")


@compiled
def add_line(source: Any, bits: Any, row: Any) -> Any:
    """row += source; return 0 if all values are 0 or 1. bits: source's memory as int32."""
    other = _I0
    for i in range(source.size):
        other |= np.int32((bits[i] != _I0) & (bits[i] != _ONE_BITS))
        row[i] += source[i]
    return other


@compiled
def pool_forward(first: int, last: int, x: Any, kernel: Any, channels: int, weight: Any, out: Any, others: Any) -> None:
    """Pool images first..last of x (images, height, width * channels) into out; kernel: (height, width).

    others (images) int32: 0 where an image's values are all 0 or 1.
    """
    check(first, last, x, out, kernel, channels)
    if others.size != x.shape[0]:
        raise ValueError("fused kernel: sizes do not have one value per image")
    bits = x.view(np.int32)
    height, width = kernel
    row = np.zeros(out.shape[2] * width, np.float32)
    n = x.shape[2]
    for image in range(first, last):
        other = _I0
        for y in range(out.shape[1]):
            row[:] = np.float32(0)
            for line in range(y * height, min((y + 1) * height, x.shape[1])):
                other |= add_line(x[image, line], bits[image, line], row[:n])
            target = out[image, y]
            target[:] = np.float32(0)
            for k in range(width):
                for pixel in range(target.size // channels):
                    source = (pixel * width + k) * channels
                    sums = target[pixel * channels : (pixel + 1) * channels]
                    for c in range(channels):
                        sums[c] += row[source + c]
            for i in range(target.size):
                target[i] *= weight
        others[image] = other


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


def pooled(shape: Sequence[int], kernel: tuple[int, int]) -> tuple[int, int, int]:
    """Return the pooled (height, width, channels) of images (..., height, width, channels)."""
    height, width, channels = shape[-3:]
    return -(-height // kernel[0]), -(-width // kernel[1]), channels


def pool(x: Tensor, weight: float, kernel: tuple[int, int]) -> tuple[Tensor, int]:
    """Pool x (images, height, width, channels) float32, contiguous; edges are filled with zeros.

    Returns the pooled images and a bound on |x|, -1 unless all are integers below 2^20.
    """
    count, height, _, channels = x.shape
    out = buffers.empty((count, *pooled(x.shape, kernel)))
    others = np.zeros(count, np.int32)
    lines = x.detach().view(count, height, -1)
    run_rows(
        pool_forward, count, x.numel(), lines.numpy(), kernel, channels,
        np.float32(weight), out.view(count, out.shape[1], -1).numpy(), others,
    )  # fmt: skip
    return out, input_bound(x) if others.any() else 1


def pool_back(gradient: Tensor, weight: float, kernel: tuple[int, int], out: Tensor) -> None:
    """Write the gradient of x into `out` (images, height, width, channels), from that of the pooled images."""
    count, height, _, channels = out.shape
    run_rows(
        pool_backward, count, out.numel(), gradient.view(count, gradient.shape[1], -1).numpy(), kernel, channels,
        np.float32(weight), out.view(count, height, -1).numpy(),
    )  # fmt: skip
