"""MNIST in front of a simulated event camera that makes the three saccades of N-MNIST.

N-MNIST is MNIST on a screen, recorded by a camera that a pan-tilt unit turns three times, about 100 ms each (Orchard
et al. 2015, "Converting static image datasets to spiking neuromorphic datasets using saccades", doi:
10.3389/fnins.2015.00437). The camera here is the usual model, as in ESIM (Rebecq et al. 2018): a pixel emits an event
whenever the logarithm of what it receives has changed by a threshold since its last event.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from sdsnn_core.system.compiled import compiled

from ..datasets import locate
from ..images import Code, image_set, labelled_images
from ..load import Bins, DataSet, split_of
from ..settings import DataConfig

SENSOR: Final = 34
"""Rows and columns of the sensor, as in N-MNIST."""


class Saccade(NamedTuple):
    """A movement of the picture from where it is to `end`.

    Attributes:
        start_us: when it begins.
        duration_us: how long it takes.
        end: column and row of the picture's first pixel on the sensor, afterwards.
    """

    start_us: float
    duration_us: float
    end: tuple[float, float]


BEGIN: Final = (0.4, 1.2)
SACCADES: Final = (
    Saccade(2_000, 92_000, (2.0, 6.3)),
    Saccade(106_000, 92_000, (5.85, 1.1)),
    Saccade(212_000, 92_000, (0.9, 1.2)),
)
"""Path and speed, and BACKGROUND and BLUR below, are fitted to 1,000 training recordings of N-MNIST: to where the
gradient of the digits explains most events of each 10 ms, and to the counts of events over time and per pixel."""
BACKGROUND: Final = 0.5
"""Light that ink leaves, as a share of what it takes: in N-MNIST, polarity 1 (brighter) is where ink has left."""
BLUR: Final = 0.7
"""Standard deviation of the lens's blur, in pixels."""
_FINEST_US: Final = 2000.0  # the picture moves at most 0.3 pixels meanwhile
_MARGIN: Final = 8  # empty pixels around a picture; more than it moves


def positions(times_us: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return where a picture is on the sensor.

    Every saccade has the speed of a movement of minimum jerk (Flash and Hogan 1985, doi:
    10.1523/JNEUROSCI.05-07-01688.1985).

    Args:
        times_us: (n,) microseconds.

    Returns:
        (n, 2): column and row of the picture's first pixel.
    """
    where = np.tile(np.array(BEGIN, np.float64), (len(times_us), 1))
    begin = BEGIN
    for saccade in SACCADES:
        part = np.clip((times_us - saccade.start_us) / saccade.duration_us, 0, 1)[:, None]
        share = part**3 * (10 - 15 * part + 6 * part**2)
        where += share * (np.array(saccade.end) - begin)
        begin = saccade.end
    return where


def camera_events(pictures: npt.NDArray[Any], n_steps: int, step_us: float, contrast: float) -> Bins:
    """Return how many events an event camera emits in each step.

    Args:
        pictures: (n, 28, 28) grey levels, 0 (black) to 1 (white).
        n_steps: time steps.
        step_us: microseconds of a step.
        contrast: change of the logarithm of the light that gives an event.

    Returns:
        (n, n_steps, 2, 34, 34) uint8: (polarity, y, x), polarity 1 where it got brighter.
    """
    finer = math.ceil(step_us / _FINEST_US)
    where = positions(np.arange(n_steps * finer + 1) * (step_us / finer))
    margin = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
    ink = gaussian_filter(np.pad(pictures.astype(np.float64), margin), BLUR, axes=(1, 2))
    light = BACKGROUND + 1 - ink
    # The last event of each pixel, before the recording, was at another moment.
    phases = np.exp(contrast * (np.random.default_rng(0).random((SENSOR, SENSOR)) - 0.5))
    events = np.zeros((len(pictures), n_steps, 2, SENSOR, SENSOR), np.uint8)
    _emit(light, where, finer, math.exp(contrast), phases, events)
    return events


@compiled
def _emit(
    light: npt.NDArray[Any], where: npt.NDArray[Any], finer: int, ratio: float, phases: npt.NDArray[Any], events: Bins
) -> None:
    """Add events: light is (n, rows, columns) with margins, where (1 + steps * finer, 2); ratio of light per event."""
    size = events.shape[-1]
    last = np.empty((size, size))
    for sample in range(len(light)):
        for moment in range(len(where)):
            if moment and where[moment, 0] == where[moment - 1, 0] and where[moment, 1] == where[moment - 1, 1]:
                continue
            left, top = math.floor(where[moment, 0]), math.floor(where[moment, 1])
            right, down = where[moment, 0] - left, where[moment, 1] - top
            step = (moment - 1) // finer
            for y in range(size):
                above, row = light[sample, y - top + _MARGIN - 1], light[sample, y - top + _MARGIN]
                for x in range(size):
                    column = x - left + _MARGIN
                    upper = right * above[column - 1] + (1 - right) * above[column]
                    lower = right * row[column - 1] + (1 - right) * row[column]
                    value = down * upper + (1 - down) * lower
                    if moment == 0:
                        last[y, x] = value * phases[y, x]
                        continue
                    while value >= last[y, x] * ratio:
                        last[y, x] *= ratio
                        events[sample, step, 1, y, x] += 1
                    while value * ratio <= last[y, x]:
                        last[y, x] /= ratio
                        events[sample, step, 0, y, x] += 1


def mnist_saccades(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return MNIST as recordings of `camera_events`, made batch by batch, shape (2, 34, 34) over downsample."""
    directory = str(locate(config))
    files = config.model_copy(update={"name": "mnist", "directory": directory})
    images, labels, counts = labelled_images(files, download, "mnist_784", (28, 28))

    joined = np.arange(0, SENSOR, config.downsample)

    def encode(pictures: npt.NDArray[Any]) -> Bins:
        events = camera_events(pictures[:, 0] / 255, config.n_steps, config.step_us, config.contrast)
        bins = np.maximum.reduceat(np.maximum.reduceat(events, joined, axis=-1), joined, axis=-2)
        return np.minimum(bins, 1)

    code = Code(encode, (2, len(joined), len(joined)), step_s=config.step_us * 1e-6)
    return image_set(config, images, labels, 255, split_of(config, labels, counts, seed), code=code)
