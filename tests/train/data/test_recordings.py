"""Recordings in files: training and simulation read every form of them alike, and say the same of damaged ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdsnn.deploy.engine.inputs import events_to_dense
from sdsnn.deploy.simulate.samples import open_samples
from sdsnn.train.data.load import load_data
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.errors import FileError

WIDTH, HEIGHT, STEPS, STEP_US = 6, 5, 8, 1000


def recording(rng: np.random.Generator) -> np.ndarray:
    """Events in no order, with a first one that is not at time 0."""
    columns = (rng.integers(0, WIDTH, 60), rng.integers(0, HEIGHT, 60), rng.integers(0, 2, 60))
    time = rng.integers(1234, 1234 + STEPS * STEP_US + 500, 60)
    return np.stack([columns[0], columns[1], time, columns[2]], axis=1)


def write(path: Path, table: np.ndarray, form: str) -> None:
    x, y, t, p = table.T
    if form == "table.npy":
        np.save(path.with_suffix(".npy"), table)
    elif form == "fields.npy":
        events = np.zeros(len(table), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
        events["x"], events["y"], events["t"], events["p"] = x, y, t, p
        np.save(path.with_suffix(".npy"), events)
    elif form == "fields.npz":
        np.savez(path.with_suffix(".npz"), x=x, y=y, t=t, p=p)
    elif form == "bins.npz":
        np.savez(path.with_suffix(".npz"), spikes=dense(table))
    else:
        high = (p << 7) | (t >> 16)
        path.with_suffix(".bin").write_bytes(
            np.stack([x, y, high, (t >> 8) & 255, t & 255], 1).astype(np.uint8).tobytes()
        )


def dense(table: np.ndarray) -> np.ndarray:
    """Bin events one by one: time counts from the first."""
    result = np.zeros((STEPS, 2, HEIGHT, WIDTH), np.uint8)
    for x, y, t, p in table:
        step = int(t - table[:, 2].min()) // STEP_US
        if step < STEPS:
            result[step, p, y, x] = 1
    return result


@pytest.mark.parametrize("form", ["table.npy", "fields.npy", "fields.npz", "bins.npz", "n-mnist.bin"])
def test_training_and_simulation_take_the_same_files_and_see_the_same_bins(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    expected: dict[int, list[bytes]] = {0: [], 1: []}
    for label in (0, 1):
        folder = tmp_path / "data" / f"class{label}"
        folder.mkdir(parents=True)
        for index in range(8):
            table = recording(rng)
            write(folder / str(index), table, form)
            expected[label].append(dense(table).tobytes())
    config = DataConfig(
        name="folder", directory=str(tmp_path / "data"), sensor=(WIDTH, HEIGHT, 2), n_steps=STEPS, step_us=STEP_US,
        cache=str(tmp_path / "cache"),
    )  # fmt: skip
    data = load_data(config, 0)
    trained: dict[int, list[bytes]] = {0: [], 1: []}
    for split in (data.train, data.validation, data.test):
        for bins, label in zip(split.spikes[:], split.labels, strict=True):
            trained[int(label)].append(bins.tobytes())
    simulated: dict[int, list[bytes]] = {0: [], 1: []}
    samples = open_samples(tmp_path / "data")
    assert samples.labels is not None
    for sample, label in zip(samples, samples.labels, strict=True):
        bins = sample if sample.dtype.names is None else events_to_dense(sample, (2, HEIGHT, WIDTH), STEP_US, STEPS)
        simulated[int(label)].append(np.ascontiguousarray(bins).tobytes())
    for label in (0, 1):
        assert sorted(trained[label]) == sorted(expected[label])
        assert simulated[label] == expected[label]


@pytest.mark.parametrize(
    ("name", "message"), [("a.bin", "expected whole events of 5 bytes, got 7"), ("a.npy", "not an .npy file"),
                          ("a.npz", "not an .npz file"), ("a.aedat4", "aedat")]
)  # fmt: skip
def test_a_damaged_recording_is_the_same_line_in_both(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / name).write_bytes(b"damaged")
    config = DataConfig(name="folder", directory=str(tmp_path), sensor=(4, 4, 2), cache=str(tmp_path.parent / "cache"))
    with pytest.raises((FileError, ImportError), match=message) as in_training:
        load_data(config, 0)
    with pytest.raises((FileError, ImportError), match=message) as in_simulation:
        list(open_samples(tmp_path))
    assert str(in_training.value) == str(in_simulation.value)
    assert "\n" not in str(in_training.value)


def test_reading_recordings_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, sdsnn.deploy.simulate.samples, sdsnn.train.data.recordings;"
        "print([name for name in ('torch', 'pydantic', 'numba', 'tonic') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("names", [[str(n) for n in range(12)], ["1", "2", "3"], ["b", "a", "empty"], ["10", "9"]])
@pytest.mark.parametrize("split", [False, True])
def test_training_and_simulation_number_classes_alike(names: list[str], split: bool, tmp_path: Path) -> None:
    """Eleven numbers, or numbers from 1, have another order as text; empty folders and a `test` part count too."""
    tops = [tmp_path / "data" / part for part in (("train", "test") if split else ("",))]
    for top in tops:
        for name in names if top.name != "test" else names[1:]:
            (top / name).mkdir(parents=True)
            for index in range(8 * (name != "empty")):  # the first bin says which class this is
                bins = np.zeros((STEPS, 2, HEIGHT, WIDTH), np.uint8)
                bins[names.index(name) % STEPS, names.index(name) // STEPS, 0, 0] = 1
                np.savez(top / name / f"{index}.npz", spikes=bins)
    config = DataConfig(
        name="folder", directory=str(tmp_path / "data"), sensor=(WIDTH, HEIGHT, 2), n_steps=STEPS, step_us=STEP_US,
        cache=str(tmp_path / "cache"),
    )  # fmt: skip
    data = load_data(config, 0)
    trained = {
        (bytes(s), int(y)) for part in (data.train, data.test) for s, y in zip(part.spikes[:], part.labels, strict=True)
    }
    for top in tops:
        samples = open_samples(top)
        assert samples.labels is not None
        simulated = {(np.ascontiguousarray(s).tobytes(), int(y)) for s, y in zip(samples, samples.labels, strict=True)}
        assert simulated <= trained
        assert len(simulated) == len(names) - ("empty" in names) - (top.name == "test")


def test_a_class_that_training_does_not_have_is_refused(tmp_path: Path) -> None:
    for folder in ("train/a", "test/a", "test/b"):
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / "0.npy", np.zeros((3, 4), np.int64))
    with pytest.raises(FileError, match=r"test: expected the classes of .*train, got also b"):
        open_samples(tmp_path / "test")
    config = DataConfig(name="folder", directory=str(tmp_path), sensor=(4, 4, 2), cache=str(tmp_path / "cache"))
    with pytest.raises(FileError, match=r"test: expected the classes of .*train, got also b"):
        load_data(config, 0)
