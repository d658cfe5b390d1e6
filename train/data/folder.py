"""Data of the user's own: arrays of spikes, or one file of events per recording in a folder per class."""

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError

from .augment import KEYS, Moves
from .datasets import locate, missing
from .event_cache import Sensor
from .events import binned, event_set
from .load import Bins, DataSet, Split, split_of
from .recordings import ENDINGS, Axes, Convention, class_folders, read_recording, recordings_in
from .settings import DataConfig
from .spike_files import read_spikes
from .summary import Summary, log_summary

ARRAYS = (".npz", ".mat", ".pt")  # endings of files of all samples


def folder(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return what lies in `data.directory`.

    Either train.npz and perhaps test.npz (or .mat, .pt) of `spikes` (n, steps, *shape) and `labels` (n,), or events as
    <class>/<file>, perhaps below train/ and test/. Without a test part the seed makes one.
    """
    if config.directory is None:
        raise FileError("data folder: expected data.directory, the folder of your recordings (docs/data.md), got none")
    directory = locate(config)
    if not directory.is_dir():
        raise missing(config, directory, "does not exist")
    ending = next((end for end in ARRAYS if (directory / f"train{end}").is_file()), None)
    return _events(config, directory, seed) if ending is None else _arrays(config, directory, seed, ending)


def _arrays(config: DataConfig, directory: Path, seed: int, ending: str) -> DataSet:
    files = [path for name in ("train", "test") if (path := directory / f"{name}{ending}").is_file()]
    loaded = [_read(path, config.axes) for path in files]
    shapes = {spikes.shape[1:] for spikes, _ in loaded}
    if len(shapes) > 1:
        got = " and ".join(map(str, sorted(shapes)))
        raise FileError(f"data {directory}: expected samples of one shape in train{ending} and test{ending}, got {got}")
    spikes, labels = (np.concatenate(parts) for parts in zip(*loaded, strict=True))
    parts = split_of(config, labels, [len(part) for _, part in loaded], seed)
    if config.noise or any(Moves.of(config)):
        raise FileError(f"data folder: expected 0 for data.noise, {KEYS}, which do not act on arrays, got other values")
    train_split, validation_split, test_split = (Split(spikes[part], labels[part]) for part in parts)
    largest, n_classes = max(int(spikes.max()), 1), int(labels.max()) + 1
    summary = Summary(spikes.shape[1], recordings=len(spikes), largest_bin=largest)
    log_summary(config.name, summary, tuple(map(str, range(n_classes))), spikes.shape[2:])
    return DataSet(
        config.name, spikes.shape[2:], n_classes,
        train_split, validation_split, test_split, input_max=largest,
    )  # fmt: skip


def _read(path: Path, axes: Axes) -> tuple[Bins, npt.NDArray[np.int64]]:
    spikes, labels = read_spikes(path, Convention(axes=axes))
    if labels is None:
        raise FileError(f"data {path}: expected `spikes` and `labels`, got no labels")
    if spikes.ndim not in (3, 5) or not spikes.size:
        raise FileError(
            f"data {path}: expected spikes (n, steps, channels) or (n, steps, channels, height, width), "
            f"got {spikes.shape}"
        )
    bins = spikes.astype(np.uint8)
    if not np.array_equal(bins, spikes):
        raise FileError(f"data {path}: expected spikes as whole numbers in 0..255, got {spikes.min()}..{spikes.max()}")
    if labels.min() < 0:
        raise FileError(f"data {path}: expected labels 0, 1, 2, ..., got {labels.min()}")
    return bins, labels


def _events(config: DataConfig, directory: Path, seed: int) -> DataSet:
    if config.sensor is None or min(config.sensor) < 1:
        raise FileError("data folder: expected data.sensor = [width, height, polarities], each at least 1, for events")
    split = (directory / "train").is_dir() and (directory / "test").is_dir()
    tops = [directory / "train", directory / "test"] if split else [directory]
    classes = class_folders(tops[0])
    if not classes:
        raise missing(config, tops[0], "has neither train.npz nor a folder for each class")
    files = [
        [(path, label) for label, name in enumerate(class_folders(top)) for path in recordings_in(top / name)]
        for top in tops
    ]
    recordings = [recording for part in files for recording in part]
    if not recordings:
        raise FileError(
            f"data {directory}: expected files of events ({', '.join(ENDINGS)}) in its class folders, got none"
        )
    read = partial(read_recording, convention=Convention(config.time_unit, config.axes))
    bins = binned(config, Sensor(*config.sensor, from_first=True), directory, recordings, read)
    parts = split_of(config, bins.labels, [len(part) for part in files], seed)
    return event_set(config, bins, classes, parts)
