"""Simulation of a data set on any back end, in bounded memory: accuracy, confusion, activity, throughput."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.recordings import from_first
from sdsnn.train.data.summary import Summary
from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network, Shape
from sdsnn_core.tasks.classes import NO_CLASS
from sdsnn_core.tasks.decoding import decode, task_of

from ..engine import Engine
from ..engine.inputs import as_numpy, gather, is_events
from ..loihi2.target import merge_measured
from .backends import BACKENDS, find_backend
from .readings import TaskReader
from .recorder import SpikeRecorder
from .spreading import spread

if TYPE_CHECKING:
    from distributed import Client

MEMORY_LIMIT: Final = 2**30  # bytes of a portion of samples with its results and working memory
RESETTING: Final = tuple(name for name in BACKENDS if name != "loihi2")  # back ends with resets within a sample
AT_ONCE: Final = {"lava": 32, "netx": 32}  # samples of one run, where a start takes seconds; else 1


@final
@dataclass(frozen=True)
class Options:
    """How to run.

    n_steps: of every sample, default its own length. memory_limit: bytes, of the engine. n_threads: of the engine,
    default every core. bin_width, sensor_shape: of events, see `engine.events_to_dense`. cut: bins above the largest
    value of the input count as that value, as events in one bin do. reset_every, reset_offset: resets within a sample,
    see `sdsnn_core.reference.run`.
    """

    n_steps: int | None = None
    memory_limit: int = MEMORY_LIMIT
    n_threads: int | None = None
    bin_width: float | None = None
    sensor_shape: Shape | None = None
    cut: bool = False
    reset_every: int = 0
    reset_offset: int = 1

    def resets(self) -> dict[str, Any]:
        """Return the arguments for resets within a sample, none where there are no resets."""
        return {"reset_every": self.reset_every, "reset_offset": self.reset_offset} if self.reset_every else {}


@final
@dataclass(frozen=True, eq=False)
class Simulation:
    """Result of a simulation of a data set. Counts are means of one inference (one sample).

    scores: metrics of a task other than one label per sample, whose predictions then have the form of its targets.
    predictions, labels: (samples,) int64, labels None without labels; NO_CLASS (-1) for a sample in which no neuron of
    the output spiked. confusion: (classes, classes) int64, true class by row, without silent samples, or None.
    spikes: node -> spikes per inference. events: projection -> synaptic operations per inference.
    steps: simulated steps of all samples together. seconds: of simulating, without compiling and reading data.
    measured: what the probes of a chip measured. read: what the data were.
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
    read: Summary = field(default_factory=Summary)
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def silent(self) -> int:
        """Samples in which no neuron of the output spiked: they have no class and count as wrong."""
        return int((self.predictions == NO_CLASS).sum())

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
            "silent": self.silent,
            "silent_share": self.silent / self.n_samples,
            "spikes_per_inference": dict(self.spikes),
            "events_per_inference": dict(self.events),
            "synaptic_operations_per_inference": total,
            "seconds": self.seconds,
            "samples_per_second": self.n_samples / self.seconds,
            "steps_per_second": self.steps / self.seconds,
            "events_per_second": total * self.n_samples / self.seconds,
            "data": self.read.to_json(),
            **({"scores": dict(self.scores)} if self.scores else {}),
            **({"measured": dict(self.measured)} if self.measured else {}),
        }


