"""Random augmentation of training pictures: shift, rotation, zoom and elastic deformation, new in every epoch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from sdsnn_core.system.compiled import compiled

from .settings import DataConfig

Pictures = npt.NDArray[Any]
Places = npt.NDArray[np.float64]
_SMOOTHNESS = 4.0
"""Pixels: standard deviation of the Gaussian that makes displacements smooth, as for MNIST in Simard, Steinkraus and
Platt, "Best practices for convolutional neural networks" (2003); their strength 34 is 1.4 pixels root mean square."""


KEYS = "data.shift, data.rotate, data.zoom and data.elastic"


class Moves(NamedTuple):
    """How far augmentation may move pixels.

    Attributes:
        shift: largest offset in pixels, in both directions.
        rotate: largest angle in degrees.
        zoom: largest relative change of height and of width.
        elastic: root mean square of the elastic deformation, in pixels.
    """

    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0

    @classmethod
    def of(cls, config: DataConfig) -> Moves:
        """Return the moves that a configuration asks for."""
        return cls(config.shift, config.rotate, config.zoom, config.elastic)


def vary(pictures: Pictures, moves: Moves, rng: np.random.Generator) -> Pictures:
    """Return every sample transformed: shifted, rotated, zoomed and deformed.

    Args:
        pictures: (n, ..., height, width); all pictures of one sample move alike.
        moves: bounds of the random moves. Offsets are whole pixels; offsets, angles and sizes are uniform.
        rng: draws the moves.

    Returns:
        The same shape and dtype. Floats are interpolated between four pixels; integers (events) come from the nearest
        pixel, so that spikes stay spikes. What leaves the picture is lost.
    """
    height, width = pictures.shape[-2:]
    stacked = np.ascontiguousarray(pictures).reshape(len(pictures), -1, height, width)
    where = _sources((len(pictures), height, width), moves, rng)
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


def _sources(size: tuple[int, int, int], moves: Moves, rng: np.random.Generator) -> Places:
    """Return (n, 2, height, width): from which row and column each pixel comes."""
    n, height, width = size
    offsets = rng.integers(-moves.shift, moves.shift + 1, (n, 2, 1, 1))
    centre = np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    grid = np.indices((height, width)) - centre
    places = np.broadcast_to(grid, (n, *grid.shape))
    if moves.rotate or moves.zoom:
        angles = np.deg2rad(rng.uniform(-moves.rotate, moves.rotate, n))
        sizes = 1 + rng.uniform(-moves.zoom, moves.zoom, (n, 2, 1, 1))
        turn = np.array([[np.cos(angles), np.sin(angles)], [-np.sin(angles), np.cos(angles)]])
        places = np.einsum("ijn,jyx->niyx", turn, grid) / sizes
    if moves.elastic:
        noise = rng.standard_normal((n, 2, height, width), dtype=np.float32)
        bent = gaussian_filter(noise, _SMOOTHNESS, mode="constant", axes=(2, 3))
        # White noise of deviation 1 behind a Gaussian of s pixels has one of 1 / (2 s sqrt(pi)).
        places = places + (moves.elastic * 2 * _SMOOTHNESS * math.sqrt(math.pi)) * bent
    result: Places = places + centre - offsets
    return result
