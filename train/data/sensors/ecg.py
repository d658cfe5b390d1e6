"""Electrocardiograms: the QT Database as events, a wave for each step (Yin et al., Nat. Mach. Intell. 3:905, 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.tasks.task import UNLABELLED

from ..datasets import locate, missing
from ..load import DataSet, split_of
from ..settings import DataConfig
from .sets import Samples, named_arrays, sensor_set

CLASSES = ("P", "PQ", "QR", "RS", "ST", "TP")
CHANNELS = 4  # rises and falls of two leads

Part = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]


def ecg_qtdb(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return 618 and 141 electrocardiograms as events of two leads, task step_labels of six waves.

    `data.n_steps` is how long the pieces are that each recording is cut into; what is left at its end, at least its
    padded last step, goes. All pieces of a recording are in one split.
    """
    directory = locate(config)
    archive, files = directory / "qtdb_events.npz", [directory / f"QTDB_{part}.mat" for part in ("train", "test")]
    if archive.is_file():
        parts = [_events(archive, part) for part in ("train", "test")]
    elif all(path.is_file() for path in files):
        parts = [_one_hot(path) for path in files]
    else:
        raise missing(config, directory, "has neither" if directory.is_dir() else "does not exist")
    n_usable = min(spikes.shape[1] for spikes, _ in parts) - 1
    if config.n_steps > n_usable:
        raise FileError(f"data {directory}: expected data.n_steps of at most {n_usable}, got {config.n_steps}")
    splits = split_of(config, np.zeros(sum(len(each) for each, _ in parts), np.int64), [len(x) for x, _ in parts], seed)
    n_pieces = n_usable // config.n_steps
    spikes, labels = (
        np.concatenate([each[:, : n_pieces * config.n_steps] for each in arrays]) for arrays in zip(*parts, strict=True)
    )
    bins = (spikes.reshape(-1, config.n_steps, CHANNELS) > 0).astype(np.uint8)
    pieces = [(part[:, None] * n_pieces + np.arange(n_pieces)).reshape(-1) for part in splits]
    targets = labels.reshape(-1, config.n_steps)
    return sensor_set(config, Samples(bins, targets, (pieces[0], pieces[1], pieces[2]), CLASSES, task="step_labels"))


def _events(path: Path, part: str) -> Part:
    """Return events (n, steps, 4) and labels (n, steps), UNLABELLED where the mask is 0."""
    spikes, labels, mask = named_arrays(path, {f"x_{part}": 3, f"y_{part}": 2, f"mask_{part}": 2})
    return _checked(path, spikes, np.where(mask != 0, labels.astype(np.int64), UNLABELLED))


def _one_hot(path: Path) -> Part:
    """Return the same of a published file, whose labels are one-hot, or zero at steps without one."""
    spikes, labels = named_arrays(path, {"x": 3, "y": 3})
    return _checked(path, spikes, np.where(labels.any(-1), labels.argmax(-1), UNLABELLED))


def _checked(path: Path, spikes: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Part:
    if spikes.shape != (*labels.shape, CHANNELS) or not len(spikes) or spikes.shape[1] < 2:
        raise FileError(
            f"data {path}: expected events (n, steps, {CHANNELS}) and labels (n, steps), got {spikes.shape} and "
            f"{labels.shape}"
        )
    if labels.max() >= len(CLASSES):
        raise FileError(f"data {path}: expected labels in 0..{len(CLASSES) - 1}, got up to {labels.max()}")
    return spikes, labels