def simulate_data(
    network: Network,
    data: Iterable[Any],
    labels: npt.ArrayLike | None = None,
    *,
    backend: str = "engine",
    options: Options = Options(),
    progress: Callable[[int], None] | None = None,
    recorder: SpikeRecorder | None = None,
    client: Client | None = None,
) -> Simulation:
    """Simulate every sample of `data` from the initial state, and gather accuracy and activity.

    data: an array (samples, steps, *shape), or an iterable of samples: arrays (steps, *shape), torch tensors, tonic
    event arrays (with a bin width), or (sample, label) pairs. Times of events count from the first of a sample. Data
    are read as they are needed; no more than `options.memory_limit` bytes are in memory at once. labels: (samples,)
    classes, from 0. progress: called with the number of samples done. recorder: keeps spikes. client: of a Dask
    cluster, on whose workers the network then runs; the result is the same. Raises NetworkError if data or labels do
    not match the network, which must have one input.
    """
    run = find_backend(backend)
    if options.reset_every and backend not in RESETTING:
        raise NetworkError(f"reset_every: expected back end {', '.join(RESETTING)}, got {backend}")
    if len(network.inputs) != 1:
        raise NetworkError(f"simulate: expected a network with one input, got {', '.join(sorted(network.inputs))}")
    output = next(iter(network.outputs.values()))
    task = task_of(network)
    n_classes = network.size_of(output.source) // task.outputs_per_class
    reader = None if task.kind == "label" else TaskReader(network, task, None if labels is None else np.asarray(labels))
    if reader is not None:
        data, labels = reader.samples(data), None
    classes = None if labels is None else _classes(labels, n_classes)
    samples = _Reading(data, next(iter(network.inputs.values())).max_value, options)
    names = {*(() if recorder is None else recorder.names), *(() if reader is None else reader.spikes)}
    wanted = _Wanted(tuple(sorted(names)), (output.source,) if output.signal == "voltage" else ())
    if client is not None:
        portions = _portions(backend, network, samples, options, wanted)
        parts = spread(client, backend, network, portions, _settings(options, wanted))
    elif backend == "engine":
        parts = _stream_engine(network, samples, options, wanted)
    else:
        portions = _portions(backend, network, samples, options, wanted)
        parts = (run(network, x, **_settings(options, wanted)) for x in portions)
    predictions: list[npt.NDArray[np.int64]] = []
    measured: list[Mapping[str, Any]] = []
    spikes = dict.fromkeys((*network.inputs, *network.populations), 0)
    events = dict.fromkeys(network.projections, 0)
    done = steps = 0
    begin = time.perf_counter()
    for activity in parts:
        if reader is None:
            predictions.append(decode(network, activity))
        else:
            reader.add(activity)
        done, steps = done + activity.n_samples, steps + activity.n_samples * activity.n_steps
        for name in spikes:
            spikes[name] += int(activity.counts[name].sum())
        for name in events:
            events[name] += int(activity.events[name].sum())
        if activity.measured:
            measured.append(activity.measured)
        if recorder is not None:
            recorder.add(activity)
        if progress is not None:
            progress(done)
    seconds = time.perf_counter() - begin - samples.seconds
    if done == 0:
        raise NetworkError("data: expected at least one sample, got none")
    if classes is None and samples.labels and reader is None:
        classes = _classes(samples.labels, n_classes)
    if classes is not None and classes.shape != (done,):
        raise NetworkError(f"labels: expected shape ({done},), one for each sample, got {classes.shape}")
    predicted = np.concatenate(predictions) if reader is None else reader.predictions
    return Simulation(
        target=backend,
        n_samples=done,
        steps=steps,
        predictions=predicted,
        labels=classes,
        confusion=None if classes is None else _confusion(classes, predicted, n_classes),
        spikes={name: total / done for name, total in spikes.items()},
        events={name: total / done for name, total in events.items()},
        seconds=seconds,
        network_sha256=network.digest(),
        measured=merge_measured(measured),
        read=samples.summary,
        scores={} if reader is None else reader.scores(),
    )


def simulate_first(
    network: Network, data: Iterable[Any], *, backend: str = "engine", options: Options = Options()
) -> Activity:
    """Simulate the first sample of `data` and keep every spike; arguments as of `simulate_data`."""
    samples = _Reading(data, next(iter(network.inputs.values())).max_value, options)
    names = (*network.inputs, *network.populations) if backend == "engine" else tuple(network.populations)
    wanted = _Wanted(names, ())
    [first] = _portions("reference", network, itertools.islice(samples, 1), options, wanted)
    return find_backend(backend)(network, first, **_settings(options, wanted))


