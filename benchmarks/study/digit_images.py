"""The digits as images of one channel, for convolutions: `data.name = "study.digit_images:digit_images"`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdsnn.train.data.images import digits
from sdsnn.train.data.load import DataSet, Split
from sdsnn.train.data.settings import DataConfig


def digit_images(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return the digits with bins of shape (1, 8, 8)."""
    flat = digits(config, seed, download)
    parts = (
        Split(np.asarray(part.spikes).reshape(len(part), config.n_steps, 1, 8, 8), part.labels)
        for part in (flat.train, flat.validation, flat.test)
    )
    train, validation, test = parts
    return replace(flat, shape=(1, 8, 8), train=train, validation=validation, test=test)
