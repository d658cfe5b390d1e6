"""Decoding: the class that an output stands for, in training, simulation, import and report alike."""

from typing import Final

import numpy as np
import numpy.typing as npt

from ..activity import Activity
from ..network import Network

NO_CLASS: Final = -1
"""The class of a sample in which no neuron of the output spiked. It equals no label, so it counts as wrong."""


def classes_of_counts(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the class of every sample of a spiking output.

    Args:
        counts: (samples, classes) spikes of every output neuron over all steps.

    Returns:
        (samples,) int64: the neuron with most spikes, ties to the lower class; NO_CLASS where none spiked.

    Examples:
        >>> classes_of_counts([[0, 3, 3], [0, 0, 0]]).tolist()
        [1, -1]
    """
    spikes = np.asarray(counts)
    return np.where(spikes.any(axis=1), np.argmax(spikes, axis=1), NO_CLASS)


def decode(network: Network, activity: Activity) -> npt.NDArray[np.int64]:
    """Return the class of every sample, as the first output of a network says it.

    Args:
        network: what ran.
        activity: of that run. A voltage output needs its source's voltage recorded.

    Returns:
        (samples,) int64. Of spikes as `classes_of_counts`; of a voltage the neuron with the largest sum over all steps,
        ties to the lower class, which always is a class.
    """
    output = next(iter(network.outputs.values()))
    if output.signal == "spikes":
        return classes_of_counts(activity.counts[output.source])
    return np.asarray(np.argmax(activity.voltage[output.source].sum(axis=1, dtype=np.int64), axis=1))
