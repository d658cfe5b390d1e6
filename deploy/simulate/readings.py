"""What a task reads from a simulation: its targets are more than one class per sample."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network
from sdsnn_core.tasks.task import Task

UNIT: Final = 64 * 64
"""State units of a voltage of 1 in SLAYER's floats."""
WEIGHT_UNIT, MESSAGE_UNIT = 64, 4096  # of a weight and of a sigma-delta message of 1


def _voltage(network: Network, name: str) -> tuple[int, int]:
    """Return by how many steps a readout is later than SLAYER's block, and its state units of a 1 in SLAYER's floats.

    A CUBA readout is late by its own step, sums of sigma-delta neurons by one for each of their populations on the way.
    """
    late, visited, unit = 0, set[str](), UNIT
    while name in network.populations and name not in visited and network.populations[name].graded:
        visited.add(name)
        before = next((p.source for _, p in network.incoming(name) if p.source not in visited), None)
        if not late:
            messages = before in network.populations and network.populations[before].graded
            unit = WEIGHT_UNIT * (MESSAGE_UNIT if messages else 1)
        late += 1
        name = before or name
    return max(late, 1), unit


@final
class TaskReader:
    """Collects readings of a network's first output, batch by batch.

    Args:
        network: what runs.
        task: how its output is read.
        targets: of all samples, in order; None where the data have none.

    Raises:
        NetworkError: the targets do not fit.
    """

    def __init__(self, network: Network, task: Task, targets: npt.NDArray[Any] | None) -> None:
        self.output = next(iter(network.outputs.values()))
        self.size = network.size_of(self.output.source) // task.outputs_per_class
        self.task, self.targets = task, targets
        self.late, self.unit = _voltage(network, self.output.source) if self.output.signal == "voltage" else (0, 1)
        self._parts: list[npt.NDArray[Any]] = []
        self._done = 0

    @property
    def spikes(self) -> tuple[str, ...]:
        """Populations whose spikes a run must keep."""
        return (self.output.source,) if self.output.signal == "spikes" else ()

    def samples(self, data: Iterable[Any]) -> Iterator[Any]:
        """Yield samples, with silent steps behind those of a voltage: SLAYER's bin t is the chip's step t + late."""
        for sample in data:
            if self.output.signal == "voltage" and isinstance(sample, np.ndarray) and sample.dtype.names is None:
                yield np.concatenate([sample, np.zeros((self.late, *sample.shape[1:]), sample.dtype)])
            else:
                yield sample

    def add(self, activity: Activity) -> None:
        """Read the output of the next samples."""
        name = self.output.source
        if self.output.signal == "voltage":
            values = np.moveaxis(activity.voltage[name][:, self.late :], 1, -1) / self.unit
        else:
            values = np.moveaxis(activity.spikes[name], 1, -1)
        part = slice(self._done, self._done + len(values))
        targets = None if self.targets is None else self.targets[part]
        if targets is not None:
            problem = self.task.problem(targets, len(values), values.shape[-1], self.size)
            if problem is not None:
                raise NetworkError(f"labels: {problem}")
        self._done += len(values)
        self._parts.append(self.task.read(values, self.output.signal, targets))

    @property
    def predictions(self) -> npt.NDArray[Any]:
        """Predictions of all samples, in the form of the targets."""
        return self.task.predictions(np.concatenate(self._parts))

    def scores(self) -> dict[str, float]:
        """Return the metrics of the task, the main one first; none without targets."""
        if self.targets is None:
            return {}
        return self.task.scores(np.concatenate(self._parts), self.targets[: self._done])
