"""SLAYER's pooling with channels innermost: sums over squares that do not overlap, times one weight.

Images are (images, height, width * channels) float32, C-contiguous.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .. import buffers
from ..kernels.pooling import pool_backward, pool_forward
from ..kernels.threads import run_rows
from .exactness import input_bound

Tensor = torch.Tensor


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
