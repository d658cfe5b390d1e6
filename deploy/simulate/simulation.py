"""Run a network over a data set on any target, in bounded memory: accuracy, confusion, activity, throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Network, Shape

from .targets import MEMORY_LIMIT, Options, find_target


@final
@dataclass(frozen=True, eq=False)
class Simulation:
    """What a run over a data set gave. Counts are means of one inference (one sample).

    predictions, labels: (samples,) int64, labels None without labels. confusion: (classes, classes) int64, true class
    by row, or None. spikes: node -> spikes per inference. events: projection -> synaptic operations per inference.
    steps: simulated steps of all samples together. seconds: of simulating, without compiling and reading data.
    measured: what the probes of a target measured.
    """

    target: str
    n_samples: int
    steps: int
    predictions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None
    confusion: npt.NDArray[np.int64] | None
    spikes: Mapping[str, float]
    events: Mapping[str, float]
    seconds: float
    network_sha256: str
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose prediction is the label; None without labels."""
        return None if self.labels is None else float((self.predictions == self.labels).mean())

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, as `sdsnn simulate --json` prints them."""
        total = sum(self.events.values())
        return {
            "target": self.target,
            "network_sha256": self.network_sha256,
            "samples": self.n_samples,
            "steps_per_sample": self.steps / self.n_samples,
            "accuracy": self.accuracy,
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "predictions": self.predictions.tolist(),
            "spikes_per_inference": dict(self.spikes),
            "events_per_inference": dict(self.events),
            "synaptic_operations_per_inference": total,
            "seconds": self.seconds,
            "samples_per_second": self.n_samples / self.seconds,
            "steps_per_second": self.steps / self.seconds,
            "events_per_second": total * self.n_samples / self.seconds,
            **({"measured": dict(self.measured)} if self.measured else {}),
        }


def predict(network: Network, activity: Activity) -> npt.NDArray[np.int64]:
    """Return the class of every sample: (n_samples,) int64, of the first output.

    Most spikes, or for a voltage the largest sum over all steps; ties go to the lower class.
    """
    output = next(iter(network.outputs.values()))
    if output.signal == "spikes":
        return np.asarray(np.argmax(activity.counts[output.source], axis=1))
    return np.asarray(np.argmax(activity.voltage[output.source].sum(axis=1, dtype=np.int64), axis=1))


def simulate(
    network: Network,
    data: Iterable[Any],
    labels: npt.ArrayLike | None = None,
    *,
    target: str = "engine",
    n_steps: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    n_threads: int | None = None,
    bin_width: float | None = None,
    sensor_shape: Shape | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Simulate every sample of `data` from the initial state and gather what a report needs.

    data: an array (samples, steps, *shape), or an iterable of samples: arrays (steps, *shape), torch tensors, tonic
    event arrays (with bin_width, see `engine.events_to_dense`), or (sample, label) pairs as data sets give them. It
    is read as it is needed, so that no more than memory_limit bytes are taken at once. labels: (samples,)
    classes. target: a name in `targets.TARGETS`. n_steps: default the length of each sample. progress: called with
    the number of samples done so far. Raises NetworkError where the data do not match the network.
    """
    run = find_target(target)
    if len(network.inputs) != 1:
        raise NetworkError(f"simulate: the network has inputs {sorted(network.inputs)}, allowed is one")
    given = None if labels is None else np.asarray(labels).astype(np.int64)
    samples = _Reading(data)
    output = next(iter(network.outputs.values()))
    states = (output.source,) if output.signal == "voltage" else ()
    options = Options(n_steps, memory_limit, n_threads, bin_width, sensor_shape, states)
    predictions: list[npt.NDArray[np.int64]] = []
    spikes = dict.fromkeys((*network.inputs, *network.populations), 0)
    events = dict.fromkeys(network.projections, 0)
    done = steps = 0
    parts = run(network, iter(samples), options)
    begin = time.perf_counter()
    for activity in parts:
        predictions.append(predict(network, activity))
        done, steps = done + activity.n_samples, steps + activity.n_samples * activity.n_steps
        for name in spikes:
            spikes[name] += int(activity.counts[name].sum())
        for name in events:
            events[name] += int(activity.events[name].sum())
        if progress is not None:
            progress(done)
    seconds = time.perf_counter() - begin - samples.seconds
    if done == 0:
        raise NetworkError("data: got no samples, allowed at least one")
    if given is None and samples.labels:
        given = np.array(samples.labels, np.int64)
    if given is not None and given.shape != (done,):
        raise NetworkError(f"labels: got shape {given.shape}, allowed ({done},), one for each sample")
    predicted = np.concatenate(predictions)
    return Simulation(
        target=target,
        n_samples=done,
        steps=steps,
        predictions=predicted,
        labels=given,
        confusion=None if given is None else _confusion(given, predicted, network.size_of(output.source)),
        spikes={name: total / done for name, total in spikes.items()},
        events={name: total / done for name, total in events.items()},
        seconds=seconds,
        network_sha256=network.digest(),
        measured=options.measured,
    )


def _confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    if labels.min() < 0:
        raise NetworkError(f"labels: got {labels.min()}, allowed 0 and more")
    classes = max(size, int(labels.max()) + 1)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


class _Reading:
    """Samples of `data`, with the time that reading them took and the labels of (sample, label) pairs."""

    def __init__(self, data: Iterable[Any]) -> None:
        self._data = iter(data)
        self.labels: list[int] = []
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            begin = time.perf_counter()
            item = next(self._data, self)
            self.seconds += time.perf_counter() - begin
            if item is self:
                return
            if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[1]) == 0:
                self.labels.append(int(item[1]))
                item = item[0]
            yield item


def read_network(path: str | Path) -> Network:
    """Read a .nir or .net file, or the network.nir of a run folder. Raises FileError for anything else."""
    path = Path(path)
    if path.is_dir():
        path = path / "network.nir"
        if not path.is_file():
            raise FileError(f"{path}: no such file; `sdsnn export` makes it from a run")
    if path.suffix == ".nir":
        from sdsnn.export.nir_format.reader import read_nir

        return read_nir(path)
    if path.suffix == ".net":
        from sdsnn.export.netx.reader import read_netx

        return read_netx(path)
    raise FileError(f"{path}: allowed is a network file that ends in .nir or .net, or a run folder")


__all__ = ["Simulation", "predict", "read_network", "simulate"]
