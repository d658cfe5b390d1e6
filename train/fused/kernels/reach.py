"""Convolutions of sparse spikes: each spike adds its weights to the units that it reaches, and back.

The units that one input reaches lie in some lines, and in a line side by side; weights are stored in the same order.
"""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import compiled

from .vectors import add_run

PART = 16  # images whose gradients are added up on their own: so sums do not depend on the number of threads


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
                add_run(target, to, weights, at, n)
                to += strides[0]
                at += strides[1]


@compiled
def gather_gradients(
    first: int, last: int, offsets: Any, indices: Any, reach: Any, strides: Any, gradient: Any, out: Any
) -> None:
    """out[part] += gradient of the weights over the images of a part, for parts first..last.

    gradient (images, units); the other arguments are as in spread_spikes. out (parts, weights); more parts stay.
    """
    images = gradient.shape[0]
    if not (0 <= first <= last <= out.shape[0]) or out.shape[0] < -(-images // PART):
        raise ValueError("fused kernel: arrays do not fit together")
    _check(0, images, offsets, reach, strides, (gradient.shape[1], out.shape[1]))
    for part in range(first, last):
        target = out[part]
        for image in range(part * PART, min((part + 1) * PART, images)):
            source = gradient[image]
            for event in range(offsets[image], offsets[image + 1]):
                place = indices[event]
                at, to, n = np.int64(reach[place, 0]), np.int64(reach[place, 1]), np.int64(reach[place, 3])
                for _ in range(reach[place, 2]):
                    add_run(target, to, source, at, n)
                    at += strides[0]
                    to += strides[1]