class _Wanted(NamedTuple):
    """Populations of which a run keeps spikes, and voltages."""

    spikes: tuple[str, ...]
    states: tuple[str, ...]


def _classes(labels: npt.ArrayLike, n_classes: int) -> npt.NDArray[np.int64]:
    """Return labels as integers. Raises NetworkError for one that is no neuron of the output."""
    classes = np.asarray(labels).astype(np.int64)
    if classes.size and (classes.min() < 0 or classes.max() >= n_classes):
        worst = classes.min() if classes.min() < 0 else classes.max()
        raise NetworkError(f"labels: expected 0 to {n_classes - 1}, the classes of the output, got {worst}")
    return classes


def _confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    decided = predicted != NO_CLASS
    return np.bincount((labels * size + predicted)[decided], minlength=size**2).reshape(size, size)


def _stream_engine(network: Network, samples: Iterable[Any], options: Options, wanted: _Wanted) -> Iterator[Activity]:
    """Run the event engine on all cores; compiling does not count as simulating."""
    engine = Engine(network)
    engine.prepare()
    return engine.stream(samples, options.n_steps, **_engine_settings(options, wanted), **options.resets())


def _engine_settings(options: Options, wanted: _Wanted) -> dict[str, Any]:
    """Return what the engine takes to cut a stream of samples into portions."""
    return {
        "memory_limit": options.memory_limit,
        "n_threads": options.n_threads,
        "record": wanted.spikes or "counts",
        "record_state": wanted.states,
        "bin_width": options.bin_width,
        "sensor_shape": options.sensor_shape,
    }


def _settings(options: Options, wanted: _Wanted) -> dict[str, Any]:
    """Return the arguments of a back end."""
    return {"record": wanted.spikes, "record_state": wanted.states, **options.resets()}


def _portions(
    backend: str, network: Network, samples: Iterable[Any], options: Options, wanted: _Wanted
) -> Iterator[npt.NDArray[Any]]:
    """Yield (samples, steps, size) that run at once, padded with silence to the longest of them."""
    if backend == "engine":
        yield from Engine(network).portions(samples, options.n_steps, **_engine_settings(options, wanted))
        return
    name, at_once = next(iter(network.inputs)), AT_ONCE.get(backend, 1)
    rest = iter(samples)
    while portion := list(itertools.islice(rest, at_once)):
        arrays = [gather(network, x, options.n_steps, options.bin_width, options.sensor_shape) for x in portion]
        if counts := [n for _, n, _, _ in arrays if n != 1]:
            raise NetworkError(f"samples: expected single samples, got {counts[0]} as one")
        padded = np.zeros(
            (len(arrays), max(length for *_, length in arrays), network.size_of(name)), arrays[0][0][name].dtype
        )
        for row, (array, *_) in zip(padded, arrays, strict=True):
            row[: array[name].shape[1]] = array[name][0, : len(row)]
        yield padded


class _Reading:
    """Samples of `data` in order, the labels of (sample, label) pairs, what was read and how long that took."""

    def __init__(self, data: Iterable[Any], max_value: int, options: Options) -> None:
        self._data = iter(data)
        self._max_value, self._options = max_value, options
        self.labels: list[int] = []
        self.summary = Summary(step_us=options.bin_width)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            begin = time.perf_counter()
            item = next(self._data, self)
            if item is self:
                return
            if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[1]) == 0:
                self.labels.append(int(item[1]))
                item = item[0]
            sample = self._prepared(as_numpy(item))
            self.seconds += time.perf_counter() - begin
            yield sample

    def _prepared(self, sample: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Count a sample. Its events count from the first of them; bins are cut where that is asked for."""
        if is_events(sample):
            self.summary.add(sample, limit=self._options.n_steps)
            return from_first(sample)
        if sample.dtype.kind in "biuf" and sample.size:
            self.summary.add(sample, limit=self._options.n_steps)
            if self._options.cut and sample.max() > self._max_value:
                return np.asarray(np.minimum(sample, self._max_value))
        return sample
