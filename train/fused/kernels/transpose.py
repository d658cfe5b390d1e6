"""Moving axes of large tensors, a few cache lines at a time."""

from typing import Any

from sdsnn_core.system.compiled import compiled

_BLOCK = 16  # float32 in a cache line
_COLUMNS = 128  # as many lines are written in turns


@compiled
def transpose_images(first: int, last: int, x: Any, out: Any) -> None:
    """out[image, column, row] = x[image, row, column] for images first..last; float32, C-contiguous."""
    images, rows, columns = x.shape
    if not (0 <= first <= last <= images) or out.shape != (images, columns, rows):
        raise ValueError("fused kernel: arrays do not fit together")
    for image in range(first, last):
        source, target = x[image].reshape(rows * columns), out[image].reshape(rows * columns)
        for begin in range(0, columns, _COLUMNS):
            end = min(begin + _COLUMNS, columns)
            for row in range(rows):
                for column in range(begin, end):
                    target[column * rows + row] = source[row * columns + column]


@compiled
def steps_outermost(first: int, last: int, x: Any, out: Any) -> None:
    """out[step, sample, place, channel] = x[sample, channel, place, step] for samples first..last."""
    samples, channels, places, steps = x.shape
    if not (0 <= first <= last <= samples) or out.shape != (steps, samples, places, channels):
        raise ValueError("fused kernel: arrays do not fit together")
    for sample in range(first, last):
        for begin in range(0, places, _BLOCK):
            end = min(begin + _BLOCK, places)
            for channel in range(channels):
                for step in range(steps):
                    for place in range(begin, end):
                        out[step, sample, place, channel] = x[sample, channel, place, step]
