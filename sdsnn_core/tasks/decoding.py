"""Decoding: what a network's output means, as its file says it, and the class of every sample."""

from typing import Final

import numpy as np
import numpy.typing as npt

from ..activity import Activity
from ..errors import NetworkError
from ..network import Network
from .classes import class_sums, classes_of_counts
from .task import LABEL, Task

NUMBERS: Final = {"window": (int,), "level": (int, float), "tau": (int, float), "outputs_per_class": (int,)}
"""Settings of a task in a file beside its kind, and their types."""


def task_of(network: Network) -> Task:
    """Return the task of a network, which files carry as information; one label per sample where they name none.

    Raises:
        NetworkError: its settings are damaged, or the output has no whole number of neurons per class.
        ConfigError: they are out of range.
    """
    settings = network.provenance.get("task")
    if not isinstance(settings, dict):
        return LABEL
    known = {key: settings[key] for key in ("kind", *NUMBERS) if key in settings}
    for key, types in NUMBERS.items():
        if key in known and type(known[key]) not in types:
            raise NetworkError(f"task: expected a number as {key}, got {type(known[key]).__name__}")
    task = Task(**known)
    size = network.size_of(next(iter(network.outputs.values())).source)
    if size % task.outputs_per_class:
        raise NetworkError(
            f"task: expected an output of {task.outputs_per_class} neurons per class, got {size} neurons"
        )
    return task


def decode(network: Network, activity: Activity) -> npt.NDArray[np.int64]:
    """Return the class of every sample, as the first output of a network says it.

    Args:
        network: what ran. Where its task has several neurons per class, their spikes (voltages) are added.
        activity: of that run. A voltage output needs its source's voltage recorded.

    Returns:
        (samples,) int64. Of spikes as `classes_of_counts`; of a voltage the class with the largest sum over all steps,
        ties to the lower class, which always is a class.
    """
    output = next(iter(network.outputs.values()))
    per_class = task_of(network).outputs_per_class
    if output.signal == "spikes":
        return classes_of_counts(class_sums(activity.counts[output.source], per_class))
    voltage = activity.voltage[output.source].sum(axis=1, dtype=np.int64)
    return np.asarray(np.argmax(class_sums(voltage, per_class), axis=1))
