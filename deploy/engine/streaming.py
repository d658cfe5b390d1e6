"""Batches of a stream of samples, each within a limit of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import numpy as np
import numpy.typing as npt

Sample = npt.NDArray[np.uint8]


@final
class Batches:
    """Groups samples so that a batch with its results and working memory stays below a limit.

    size: channels of the input. limit: bytes. most: samples of a batch at the most. sample_bytes: steps -> bytes of a
    sample's input and results. work_bytes: (steps, samples) -> bytes of working memory.
    """

    def __init__(
        self,
        size: int,
        limit: int,
        most: int,
        sample_bytes: Callable[[int], int],
        work_bytes: Callable[[int, int], int],
    ) -> None:
        self._size, self._limit, self._most = size, limit, most
        self._sample_bytes, self._work_bytes = sample_bytes, work_bytes

    def of(self, samples: Iterable[Sample], n_steps: int | None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield (samples, steps, size) arrays, padded with silence to the longest of each.

        samples: (steps, size) each. n_steps: what they will be run for, default their own length.
        """
        waiting: list[Sample] = []
        longest = 0
        for sample in samples:
            steps = n_steps or len(sample)
            following = max(longest, steps)
            # A sample waits here and is then copied into the padded input, so its input counts twice.
            each = self._sample_bytes(following) + self._size * following
            need = (len(waiting) + 1) * each + self._work_bytes(following, len(waiting) + 1)
            if waiting and (need > self._limit or len(waiting) >= self._most):
                yield self._padded(waiting)
                waiting, following = [], steps
            waiting.append(sample)
            longest = following
        if waiting:
            yield self._padded(waiting)

    def _padded(self, samples: list[Sample]) -> npt.NDArray[np.uint8]:
        x: Any = np.zeros((len(samples), max(map(len, samples)), self._size), np.uint8)
        for row, sample in zip(x, samples, strict=True):
            row[: len(sample)] = sample
        return np.asarray(x)
