"""Event data sets from their local files: N-MNIST, DVS-Gesture, SHD, SSC, CIFAR10-DVS.

The files are those that tonic downloads; tonic reads the formats, and here they are checked first, since tonic's
data sets start to download where something is missing.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sdsnn_core.errors import FileError, one_line

from .augment import KEYS, Moves, vary
from .datasets import DATA_SETS, locate, missing
from .event_cache import EventBins, Recording, Sensor, cached
from .formats.events import EVENT_TYPE, Events
from .hdf5 import hdf5_file
from .load import Bins, DataSet, Indices, LazySpikes, Split, split_of
from .recordings import load_arrays, read_recording
from .settings import DataConfig
from .summary import log_summary

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def event_set(
    config: DataConfig, bins: EventBins, classes: Sequence[str], parts: tuple[Indices, Indices, Indices]
) -> DataSet:
    """Return binned recordings as a data set, its training split varied where the configuration asks for it.

    classes: their names, in the order of the labels.
    """
    moves, n_classes = Moves.of(config), len(classes)
    log_summary(config.name, bins.summary, tuple(classes), bins.shape[::-1])

    def varied(chosen: Indices, rng: np.random.Generator) -> Bins:
        return vary(bins.make(parts[0][chosen]), moves, rng)

    if any(moves) and len(bins.shape) != 3:
        raise FileError(f"data {config.name}: expected 0 for {KEYS}, which need rows and columns, got other values")
    train, validation, test = (
        Split(LazySpikes(part, bins.n_steps, bins.shape, bins.make), bins.labels[part]) for part in parts
    )
    augment = varied if any(moves) else None
    return DataSet(config.name, bins.shape, n_classes, train, validation, test, augment, step_s=config.step_us * 1e-6)


def nmnist(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return N-MNIST, shape (2, 34, 34): (polarity, y, x), polarity 1 where it got brighter."""
    fetch = functools.partial(_download, "NMNIST", "train", (True, False)) if download else None
    directory = _directory(config, ("Train", "Test"), fetch)
    parts = [_class_files(directory / part, ".bin", [str(digit) for digit in range(10)]) for part in ("Train", "Test")]
    bins = binned(config, Sensor(34, 34, 2), directory, [*parts[0], *parts[1]], read_recording)
    digits = [str(digit) for digit in range(10)]
    return event_set(config, bins, digits, split_of(config, bins.labels, [len(part) for part in parts], seed))


