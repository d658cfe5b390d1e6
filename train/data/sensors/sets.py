"""What the readers of sensor data share: named arrays of a file, bins of the wanted length, the finished data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.tasks.task import Kind

from ..load import Bins, DataSet, Indices, Split, split_of
from ..recordings import load_arrays
from ..settings import DataConfig
from ..summary import Summary, log_summary


class Samples(NamedTuple):
    """Encoded recordings.

    Attributes:
        bins: (n, steps, channels) uint8.
        targets: of each, as the task has them.
        parts: indices of the training, validation and test split.
        classes: names of the classes, or of the outputs of a task without classes.
        step_s: seconds that a step covers; None where steps have no length of their own.
        input_max: largest value of a bin.
        task: kind of the targets.
        augment: (indices into the training split, generator) -> their bins, varied; None where nothing is varied.
    """

    bins: Bins
    targets: npt.NDArray[Any]
    parts: tuple[Indices, Indices, Indices]
    classes: Sequence[str]
    step_s: float | None = None
    input_max: int = 1
    task: Kind = "label"
    augment: Callable[[Indices, np.random.Generator], Bins] | None = None


def sensor_set(config: DataConfig, samples: Samples) -> DataSet:
    """Return encoded recordings as a data set, and log what was read."""
    bins = samples.bins
    summary = Summary(bins.shape[1], recordings=len(bins), largest_bin=int(bins.max(initial=0)))
    log_summary(config.name, summary, tuple(samples.classes) if samples.task != "values" else (), bins.shape[2:])
    train, validation, test = (Split(bins[part], samples.targets[part]) for part in samples.parts)
    return DataSet(
        config.name, bins.shape[2:], len(samples.classes), train, validation, test,
        augment=samples.augment, input_max=samples.input_max, step_s=samples.step_s, task=samples.task,
    )  # fmt: skip


def split_by(
    config: DataConfig, labels: Indices, test: npt.NDArray[np.bool_], seed: int
) -> tuple[Indices, Indices, Indices]:
    """Return the splits where `test` marks the test samples; validation is drawn from the others."""
    order = np.argsort(test, kind="stable")
    counts = [int((~test).sum()), int(test.sum())]
    train, validation, held_out = split_of(config, labels[order], counts, seed)
    return order[train], order[validation], order[held_out]


def named_arrays(path: Path, axes: dict[str, int]) -> list[npt.NDArray[Any]]:
    """Return arrays of an .npz file.

    axes: name -> number of axes, of the arrays to return, in this order.

    Raises:
        FileError: an array is missing or has another number of axes, or the first axes differ in length.
    """
    content = load_arrays(path)
    if not isinstance(content, dict) or not set(axes) <= set(content):
        got = ", ".join(content) if isinstance(content, dict) else "one array"
        raise FileError(f"data {path}: expected arrays {', '.join(axes)}, got {got or 'none'}")
    for name, count in axes.items():
        if content[name].ndim != count:
            raise FileError(f"data {path}: {name}: expected {count} axes, got shape {content[name].shape}")
    return [content[name] for name in axes]


def rebinned(config: DataConfig, bins: npt.NDArray[Any], bin_us: float) -> Bins:
    """Return recordings (n, bins, channels) in steps of `data.step_us`, cut or padded to `data.n_steps`.

    A step is 1 if one of its bins is not 0.

    Args:
        config: step_us, n_steps.
        bins: of `bin_us` microseconds.
        bin_us: duration of a bin.

    Raises:
        ConfigError: a step is no whole number of bins.
    """
    count = round(config.step_us / bin_us)
    if count < 1 or abs(count * bin_us - config.step_us) > 1e-6 * bin_us:
        raise ConfigError([f"data.step_us: expected a multiple of {bin_us:g} us, got {config.step_us:g}"])
    wanted = config.n_steps * count
    cut = bins[:, :wanted]
    padded = np.pad(cut, ((0, 0), (0, wanted - cut.shape[1]), (0, 0)))
    grouped = padded.reshape(len(bins), config.n_steps, count, bins.shape[2])
    return np.asarray(grouped.any(axis=2), np.uint8)
