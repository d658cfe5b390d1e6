"""Where the places of a convolution's kernel land, counted along each axis and never expanded."""

from __future__ import annotations

import numpy as np

from sdsnn_core.network import Convolution, Shape

from .types import Bools, Ints


def landings(p: Convolution, shape: Shape) -> Ints:
    """Return (kh, kw) how many places of the source each kernel place meets."""
    rows, columns = _axes(p, shape)
    return np.array([[row.size * column.size for column in columns] for row in rows], np.int64)


def reached(p: Convolution, shape: Shape) -> Bools:
    """Return (C * H * W,) bool: which source neurons have a synapse at all."""
    rows, columns = _axes(p, shape)
    per_group_out, per_group_in = p.kernel.shape[0] // p.groups, p.kernel.shape[1]
    result = np.zeros(shape, np.bool_)
    for channel in range(shape[0]):
        group, inside = divmod(channel, per_group_in)
        part = (p.kernel[group * per_group_out : (group + 1) * per_group_out, inside] != 0).any(axis=0)
        for ky, kx in np.argwhere(part):
            result[channel][np.ix_(rows[ky], columns[kx])] = True
    return result.reshape(-1)


def _axis(source: int, made: int, k: int, stride: int, padding: int, dilation: int) -> Ints:
    """Return the source places that kernel place k meets along one axis."""
    at = np.arange(made) * stride - padding + k * dilation
    return at[(at >= 0) & (at < source)]


def _axes(p: Convolution, shape: Shape) -> tuple[list[Ints], list[Ints]]:
    _, height, width = p.output_shape(shape)
    rows = [_axis(shape[1], height, k, p.stride[0], p.padding[0], p.dilation[0]) for k in range(p.kernel.shape[2])]
    columns = [_axis(shape[2], width, k, p.stride[1], p.padding[1], p.dilation[1]) for k in range(p.kernel.shape[3])]
    return rows, columns