def dvs_gesture(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return DVS-Gesture, shape (2, 128, 128) over downsample: 11 gestures of 29 people, users 24 to 29 held out."""
    folders = ("ibmGestureTrain", "ibmGestureTest")
    fetch = functools.partial(_download, "DVSGesture", "train", (True, False)) if download else None
    directory = _directory(config, folders, fetch)
    parts = []
    for folder in folders:
        files = sorted((directory / folder).glob("user*/*.npy"))
        labelled = [(path, int(path.stem)) for path in files if path.stem.isdigit() and int(path.stem) < 11]
        if not labelled:
            raise missing(config, directory / folder, "has no user*/<class>.npy")
        parts.append(labelled)
    bins = binned(config, Sensor(128, 128, 2, from_first=True), directory, [*parts[0], *parts[1]], _read_gesture)
    gestures = [str(number) for number in range(11)]
    return event_set(config, bins, gestures, split_of(config, bins.labels, [len(part) for part in parts], seed))


def binned(
    config: DataConfig,
    sensor: Sensor,
    directory: Path,
    files: Sequence[tuple[Path, int]],
    read: Callable[[Path], Events],
) -> EventBins:
    """Return the recordings of (file, label) below `directory` as bins."""
    recordings = [Recording(str(path), label, functools.partial(read, path)) for path, label in files]
    return cached(config, sensor, recordings, file_signature(directory, [path for path, _ in files]))


def _read_gesture(path: Path) -> Events:
    """Read (n, 4) numbers: x, y, polarity, time in milliseconds."""
    table = load_arrays(path)
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf":
        raise FileError(f"data {path}: expected (n, 4) numbers x, y, p, t in ms, got {table.dtype} {table.shape}")
    events = np.zeros(len(table), EVENT_TYPE)
    events["x"], events["y"], events["p"] = table[:, :3].T
    events["t"] = table[:, 3].astype(np.int64) * 1000
    return events


def shd(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return the Spiking Heidelberg Digits: 700 channels over downsample, 20 classes."""
    return _heidelberg(config, seed, download, ("shd_train.h5", "shd_test.h5"), 20)


def ssc(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return the Spiking Speech Commands: 700 channels over downsample, 35 classes, with a validation split."""
    return _heidelberg(config, seed, download, ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"), 35)


def _heidelberg(config: DataConfig, seed: int, download: bool, names: tuple[str, ...], n_classes: int) -> DataSet:
    splits = ("train", (True, False)) if len(names) == 2 else ("split", ("train", "valid", "test"))
    fetch = functools.partial(_download, config.name.upper(), *splits) if download else None
    directory = _directory(config, names, fetch)
    recordings: list[Recording] = []
    counts = []
    with ExitStack() as files:
        for name in names:
            path = directory / name
            file = files.enter_context(hdf5_file(path, "recordings in HDF5"))
            absent = [key for key in ("spikes/times", "spikes/units", "labels") if key not in file]
            if absent:
                raise FileError(
                    f"data {path}: expected spikes/times, spikes/units and labels, got no {', '.join(absent)}"
                )
            labels = np.asarray(file["labels"]).astype(np.int64)
            if not len(labels) or labels.min() < 0 or labels.max() >= n_classes:
                raise FileError(
                    f"data {path}: expected recordings with labels in 0..{n_classes - 1}, got others or none"
                )
            counts.append(len(labels))
            recordings += [
                Recording(f"{path} [{index}]", int(label), functools.partial(_read_heidelberg, file, index))
                for index, label in enumerate(labels)
            ]
        signature = file_signature(directory, [directory / name for name in names])
        bins = cached(config, Sensor(700, 1, 1), recordings, signature)
    words = [str(number) for number in range(n_classes)]
    return event_set(config, bins, words, split_of(config, bins.labels, counts, seed))


def _read_heidelberg(file: Any, index: int) -> Events:
    times, units = file["spikes/times"][index], file["spikes/units"][index]
    events = np.zeros(len(times), EVENT_TYPE)
    events["t"] = np.floor(times.astype(np.float64) * 1e6)
    events["x"] = units
    return events


def cifar10_dvs(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return CIFAR10-DVS, shape (2, 128, 128) over downsample. It has no test split of its own: the seed makes one."""
    directory = _directory(
        config, CIFAR_CLASSES, functools.partial(_download, "CIFAR10DVS", "transform", (None,)) if download else None
    )
    files = _class_files(directory, ".aedat4", CIFAR_CLASSES)
    bins = binned(config, Sensor(128, 128, 2, from_first=True), directory, files, read_recording)
    parts = split_of(config, bins.labels, [len(bins.labels)], seed)
    return event_set(config, bins, CIFAR_CLASSES, parts)


def file_signature(directory: Path, files: Sequence[Path]) -> list[object]:
    """Return names under `directory`, sizes and times of change of some files."""
    stats = [path.stat() for path in files]
    return [
        (str(path.relative_to(directory)), stat.st_size, stat.st_mtime_ns)
        for path, stat in zip(files, stats, strict=True)
    ]


def _class_files(folder: Path, suffix: str, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Return (file, label) of <class>/*<suffix>, sorted. Raises FileError for a class without files."""
    labelled: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        files = sorted((folder / name).glob(f"*{suffix}"))
        if not files:
            raise FileError(f"data {folder / name}: expected *{suffix} files in a folder for each class, got none")
        labelled += [(path, label) for path in files]
    return labelled


def _directory(config: DataConfig, needed: Sequence[str], fetch: Callable[[Path], Path] | None) -> Path:
    """Return the directory that holds what is needed; `fetch` downloads it to a directory and returns its place."""
    directory = locate(config)
    # tonic makes a folder of its own, such as NMNIST, in the one that it gets.
    for place in (directory, *(directory / name for name in DATA_SETS[config.name].folders)):
        if all((place / name).exists() for name in needed):
            return place
    if fetch is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            directory = fetch(directory)
        except (OSError, RuntimeError) as error:
            raise FileError(f"data {config.name}: the download to {directory} failed ({one_line(error)})") from None
    absent = [name for name in needed if not (directory / name).exists()]
    if absent:
        raise missing(config, directory, f"has no {', '.join(absent)}" if directory.is_dir() else "does not exist")
    return directory


def _download(name: str, key: str, values: Sequence[Any], directory: Path) -> Path:
    """Download the splits of one of tonic's data sets, which `key` selects, and return where they lie."""
    import tonic.datasets

    sets = [getattr(tonic.datasets, name)(str(directory), **{key: value}) for value in values]
    return Path(sets[0].location_on_system)
