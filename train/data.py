"""Data sets as spikes: arrays of (samples, steps, channels) bins with labels, split once and for all by the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Shape

from .config import DataConfig

Indices = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Split:
    """spikes: (n, steps, *shape) uint8 bins. labels: (n,) int64."""

    spikes: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@final
@dataclass(frozen=True, eq=False)
class DataSet:
    """Three disjoint splits. The test split is looked at once, by the checkpoint that validation chose.

    augment: (indices into the training split, generator) -> their spikes, varied; None where nothing is varied.
    """

    name: str
    shape: Shape
    n_classes: int
    train: Split
    validation: Split
    test: Split
    augment: Callable[[Indices, np.random.Generator], npt.NDArray[np.uint8]] | None = None

    def training_spikes(self, chosen: Indices, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Return the spikes of some training samples, varied by `rng` where the configuration asks for it."""
        return self.train.spikes[chosen] if self.augment is None else self.augment(chosen, rng)


def load_data(config: DataConfig, seed: int) -> DataSet:
    """Load and encode a data set. The same config and seed give the same arrays and splits."""
    return _LOADERS[config.name](config, seed)


def accumulate(values: npt.NDArray[Any], n_steps: int, full: float) -> npt.NDArray[np.uint8]:
    """Rate code without randomness: every step adds value / full to an accumulator that emits at 1.

    values: (n, channels) in 0..full. Returns (n, n_steps, channels) uint8; a channel emits round(n_steps * value /
    full) spikes, spread evenly. The accumulator starts at one half, so that emission is centred.
    """
    level = values[:, None, :].astype(np.float64) / full
    total = np.floor(level * np.arange(n_steps + 1)[None, :, None] + 0.5)
    return np.diff(total, axis=1).astype(np.uint8)


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


def _digits(config: DataConfig, seed: int) -> DataSet:
    """Return scikit-learn's 1,797 handwritten digits: 8 x 8 pixels of 17 grey levels, as rate-coded spikes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    spikes = accumulate(images, config.n_steps, full=16)
    labels = labels.astype(np.int64)
    parts = split_indices(labels, config.validation_fraction, config.test_fraction, seed)
    train, validation, test = (Split(spikes[part], labels[part]) for part in parts)

    def noisy(chosen: Indices, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        pixels = images[parts[0][chosen]]
        varied = np.clip(np.rint(pixels + rng.normal(0, config.noise, pixels.shape)), 0, 16)
        return accumulate(varied, config.n_steps, full=16)

    return DataSet("digits", (64,), 10, train, validation, test, noisy if config.noise else None)


_LOADERS = {"digits": _digits}
