"""Classes of an output: one neuron each, or a group of neurons whose spikes are added."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

NO_CLASS: Final = -1
"""The class of a sample in which no neuron of the output spiked. It equals no label, so it counts as wrong."""


def class_sums(values: npt.NDArray[Any], outputs_per_class: int) -> npt.NDArray[Any]:
    """Return the sums over the neurons of each class.

    Args:
        values: (samples, neurons, ...) spikes, counts or voltages. The first `outputs_per_class` neurons stand for
            class 0, the next ones for class 1, and so on.
        outputs_per_class: neurons of a class.

    Returns:
        (samples, classes, ...) int64, or float64 of floats; `values` itself for one neuron per class.

    Examples:
        >>> class_sums(np.array([[1, 0, 2, 2]]), 2).tolist()
        [[1, 4]]
    """
    if outputs_per_class == 1:
        return values
    groups = values.reshape(len(values), -1, outputs_per_class, *values.shape[2:])
    return np.asarray(groups.sum(axis=2, dtype=np.float64 if values.dtype.kind == "f" else np.int64))


def classes_of_counts(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the class of every sample of a spiking output.

    Args:
        counts: (samples, classes) spikes of every class over all steps.

    Returns:
        (samples,) int64: the class with most spikes, ties to the lower class; NO_CLASS where no neuron spiked.

    Examples:
        >>> classes_of_counts([[0, 3, 3], [0, 0, 0]]).tolist()
        [1, -1]
    """
    spikes = np.asarray(counts)
    return np.where(spikes.any(axis=1), np.argmax(spikes, axis=1), NO_CLASS)
