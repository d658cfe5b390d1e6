"""Data sets as spikes: bins of (samples, steps, *shape) with labels, in three splits that the seed decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.network import Shape
from sdsnn_core.tasks.task import Kind, Task

from .settings import DataConfig

Indices = npt.NDArray[np.int64]
Bins = npt.NDArray[np.uint8]


@final
class LazySpikes:
    """Spikes that are computed on access; behaves as an (n, steps, *shape) uint8 array.

    make: (indices into the source) -> their bins. chosen: the source's indices of these samples, in order.
    """

    def __init__(self, chosen: Indices, n_steps: int, shape: Shape, make: Callable[[Indices], Bins]) -> None:
        self.chosen = chosen
        self.make = make
        self.shape = (len(chosen), n_steps, *shape)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: slice | Indices) -> Bins:
        return self.make(self.chosen[key])

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


Spikes = Bins | LazySpikes


@final
@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their targets.

    Attributes:
        spikes: (n, steps, *shape) uint8 bins, indexed by slices and index arrays.
        labels: the targets, as the task of the data set has them: (n,) int64 classes of task label.
    """

    spikes: Spikes
    labels: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.spikes)


class SampleFormat(NamedTuple):
    """What a network must know of its samples.

    Attributes:
        shape: (channels,) or (channels, height, width) of a time bin.
        n_classes: number of classes, or of outputs of tasks without classes.
        input_max: largest value of a bin; 1 means plain spikes.
        step_s: seconds that a bin covers, of recordings; None where steps have no length of their own, as with images.
        task: kind of the targets, see sdsnn_core.tasks.task.Task.
    """

    shape: Shape
    n_classes: int
    input_max: int = 1
    step_s: float | None = None
    task: Kind = "label"


@final
@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits. The test split is looked at once, by the checkpoint that validation chose.

    shape: (channels,) or (channels, height, width) of a bin. input_max: largest value of a bin; 1 means plain spikes.
    augment: (indices into the training split, generator) -> their spikes, varied; None where nothing is varied.
    step_s: seconds that a bin covers, of recordings; None where steps have no length of their own, as with images.
    task: kind of the targets, see sdsnn_core.tasks.task.Task.
    """

    name: str
    shape: Shape
    n_classes: int
    train: Split
    validation: Split
    test: Split
    augment: Callable[[Indices, np.random.Generator], Bins] | None = None
    input_max: int = 1
    step_s: float | None = None
    task: Kind = "label"

    @property
    def format(self) -> SampleFormat:
        """The format of the samples."""
        return SampleFormat(self.shape, self.n_classes, self.input_max, self.step_s, self.task)

    def training_spikes(self, chosen: Indices, rng: np.random.Generator) -> Bins:
        """Return the spikes of some training samples, varied by `rng` where the configuration asks for it."""
        return self.train.spikes[chosen] if self.augment is None else self.augment(chosen, rng)


def load_data(config: DataConfig, seed: int, *, download: bool = False) -> DataSet:
    """Load and encode a data set. The same config, seed and files give the same spikes and splits.

    download: fetch what is missing. Raises FileError naming what to get and from where otherwise.
    """
    from .datasets import find

    data: DataSet = find(config.name)(config, seed, download)
    empty = [name for name in ("train", "validation", "test") if not len(getattr(data, name))]
    if empty:
        raise FileError(
            f"data {config.name}: expected at least one sample in each split, got none for {', '.join(empty)}; "
            "add samples of each class, or change data.validation_fraction or data.test_fraction"
        )
    for name in ("train", "validation", "test"):
        split: Split = getattr(data, name)
        if not isinstance(split.labels, np.ndarray):
            problem: str | None = f"expected labels as a numpy array, got {type(split.labels).__name__}"
        else:
            problem = Task(data.task).problem(split.labels, len(split), split.spikes.shape[1], data.n_classes)
        if problem is not None:
            raise FileError(f"data {config.name}: {problem} in the {name} split")
    return data


def split_indices(
    labels: npt.NDArray[np.int64], validation: float, test: float, seed: int
) -> tuple[Indices, Indices, Indices]:
    """Return (train, validation, test) indices, with every class in its proportion, shuffled by `seed`."""
    rng = np.random.default_rng([seed, 0x5D])
    parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_test, n_validation = round(test * len(members)), round(validation * len(members))
        parts[2].append(members[:n_test])
        parts[1].append(members[n_test : n_test + n_validation])
        parts[0].append(members[n_test + n_validation :])
    train, valid, held_out = (np.sort(np.concatenate(part)) for part in parts)
    return train, valid, held_out


def split_of(config: DataConfig, labels: Indices, counts: Sequence[int], seed: int) -> tuple[Indices, Indices, Indices]:
    """Return the train, validation and test splits of samples.

    Args:
        config: shares of the splits, and the fold of a cross-validation.
        labels: of all samples; every class is split in its proportion.
        counts: how many samples are in each part that the set itself has: (all), (train, test) or
            (train, validation, test), in this order. A cross-validation does not keep these parts apart.
        seed: draws what the parts do not say.
    """
    if config.folds:
        return fold_of(labels, config.validation_fraction, config.fold, config.folds, seed)
    if len(counts) == 1:
        return split_indices(labels, config.validation_fraction, config.test_fraction, seed)
    ends = np.cumsum(counts)
    if len(counts) == 3:
        return np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2])
    train, validation, _ = split_indices(labels[: ends[0]], config.validation_fraction, 0.0, seed)
    return train, validation, np.arange(ends[0], ends[1])


def fold_of(labels: Indices, validation: float, fold: int, folds: int, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return the splits of one fold of a cross-validation.

    Every sample is in the test split of exactly one fold, the same for every seed. Each class spreads evenly over the
    folds. The seed draws the validation split from the other folds.
    """
    rng = np.random.default_rng([folds, 0xF01D])
    by_class = np.concatenate([rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    test = np.sort(by_class[fold::folds])
    others = np.setdiff1d(np.arange(len(labels)), test)
    train, valid, _ = split_indices(labels[others], validation, 0.0, seed)
    return others[train], others[valid], test
