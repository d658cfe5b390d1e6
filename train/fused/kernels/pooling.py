"""Pooling over squares side by side, and the way back through it and the neurons on both sides.

Images are (images, height, width * channels) float32, C-contiguous.
"""

from typing import Any, NamedTuple

import numpy as np

from sdsnn_core.system.compiled import compiled, contracted

from .neuron import Keeps, States, spread, step_back
from .vectors import copy_run

_I0 = np.int32(0)
_ONE_BITS = np.int32(0x3F800000)


class Layer(NamedTuple):
    """Neurons on their way back, of images (height, width * channels)."""

    voltage: Any  # before reset: (steps, samples, *image)
    keeps: Any  # Keeps, float32 1 - decay / 4096
    carries: Any  # States, (samples, *image) float32
    constants: Any  # Constants


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
def enlarge(source: Any, weight: Any, width: int, channels: int, out: Any) -> None:
    """Write each pixel of a line times a weight `width` times, side by side; source becomes the products."""
    for i in range(source.size):
        source[i] *= weight
    for pixel in range(source.size // channels):
        for k in range(width):
            copy_run(out, (pixel * width + k) * channels, source, pixel * channels, channels)


@compiled
def pool_backward(first: int, last: int, gradient: Any, kernel: Any, channels: int, weight: Any, out: Any) -> None:
    """Write the gradient of images first..last into out (images, height, width * channels), from the pooled ones'."""
    check(first, last, out, gradient, kernel, channels)
    height, width = kernel
    source = np.zeros(gradient.shape[2], np.float32)
    row = np.zeros(gradient.shape[2] * width, np.float32)
    for image in range(first, last):
        for y in range(gradient.shape[1]):
            source[:] = gradient[image, y]
            enlarge(source, weight, width, channels, row)
            for line in range(y * height, min((y + 1) * height, out.shape[1])):
                copy_run(out[image, line], 0, row, 0, out.shape[2])


@contracted
def back_through_pool(
    first: int, last: int, gradient: Any, pooling: Any, layer: Any, kernel: Any, channels: int, weight: Any, out: Any
) -> None:
    """Take samples first..last back: from the gradient of the spikes of a pooling block to that of z, in `out`.

    pooling, layer: a Layer each; `layer` is the block whose spikes are pooled. gradient: as pooling.voltage; that of
    the last steps is 0 if it has fewer of them than layer.voltage. out: as layer.voltage.
    """
    steps, samples, lines, length = layer.voltage.shape
    pooled_steps, _, pooled_lines, pooled_length = gradient.shape
    check(first, last, layer.carries.current, pooling.carries.current, kernel, channels)
    fit = gradient.shape == pooling.voltage.shape and out.shape == layer.voltage.shape and pooled_steps <= steps
    fit = fit and layer.carries.current.shape == layer.carries.voltage.shape == (samples, lines, length)
    fit = fit and pooling.carries.voltage.shape == (samples, pooled_lines, pooled_length)
    for keep in (layer.keeps.current, layer.keeps.voltage, pooling.keeps.current, pooling.keeps.voltage):
        fit = fit and keep.size > 0 and channels % keep.size == 0
    if not fit or pooling.carries.current.shape != pooling.carries.voltage.shape:
        raise ValueError("fused kernel: arrays do not fit together")
    height, width = kernel
    ka = spread(layer.keeps.current, 0, np.zeros(length, np.float32))
    kb = spread(layer.keeps.voltage, 0, np.zeros(length, np.float32))
    pa = spread(pooling.keeps.current, 0, np.zeros(pooled_length, np.float32))
    pb = spread(pooling.keeps.voltage, 0, np.zeros(pooled_length, np.float32))
    pooled, row = np.zeros(pooled_length, np.float32), np.zeros(pooled_length * width, np.float32)
    for sample in range(first, last):
        for t in range(steps - 1, -1, -1):
            row[:] = np.float32(0)
            for y in range(pooled_lines):
                if t < pooled_steps:
                    carries = States(pooling.carries.current[sample, y], pooling.carries.voltage[sample, y])
                    volts = pooling.voltage[t, sample, y]
                    step_back(gradient[t, sample, y], volts, Keeps(pa, pb), carries, pooling.constants, pooled)
                    enlarge(pooled, weight, width, channels, row)
                for line in range(y * height, min((y + 1) * height, lines)):
                    carries = States(layer.carries.current[sample, line], layer.carries.voltage[sample, line])
                    volts = layer.voltage[t, sample, line]
                    step_back(row[:length], volts, Keeps(ka, kb), carries, layer.constants, out[t, sample, line])
