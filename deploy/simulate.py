"""Run a network over a data set on any back end, in bounded memory: accuracy, confusion, activity, throughput."""

from __future__ import annotations

import itertools
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Network, Shape

from .engine import Engine, default_threads

Backend = Literal["engine", "reference", "lava"]
BACKENDS = ("engine", "reference", "lava")
MEMORY_LIMIT = 2**30  # bytes of a portion of samples with its results and working memory
SPIKE_KEYS, LABEL_KEYS = ("spikes", "x"), ("labels", "y")


@final
@dataclass(frozen=True, eq=False)
class Simulation:
    """What a run over a data set gave. Counts are means of one inference (one sample).

    predictions, labels: (samples,) int64, labels None without labels. confusion: (classes, classes) int64, true class
    by row, or None. spikes: node -> spikes per inference. events: projection -> synaptic operations per inference.
    steps: simulated steps of all samples together. seconds: of simulating, without reading data.
    """

    backend: str
    n_samples: int
    steps: int
    predictions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None
    confusion: npt.NDArray[np.int64] | None
    spikes: Mapping[str, float]
    events: Mapping[str, float]
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose prediction is the label; None without labels."""
        return None if self.labels is None else float((self.predictions == self.labels).mean())

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, as `sdsnn simulate --json` prints them."""
        total = sum(self.events.values())
        return {
            "backend": self.backend,
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
    backend: Backend = "engine",
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
    classes. n_steps: default the length of each sample. progress: called with the number of samples done so far.
    Raises NetworkError where the data do not match the network.
    """
    if backend not in BACKENDS:
        raise NetworkError(f"backend: got {backend!r}, allowed {', '.join(BACKENDS)}")
    if len(network.inputs) != 1:
        raise NetworkError(f"simulate: the network has inputs {sorted(network.inputs)}, allowed is one")
    given = None if labels is None else np.asarray(labels).astype(np.int64)
    found: list[int] = []
    samples = _split_labels(data, found)
    output = next(iter(network.outputs.values()))
    states = [output.source] if output.signal == "voltage" else []
    options: dict[str, Any] = {"bin_width": bin_width, "sensor_shape": sensor_shape}
    if backend == "engine":
        parts = Engine(network).stream(
            samples, n_steps, memory_limit=memory_limit, n_threads=n_threads, record_state=states, **options
        )
    else:
        parts = _one_by_one(network, samples, backend, n_steps, states, options)
    predictions: list[npt.NDArray[np.int64]] = []
    spikes = dict.fromkeys((*network.inputs, *network.populations), 0)
    events = dict.fromkeys(network.projections, 0)
    done = steps = 0
    seconds = 0.0
    for activity, took in _timed(parts):
        predictions.append(predict(network, activity))
        done, steps = done + activity.n_samples, steps + activity.n_samples * activity.n_steps
        seconds += took
        for name in spikes:
            spikes[name] += int(activity.counts[name].sum())
        for name in events:
            events[name] += int(activity.events[name].sum())
        if progress is not None:
            progress(done)
    if done == 0:
        raise NetworkError("data: got no samples, allowed at least one")
    if given is None and found:
        given = np.array(found, np.int64)
    if given is not None and given.shape != (done,):
        raise NetworkError(f"labels: got shape {given.shape}, allowed ({done},), one for each sample")
    predicted = np.concatenate(predictions)
    return Simulation(
        backend=backend,
        n_samples=done,
        steps=steps,
        predictions=predicted,
        labels=given,
        confusion=None if given is None else _confusion(given, predicted, network.size_of(output.source)),
        spikes={name: total / done for name, total in spikes.items()},
        events={name: total / done for name, total in events.items()},
        seconds=seconds,
    )


def _confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    if labels.min() < 0:
        raise NetworkError(f"labels: got {labels.min()}, allowed 0 and more")
    classes = max(size, int(labels.max()) + 1)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _split_labels(data: Iterable[Any], found: list[int]) -> Iterator[Any]:
    """Yield samples; labels of (sample, label) pairs go into `found`."""
    for item in data:
        if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[1]) == 0:
            found.append(int(item[1]))
            item = item[0]
        yield item


def _one_by_one(
    network: Network, samples: Iterator[Any], backend: str, n_steps: int | None, states: list[str], options: Any
) -> Iterator[Activity]:
    """Run a slower back end, sample by sample; Lava gets several at once because it takes seconds to start."""
    from sdsnn_core import reference

    from .engine.inputs import gather

    at_once = 1 if backend == "reference" else 32
    name = next(iter(network.inputs))
    while portion := list(itertools.islice(samples, at_once)):
        arrays = [gather(network, sample, n_steps, **options) for sample in portion]
        steps = max(length for *_, length in arrays)
        x = np.zeros((len(arrays), steps, network.size_of(name)), np.uint8)
        for row, (array, *_) in zip(x, arrays, strict=True):
            row[: array[name].shape[1]] = array[name][0, :steps]
        if backend == "lava":
            from sdsnn.export.lava_run import run_lava

            yield run_lava(network, x, record=(), record_state=states)
        else:
            yield reference.run(network, x, record=(), record_state=states)


def _timed(parts: Iterator[Activity]) -> Iterator[tuple[Activity, float]]:
    """Yield every part with the seconds that it took."""
    while True:
        begin = time.perf_counter()
        part = next(parts, None)
        if part is None:
            return
        yield part, time.perf_counter() - begin


@final
class Archive:
    """Samples and labels of an .npz file, read sample by sample.

    spikes or x: (samples, steps, *shape) uint8 or bool; labels or y: (samples,) integers, optional. Raises FileError
    where the file is missing, corrupt or of other content.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileError(f"{self.path}: no such file; allowed is an .npz with spikes (or x) and labels (or y)")
        try:
            with zipfile.ZipFile(self.path) as file:
                names = {name.removesuffix(".npy") for name in file.namelist()}
        except zipfile.BadZipFile:
            raise FileError(f"{self.path}: is not an .npz file, or it is damaged") from None
        keys = [key for key in SPIKE_KEYS if key in names]
        if not keys:
            raise FileError(f"{self.path}: got arrays {', '.join(sorted(names)) or 'none'}, allowed is spikes or x")
        self._key = keys[0]
        with self._open() as (_, shape, _dtype):
            self.shape = shape
        self.labels: npt.NDArray[np.int64] | None = None
        for key in (key for key in LABEL_KEYS if key in names):
            self.labels = self._labels(key)
            break

    def __len__(self) -> int:
        return self.shape[0]

    def _labels(self, key: str) -> npt.NDArray[np.int64]:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                labels = arrays[key]
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise FileError(f"{self.path}: cannot read {key} ({error})") from None
        if labels.shape != (len(self),) or labels.dtype.kind not in "iu":
            raise FileError(f"{self.path}: {key} is {labels.dtype} {labels.shape}, allowed are integers ({len(self)},)")
        return np.asarray(labels, np.int64)

    def _open(self) -> _Member:
        return _Member(self.path, self._key)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        size = int(np.prod(self.shape[1:]))
        with self._open() as (stream, shape, dtype):
            for _ in range(shape[0]):
                try:
                    raw = stream.read(size)
                except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
                    raise FileError(f"{self.path}: {self._key} is damaged ({error})") from None
                if len(raw) != size:
                    raise FileError(f"{self.path}: {self._key} is damaged (it ends too early)")
                yield np.frombuffer(raw, dtype).reshape(shape[1:])


class _Member:
    """An array within an .npz, opened behind its header: (stream, shape, dtype)."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def __enter__(self) -> tuple[Any, tuple[int, ...], np.dtype[Any]]:
        self._file = zipfile.ZipFile(self.path)
        try:
            stream = self._file.open(f"{self.key}.npy")
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = read(stream)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            self._file.close()
            raise FileError(f"{self.path}: cannot read {self.key} ({error})") from None
        if dtype not in (np.uint8, np.bool_) or len(shape) < 3 or by_column:
            self._file.close()
            raise FileError(
                f"{self.path}: {self.key} is {dtype} {shape}{' in column order' if by_column else ''}, allowed is "
                "uint8 or bool (samples, steps, *shape) in row order"
            )
        return stream, shape, dtype

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_network(path: str | Path) -> Network:
    """Read a .nir or .net file. Raises FileError for another kind of file."""
    path = Path(path)
    if path.suffix == ".nir":
        from sdsnn.export.nir_reader import read_nir

        return read_nir(path)
    if path.suffix == ".net":
        from sdsnn.export.netx_reader import read_netx

        return read_netx(path)
    raise FileError(f"{path}: allowed is a network file that ends in .nir or .net")


__all__ = ["BACKENDS", "Archive", "Simulation", "default_threads", "predict", "read_network", "simulate"]
