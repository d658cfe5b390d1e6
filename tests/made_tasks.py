"""Small data sets for each kind of task, as functions that `data.name` can name."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdsnn.train.data.load import DataSet, Split
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.tasks.task import Kind

SIZES = (96, 32, 32)
CHANNELS, OUTPUTS = 6, 3


def made(kind: Kind, config: DataConfig, seed: int) -> DataSet:
    """Return a data set whose targets follow from which of three groups of channels fires."""
    rng = np.random.default_rng([seed, len(kind)])
    splits = []
    for n in SIZES:
        # Per sample and group a rate; in step_labels the group that fires changes half way.
        active = rng.random((n, OUTPUTS)) < 0.5
        label = rng.integers(0, OUTPUTS, (n, 2))
        one_hot = np.eye(OUTPUTS)[label]  # (n, halves, outputs)
        half = config.n_steps // 2
        if kind == "several_labels":
            rates = np.repeat(active[:, None] * 0.8, config.n_steps, axis=1)
        elif kind == "step_labels":
            rates = 0.9 * np.repeat(one_hot, [half, config.n_steps - half], axis=1)
        else:
            rates = np.repeat(rng.random((n, 1, OUTPUTS)), config.n_steps, axis=1)
        spikes = (rng.random((n, config.n_steps, CHANNELS)) < np.repeat(rates, 2, axis=2)).astype(np.uint8)
        targets: Any = {
            "label": lambda rates=rates: rates[:, 0].argmax(1),
            "several_labels": lambda active=active: active.astype(np.uint8),
            "step_labels": lambda rates=rates: np.where(np.arange(rates.shape[1]) < 2, -1, rates.argmax(2)),
            "values": lambda rates=rates: rates[:, 0],
            "spike_trains": lambda spikes=spikes: np.moveaxis(spikes[:, :, ::2], 1, -1),
        }[kind]()
        splits.append(Split(spikes, targets.astype(np.int64) if kind == "label" else targets))
    return DataSet("made", (CHANNELS,), OUTPUTS, *splits, task=kind)


def label(config: DataConfig, seed: int, download: bool) -> DataSet:
    return made("label", config, seed)


def step_labels(config: DataConfig, seed: int, download: bool) -> DataSet:
    return made("step_labels", config, seed)


def several_labels(config: DataConfig, seed: int, download: bool) -> DataSet:
    return made("several_labels", config, seed)


def values(config: DataConfig, seed: int, download: bool) -> DataSet:
    return made("values", config, seed)


def values_per_step(config: DataConfig, seed: int, download: bool) -> DataSet:
    data = made("values", config, seed)
    splits = [
        Split(split.spikes, np.repeat(split.labels[..., None], config.n_steps, axis=2))
        for split in (data.train, data.validation, data.test)
    ]
    return DataSet(data.name, data.shape, data.n_classes, *splits, task="values")


def spike_trains(config: DataConfig, seed: int, download: bool) -> DataSet:
    return made("spike_trains", config, seed)


def wrong_labels(config: DataConfig, seed: int, download: bool) -> DataSet:
    data = made("step_labels", config, seed)
    short = Split(data.validation.spikes, data.validation.labels[:, 1:])
    return DataSet("made", data.shape, data.n_classes, data.train, short, data.test, task="step_labels")
