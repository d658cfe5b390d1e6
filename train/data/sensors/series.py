"""Time series of the UCR/UEA archive (timeseriesclassification.com): their classes, or their last values as targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import ConfigError, FileError

from ..datasets import locate, missing
from ..load import DataSet, Indices, split_of
from ..settings import DataConfig
from .coding import encode, held, scaled
from .sets import Samples, named_arrays, sensor_set, split_by


class Series(NamedTuple):
    """Series (n, frames, channels) with NaN behind the end of each, their labels, and which are the archive's test."""

    values: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    test: npt.NDArray[np.bool_]


def uea(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return the set `data.series` of the archive.

    Values become 0..1 by the range of each channel in training, and spikes by `data.coding`; `data.n_steps` steps cover
    the longest series. With `data.forecast`, the last so many frames are the targets, task values: each channel less
    its mean and over its standard deviation in training. The archive's split is one for classes, so the seed then draws
    the test split.
    """
    series = _read(config)
    if config.forecast:
        return _forecast(config, series, seed)
    classes, labels = np.unique(series.labels, return_inverse=True)
    parts = split_by(config, labels.astype(np.int64), series.test, seed)
    bins, input_max = _bins(config, series.values, series.lengths, parts[0])
    return sensor_set(config, Samples(bins, labels.astype(np.int64), parts, classes.tolist(), input_max=input_max))


def _forecast(config: DataConfig, series: Series, seed: int) -> DataSet:
    n, longest, n_channels = series.values.shape
    if (series.lengths != longest).any() or config.forecast >= longest:
        got = f"{series.lengths.min()}..{longest} and {config.forecast}"
        raise ConfigError([f"data.forecast: expected series of one length above it, got {got}"])
    parts = split_of(config, np.zeros(n, np.int64), [n], seed)
    known, future = series.values[:, : -config.forecast], series.values[:, -config.forecast :]
    mean, deviation = (reduce(series.values[parts[0]], axis=(0, 1)) for reduce in (np.mean, np.std))
    targets = ((future - mean) / np.where(deviation > 0, deviation, 1)).reshape(n, -1).astype(np.float32)
    bins, input_max = _bins(config, known, series.lengths - config.forecast, parts[0])
    names = [f"{frame}.{channel}" for frame in range(config.forecast) for channel in range(n_channels)]
    return sensor_set(config, Samples(bins, targets, parts, names, input_max=input_max, task="values"))


def _bins(
    config: DataConfig, values: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64], train: Indices
) -> tuple[npt.NDArray[np.uint8], int]:
    inside = np.arange(values.shape[1]) < lengths[:, None]
    levels = np.where(inside[..., None], scaled(values, train), 0)
    return encode(config, held(levels, lengths, config.n_steps))


def _read(config: DataConfig) -> Series:
    if config.series is None:
        raise ConfigError(["data.series: expected the name of a set of the archive, as in GunPoint, got none"])
    directory = locate(config)
    archive = directory / f"{config.series}.npz"
    texts = [directory / f"{config.series}_{part}.ts" for part in ("TRAIN", "TEST")]
    if archive.is_file():
        parts = [_archive(archive, part) for part in ("train", "test")]
    elif all(path.is_file() for path in texts):
        parts = [_text(path) for path in texts]
    else:
        what = f"has neither {archive.name} nor {texts[0].name}" if directory.is_dir() else "does not exist"
        raise missing(config, directory, what)
    n_channels = {values.shape[2] for values, _, _ in parts}
    if len(n_channels) > 1:
        got = " and ".join(map(str, sorted(n_channels)))
        raise FileError(f"data {directory}: expected series of the same channels in both parts, got {got}")
    longest = max(values.shape[1] for values, _, _ in parts)
    values = np.concatenate(
        [np.pad(each, ((0, 0), (0, longest - each.shape[1]), (0, 0)), constant_values=np.nan) for each, _, _ in parts]
    )
    counts = [len(labels) for _, _, labels in parts]
    lengths, labels = (np.concatenate([part[at] for part in parts]) for at in (1, 2))
    return Series(values, lengths, labels, np.repeat([False, True], counts))


Part = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[Any]]


def _archive(path: Path, part: str) -> Part:
    """Return values (n, frames, channels), lengths and labels of an .npz file, whose series are channels first."""
    values, labels, lengths = named_arrays(path, {f"x_{part}": 3, f"y_{part}": 1, f"length_{part}": 1})
    frames = np.moveaxis(values, 1, 2).astype(np.float64)
    fits = len(frames) == len(labels) == len(lengths) > 0 and lengths.dtype.kind in "iu"
    if not fits or lengths.min() < 1 or lengths.max() > frames.shape[1]:
        raise FileError(f"data {path}: expected lengths (n,) in 1..{frames.shape[1]} and labels (n,), got others")
    return _finite(path, frames, lengths.astype(np.int64)), lengths.astype(np.int64), labels


def _text(path: Path) -> Part:
    """Return the same of a .ts file: behind @data a line for each series, channels and the label between colons."""
    try:
        lines = path.read_text().splitlines()
        begin = next(number for number, line in enumerate(lines) if line.strip().lower() == "@data")
        rows = [line.strip().split(":") for line in lines[begin + 1 :] if line.strip()]
        series = [np.array([channel.split(",") for channel in row[:-1]], np.float64).T for row in rows]
        labels = np.array([row[-1].strip() for row in rows])
        lengths = np.array([len(each) for each in series], np.int64)
        values = np.full((len(series), lengths.max(), series[0].shape[1]), np.nan)
        for into, each in zip(values, series, strict=True):
            into[: len(each)] = each
    except (OSError, ValueError, StopIteration, LookupError, UnicodeDecodeError):
        raise FileError(
            f"data {path}: expected lines of numbers between commas, channels between colons, behind @data"
        ) from None
    return _finite(path, values, lengths), lengths, labels


def _finite(path: Path, values: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return values with NaN behind the end of each series. Raises FileError for others within."""
    inside = np.arange(values.shape[1]) < lengths[:, None]
    if not np.isfinite(values[inside]).all():
        raise FileError(f"data {path}: expected finite numbers, got NaN or infinity within a series")
    return np.where(inside[..., None], values, np.nan)
