"""Batches of a stream of samples, each within a limit of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

Sample = npt.NDArray[np.uint8]


def padded(samples: list[Sample]) -> npt.NDArray[np.uint8]:
    """Return samples (steps, size) as one array (samples, steps, size), padded with silence to the longest."""
    x: Sample = np.zeros((len(samples), max(map(len, samples)), samples[0].shape[1]), samples[0].dtype)
    for row, sample in zip(x, samples, strict=True):
        row[: len(sample)] = sample
    return x


def batches(
    samples: Iterable[Sample], n_steps: int | None, need: Callable[[int, int], int], limit: int, most: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield batches of at most `most` samples, so that a batch with its results and working memory fits the limit.

    n_steps: what samples will be run for, default their own length. need: (samples, steps) -> bytes. limit: bytes.
    """
    waiting: list[Sample] = []
    longest = 0
    for sample in samples:
        steps = n_steps or len(sample)
        following = max(longest, steps)
        if waiting and (need(len(waiting) + 1, following) > limit or len(waiting) >= most):
            yield padded(waiting)
            waiting, following = [], steps
        waiting.append(sample)
        longest = following
    if waiting:
        yield padded(waiting)
