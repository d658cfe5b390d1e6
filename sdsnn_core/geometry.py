"""Where the taps of a convolution land: the only copy of this arithmetic.

A convolution is a cross-correlation as torch.nn.functional.conv2d computes it. Along each axis, tap k of target place t
reads the source place t * stride - padding + k * dilation. Everything else here is a view of that table.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import NetworkError

Shape = tuple[int, ...]
Pair = tuple[int, int]
Ints = npt.NDArray[np.int64]


class Window(NamedTuple):
    """How a kernel moves over its source; pairs are (y, x)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def pair(values: Any, where: str) -> Pair:
    """Return one or two whole numbers as (y, x). Raises NetworkError naming `where` for anything else."""
    numbers = np.asarray(values).reshape(-1)
    if numbers.size not in (1, 2) or numbers.dtype.kind not in "iuf" or (numbers != np.rint(numbers)).any():
        shown = f"values of shape {np.shape(values)}" if np.size(values) > 2 else values
        raise NetworkError(f"{where}: expected one or two integers, got {shown}")
    y, x = np.broadcast_to(numbers, (2,))
    return int(y), int(x)


def padding_pair(given: Any, kernel: Shape, stride: Pair, dilation: Pair, where: str) -> Pair:
    """Return the padding (y, x) that a number, a pair, 'same' or 'valid' stands for.

    kernel: (kh, kw). Raises NetworkError for 'same' where it is not symmetric: a stride, or an even extent.
    """
    if not isinstance(given, str):
        return pair(given, f"{where} padding")
    if given == "valid":
        return 0, 0
    extent = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if given != "same" or stride != (1, 1) or any(e % 2 for e in extent):
        wanted = "integers, 'valid', or 'same' with stride 1 and odd kernels"
        raise NetworkError(f"{where} padding: expected {wanted}, got {given!r}")
    return extent[0] // 2, extent[1] // 2


def output_shape(source_shape: Shape, kernel_shape: Shape, window: Window) -> Shape:
    """Return (C_out, H_out, W_out) of a convolution.

    source_shape: (C_in, H, W). kernel_shape: (C_out, C_in / groups, kh, kw). Raises NetworkError if they do not fit.
    """
    channels = kernel_shape[1] * window.groups
    if len(source_shape) != 3 or source_shape[0] != channels:
        raise NetworkError(f"source: expected {channels} channels of rows and columns, got shape {source_shape}")
    rows, columns = taps(source_shape, kernel_shape, window)
    if not rows.size or not columns.size:
        raise NetworkError(f"source: expected places for a kernel of {kernel_shape[2:]}, got shape {source_shape}")
    return kernel_shape[0], rows.shape[1], columns.shape[1]


def axis_taps(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Ints:
    """Return the source place of each tap along one axis: (kernel, target places) int64, -1 in the padding."""
    extent = max(0, (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    place = np.arange(extent) * stride - padding + np.arange(kernel)[:, None] * dilation
    return np.where((place >= 0) & (place < size), place, -1)


def taps(source_shape: Shape, kernel_shape: Shape, window: Window) -> tuple[Ints, Ints]:
    """Return `axis_taps` of rows and of columns: (kh, H_out) and (kw, W_out)."""
    rows, columns = (
        axis_taps(size, kernel, *steps)
        for size, kernel, *steps in zip(source_shape[-2:], kernel_shape[-2:], *window[:3], strict=True)
    )
    return rows, columns


class Connections(NamedTuple):
    """Point-to-point connections, each (n,): flat source and target, and the index of the non-zero kernel entry."""

    pre: Ints
    post: Ints
    entry: tuple[Ints, ...]  # (output channel, channel inside its group, row, column)


def connections(source_shape: Shape, kernel: npt.NDArray[Any], window: Window) -> Connections:
    """Return the connections of a convolution, in order of the kernel's entries and the target's places.

    source_shape: (C_in, H, W). kernel: (C_out, C_in / groups, kh, kw); zeros make no connection.
    """
    _, height, width = source_shape
    c_out, h_out, w_out = output_shape(source_shape, kernel.shape, window)
    rows, columns = taps(source_shape, kernel.shape, window)
    out, inside, ky, kx = np.nonzero(kernel)
    y, x = rows[ky], columns[kx]
    k, to_y, to_x = np.nonzero((y >= 0)[:, :, None] & (x >= 0)[:, None, :])
    channel = out // (c_out // window.groups) * kernel.shape[1] + inside
    pre = (channel[k] * height + y[k, to_y]) * width + x[k, to_x]
    post = (out[k] * h_out + to_y) * w_out + to_x
    return Connections(pre, post, (out[k], inside[k], ky[k], kx[k]))


def _meets(taps: Ints, size: int) -> Ints:
    """Return (kernel, size) 0 or 1: whether a tap ever reads a place."""
    return np.asarray((taps[:, :, None] == np.arange(size)).sum(axis=1), np.int64)


def fan_out(source_shape: Shape, kernel: npt.NDArray[Any], window: Window) -> Ints:
    """Return how many connections leave each unit of the source: (C_in, H, W) int64. Parameters as `connections`."""
    rows, columns = taps(source_shape, kernel.shape, window)
    present = (kernel.reshape(window.groups, -1, *kernel.shape[1:]) != 0).sum(axis=1).reshape(-1, *kernel.shape[2:])
    by_row = np.einsum("ckl,ky->cyl", present, _meets(rows, source_shape[1]))
    return np.asarray(np.einsum("cyl,lx->cyx", by_row, _meets(columns, source_shape[2])), np.int64)
