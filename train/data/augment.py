"""Random augmentation of training pictures: shift, rotation, zoom and elastic deformation, new in every epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from sdsnn_core.compiled import compiled

from .settings import DataConfig

Pictures = npt.NDArray[Any]
Places = npt.NDArray[np.float64]
_SMOOTHNESS = 4.0
"""Pixels: standard deviation of the Gaussian that makes displacements smooth, as for MNIST in Simard, Steinkraus and
Platt, "Best practices for convolutional neural networks" (2003); their strength 34 is 1.4 pixels root mean square."""


KEYS = "data.shift, data.rotate, data.zoom and data.elastic"


def varies(config: DataConfig) -> bool:
    """Return whether the configuration varies where pixels are."""
    return bool(config.shift or config.rotate or config.zoom or config.elastic)


def vary(pictures: Pictures, config: DataConfig, rng: np.random.Generator) -> Pictures:
    """Return every sample transformed: shift, rotate, zoom and elastic of the configuration.

    pictures: (n, ..., height, width), of one sample all pictures alike. Offsets are whole pixels, uniform in both
    directions; angles and sizes uniform; the rest smooth noise. Floats come back interpolated between four pixels,
    integers (events) as those of the nearest pixel, so that spikes stay spikes. What leaves the picture is lost.
    """
    height, width = pictures.shape[-2:]
    stacked = np.ascontiguousarray(pictures).reshape(len(pictures), -1, height, width)
    where = _sources(len(pictures), height, width, config, rng)
    result = np.zeros_like(stacked)
    _interpolate(stacked, where if stacked.dtype.kind == "f" else np.rint(where), result)
    return result.reshape(pictures.shape)


@compiled
def _interpolate(pictures: Pictures, where: Places, result: Pictures) -> None:
    n, n_pictures, height, width = pictures.shape
    for sample in range(n):
        for y in range(height):
            for x in range(width):
                from_y, from_x = where[sample, 0, y, x], where[sample, 1, y, x]
                top, left = math.floor(from_y), math.floor(from_x)
                for row in (top, top + 1):
                    for column in (left, left + 1):
                        share = (1 - abs(from_y - row)) * (1 - abs(from_x - column))
                        if share > 0 and 0 <= row < height and 0 <= column < width:
                            for picture in range(n_pictures):
                                result[sample, picture, y, x] += share * pictures[sample, picture, row, column]


def _sources(n: int, height: int, width: int, config: DataConfig, rng: np.random.Generator) -> Places:
    """Return (n, 2, height, width): from which row and column each pixel comes."""
    offsets = rng.integers(-config.shift, config.shift + 1, (n, 2, 1, 1))
    centre = np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    grid = np.indices((height, width)) - centre
    places = np.broadcast_to(grid, (n, *grid.shape))
    if config.rotate or config.zoom:
        angles = np.deg2rad(rng.uniform(-config.rotate, config.rotate, n))
        sizes = 1 + rng.uniform(-config.zoom, config.zoom, (n, 2, 1, 1))
        turn = np.array([[np.cos(angles), np.sin(angles)], [-np.sin(angles), np.cos(angles)]])
        places = np.einsum("ijn,jyx->niyx", turn, grid) / sizes
    if config.elastic:
        noise = rng.standard_normal((n, 2, height, width), dtype=np.float32)
        bent = gaussian_filter(noise, _SMOOTHNESS, mode="constant", axes=(2, 3))
        # White noise of deviation 1 behind a Gaussian of s pixels has one of 1 / (2 s sqrt(pi)).
        places = places + (config.elastic * 2 * _SMOOTHNESS * math.sqrt(math.pi)) * bent
    result: Places = places + centre - offsets
    return result
