"""Metrics of tasks: accuracy, F1, root mean square error, R2, van Rossum distance."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def accuracy(predictions: Array, labels: Array) -> float:
    """Return the share of predictions that are the label; NO_CLASS equals none."""
    return float((predictions == labels).mean()) if len(labels) else 0.0


def f1_per_class(predictions: Array, labels: Array, n_classes: int) -> Array:
    """Return 2 TP / (2 TP + FP + FN) of every class, (n_classes,) float64; NaN for a class that nothing is or gets.

    Args:
        predictions: (n,) classes, NO_CLASS for none; or (n, n_classes) bool, one column per class.
        labels: of the same shape.
        n_classes: number of classes.
    """
    if predictions.ndim == 1:
        classes = np.arange(n_classes)
        predictions, labels = predictions[:, None] == classes, labels[:, None] == classes
    right = (predictions & (labels != 0)).sum(0)
    total = predictions.sum(0) + (labels != 0).sum(0)
    return np.asarray(np.where(total > 0, 2 * right / np.maximum(total, 1), np.nan))


def rmse(predictions: Array, targets: Array) -> float:
    """Return the root mean square error over all values."""
    return float(np.sqrt(np.mean((predictions - targets) ** 2)))


def r2(predictions: Array, targets: Array) -> float:
    """Return the coefficient of determination, the mean over outputs of 1 - (squared error) / (squared deviation).

    An output whose targets never change counts as 0, or as 1 if it is met exactly.
    """
    predictions, targets = (np.moveaxis(each, 1, -1).reshape(-1, each.shape[1]) for each in (predictions, targets))
    error = ((predictions - targets) ** 2).sum(0)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    constant = np.where(error == 0, 1.0, 0.0)
    return float(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1.0), constant).mean())


def van_rossum(spikes: Array, targets: Array, tau: float) -> float:
    """Return the mean van Rossum distance of spike trains (Neural Computation 13:751, 2001).

    Both trains are filtered with exp(-t / tau); the distance is the root of the squared difference, summed over steps
    and divided by tau. One added spike costs about 0.7, whatever tau.

    Args:
        spikes, targets: (..., steps) of 0 and 1.
        tau: time constant in steps.
    """
    difference = spikes.astype(np.float64) - targets
    decay, state = np.exp(-1 / tau), np.zeros(difference.shape[:-1])
    total = np.zeros_like(state)
    for step in range(difference.shape[-1]):
        state = state * decay + difference[..., step]
        total += state**2
    # The filtered train goes on behind the last step: the rest is a geometric series.
    total += state**2 * decay**2 / (1 - decay**2)
    return float(np.sqrt(total / tau).mean())


def spike_time_error(spikes: Array, targets: Array) -> float:
    """Return the mean number of steps between the k-th spikes of two trains, over all k that both have; NaN for none.

    Args:
        spikes, targets: (..., steps) of 0 and 1.
    """
    n_steps = spikes.shape[-1]
    errors: list[Array] = []
    for train, target in zip(spikes.reshape(-1, n_steps), targets.reshape(-1, n_steps), strict=True):
        times, wanted = np.flatnonzero(train), np.flatnonzero(target)
        both = min(len(times), len(wanted))
        errors.append(np.abs(times[:both] - wanted[:both]))
    steps = np.concatenate(errors) if errors else np.zeros(0)
    return float(steps.mean()) if len(steps) else float("nan")
