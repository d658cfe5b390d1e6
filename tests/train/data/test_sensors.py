"""Sensor data sets: every file becomes the spikes, targets and splits that it should, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import dataset_writers
import numpy as np
import pytest

from sdsnn.train.data.load import load_data
from sdsnn.train.data.sensors.sets import rebinned
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.errors import ConfigError, FileError


def config(name: str, folder: Path, **keys: object) -> DataConfig:
    return DataConfig.model_validate({"name": name, "directory": str(folder), **keys})


@pytest.mark.parametrize(("n_steps", "width"), [(3, 1), (3, 2), (9, 2), (2, 7)])
def test_a_step_is_1_if_one_of_its_bins_is(n_steps: int, width: int, rng: np.random.Generator) -> None:
    bins = (rng.random((4, 10, 3)) < 0.3).astype(np.uint8)
    steps = rebinned(DataConfig(n_steps=n_steps, step_us=width * 500.0), bins, 500.0)
    assert steps.shape == (4, n_steps, 3)
    assert steps.dtype == np.uint8
    for sample, step, channel in np.ndindex(steps.shape):
        assert steps[sample, step, channel] == any(bins[sample, step * width : (step + 1) * width, channel])


@pytest.mark.parametrize("step_us", [250.0, 750.0, 499.0])
def test_a_step_must_be_whole_bins(step_us: float) -> None:
    with pytest.raises(ConfigError, match=f"data.step_us: expected a multiple of 500 us, got {step_us:g}"):
        rebinned(DataConfig(step_us=step_us), np.zeros((1, 4, 2)), 500.0)


@pytest.mark.parametrize(("kind", "n_classes"), [("objects", 36), ("containers", 20)])
def test_event_skin_reads_archives_and_published_folders_alike(
    kind: str, n_classes: int, rng: np.random.Generator, tmp_path: Path
) -> None:
    archives, folders = tmp_path / "archives", tmp_path / "folders"
    dataset_writers.write_skin(archives, rng, kind, n_classes, bins=8)
    for part in ("train", "test"):
        (folders / part).mkdir(parents=True)
        content = np.load(archives / f"{kind}_{part}.npz")
        for number, (spikes, label) in enumerate(zip(content["spikes"], content["labels"], strict=True)):
            recording = np.zeros((39, 2, 8), np.uint8)
            for taxel, polarity in np.ndindex(39, 2):
                recording[taxel, polarity] = spikes[:, 2 * taxel + polarity]
            np.save(folders / part / f"{number:04}_label_{label}.npy", recording)
    keys = {"step_us": 20_000.0, "n_steps": 8}
    ours, theirs = (load_data(config(f"ev_{kind}", place, **keys), 3) for place in (archives, folders))
    assert (ours.shape, ours.n_classes, ours.step_s) == ((78,), n_classes, 0.02)
    assert len(ours.test) == n_classes
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(ours, name).spikes, getattr(theirs, name).spikes)
        np.testing.assert_array_equal(getattr(ours, name).labels, getattr(theirs, name).labels)
    np.testing.assert_array_equal(ours.test.spikes, np.load(archives / f"{kind}_test.npz")["spikes"])


def test_event_skin_says_what_does_not_fit(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"data ev_objects: expected objects_train.npz .* does not exist"):
        load_data(config("ev_objects", tmp_path / "no"), 0)
    with pytest.raises(FileError, match=r"which has no objects_train\.npz"):
        load_data(config("ev_objects", tmp_path), 0)
    dataset_writers.write_skin(tmp_path, rng, bins=2)
    spikes = np.load(tmp_path / "objects_train.npz")["spikes"]
    for arrays, message in (
        ({"spikes": spikes}, "expected arrays spikes, labels, got spikes"),
        ({"spikes": spikes[0], "labels": np.arange(2)}, "spikes: expected 3 axes, got shape"),
        ({"spikes": spikes, "labels": np.arange(len(spikes))}, r"expected labels in 0\.\.35, got 0\.\.143"),
        ({"spikes": spikes[..., 1:], "labels": np.arange(len(spikes))}, r"expected spikes \(n, bins, 78\)"),
    ):
        np.savez(tmp_path / "objects_train.npz", **arrays)
        with pytest.raises(FileError, match=message):
            load_data(config("ev_objects", tmp_path, step_us=20_000.0), 0)
