"""Six thousand of MNIST's training digits, so that many epochs fit: `data.name = "study.mnist_part:mnist_part"`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdsnn.train.data.images import mnist
from sdsnn.train.data.load import DataSet, Split
from sdsnn.train.data.settings import DataConfig

TRAINING, VALIDATION = 6_000, 1_500


def mnist_part(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return MNIST with the first digits of its shuffled training and validation splits, and its whole test split."""
    whole = mnist(config.model_copy(update={"name": "mnist"}), seed, download)
    train, validation = (
        Split(np.asarray(part.spikes[:size]), part.labels[:size])
        for part, size in ((whole.train, TRAINING), (whole.validation, VALIDATION))
    )
    return replace(whole, train=train, validation=validation, augment=None)
