"""Touch: NeuTouch's event skin on objects and containers (Gu et al., IROS 2020, arXiv:2008.08046); Braille letters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError

from ..datasets import locate, missing
from ..load import DataSet, split_of
from ..recordings import load_arrays
from ..settings import DataConfig
from .coding import encode, held
from .sets import Samples, named_arrays, rebinned, sensor_set, split_by

SKIN = (39, 2)  # taxels, polarities
BIN_US = 20_000.0
_LABEL = re.compile(r"_label_(\d+)$")


def ev_objects(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return Ev-Objects: 36 household objects, 78 channels (2 x taxel + polarity), bins of 20 ms."""
    return _skin(config, seed, "objects", 36)


def ev_containers(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return Ev-Containers: 20 containers with different fillings, 78 channels, bins of 20 ms."""
    return _skin(config, seed, "containers", 20)


def _skin(config: DataConfig, seed: int, name: str, n_classes: int) -> DataSet:
    directory = locate(config)
    parts = [_read(config, directory, name, part, n_classes) for part in ("train", "test")]
    bins = np.concatenate([rebinned(config, spikes, BIN_US) for spikes, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    split = split_of(config, labels, [len(labels) for _, labels in parts], seed)
    classes = [str(label) for label in range(n_classes)]
    return sensor_set(config, Samples(bins, labels, split, classes, config.step_us * 1e-6))


def _read(
    config: DataConfig, directory: Path, name: str, part: str, n_classes: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return spikes (n, bins, channels) and labels of one part, from an .npz file or from the published folders."""
    channels = SKIN[0] * SKIN[1]
    archive, folder = directory / f"{name}_{part}.npz", directory / part
    if archive.is_file():
        place = archive
        spikes, labels = named_arrays(archive, {"spikes": 3, "labels": 1})
    elif folder.is_dir():
        place = folder
        spikes, labels = _read_folder(folder)
    else:
        raise missing(config, directory, f"has no {archive.name}" if directory.is_dir() else "does not exist")
    if len(spikes) != len(labels) or spikes.shape[2] != channels or spikes.dtype.kind not in "buif":
        raise FileError(
            f"data {place}: expected spikes (n, bins, {channels}) and labels (n,), got {spikes.shape} {spikes.dtype} "
            f"and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or not len(labels) or not 0 <= labels.min() <= labels.max() < n_classes:
        got = f"{labels.min()}..{labels.max()}" if len(labels) else "none"
        raise FileError(f"data {place}: expected labels in 0..{n_classes - 1}, got {got}")
    return spikes, labels.astype(np.int64)


def _read_folder(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Read <name>_label_<class>.npy files of (taxels, polarities, bins), in the order of their names."""
    files = [(path, match) for path in sorted(folder.glob("*.npy")) if (match := _LABEL.search(path.stem))]
    if not files:
        raise FileError(f"data {folder}: expected files <name>_label_<class>.npy, got none")
    recordings = [load_arrays(path) for path, _ in files]
    for (path, _), recording in zip(files, recordings, strict=True):
        if recording.shape[:-1] != SKIN or recording.shape != recordings[0].shape:
            expected = ", ".join(map(str, (*SKIN, recordings[0].shape[-1])))
            raise FileError(f"data {path}: expected an array ({expected}), got {recording.shape}")
    spikes = np.stack(recordings).reshape(len(files), SKIN[0] * SKIN[1], -1)
    return np.moveaxis(spikes, 1, 2), np.array([int(match[1]) for _, match in files])


def braille(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return 1,350 Braille letters under a sensor of 12 taxels, 27 classes; repetitions 40 to 49 are the test split.

    The pressure of a taxel, (255 - value) / 200, is encoded as `data.coding` says; `data.n_steps` steps cover a
    recording.
    """
    path = locate(config) / "braille_taxels_27x50.npz"
    if not path.is_file():
        raise missing(config, path.parent, f"has no {path.name}" if path.parent.is_dir() else "does not exist")
    axes = {"taxel": 3, "length": 1, "label": 1, "letters": 1, "repetition": 1}
    taxels, lengths, labels, letters, repetitions = named_arrays(path, axes)
    if not len(taxels) == len(lengths) == len(labels) == len(repetitions) > 0 or taxels.dtype != np.uint8:
        raise FileError(f"data {path}: expected taxel (n, frames, taxels) uint8 with n of each array, got others")
    if not 0 <= labels.min() <= labels.max() < len(letters):
        raise FileError(f"data {path}: expected labels in 0..{len(letters) - 1}, got {labels.min()}..{labels.max()}")
    pressure = np.clip((255 - taxels.astype(np.float64)) / 200, 0, 1)
    bins, input_max = encode(config, held(pressure, lengths.astype(np.int64), config.n_steps))
    labels = labels.astype(np.int64)
    parts = split_by(config, labels, repetitions >= 40, seed)
    return sensor_set(config, Samples(bins, labels, parts, letters.tolist(), input_max=input_max))
