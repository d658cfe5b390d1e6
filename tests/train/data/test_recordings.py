"""Recordings in files: training and simulation read every form of them alike, and say the same of damaged ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import event_writers
import numpy as np
import pytest
import scipy.io
import torch

from sdsnn.deploy.engine.inputs import events_to_dense
from sdsnn.deploy.simulate.samples import open_samples
from sdsnn.train.data.load import load_data
from sdsnn.train.data.recordings import Convention, from_first
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.errors import FileError

WIDTH, HEIGHT, STEPS, STEP_US = 6, 5, 8, 1000


def recording(rng: np.random.Generator) -> np.ndarray:
    """Events in no order, with a first one that is not at time 0."""
    columns = (rng.integers(0, WIDTH, 60), rng.integers(0, HEIGHT, 60), rng.integers(0, 2, 60))
    columns[2][:2] = 0, 1
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
    elif form == "frames.npy":  # tonic's ToFrame counts events
        np.save(path.with_suffix(".npy"), counts(table))
    elif form == "bins.pt":
        torch.save(torch.from_numpy(dense(table)), path.with_suffix(".pt"))
    elif form == "fields.mat":
        scipy.io.savemat(path.with_suffix(".mat"), {"TD": {"x": x, "y": y, "ts": t, "p": p}})
    elif form in event_writers.WRITERS:
        in_order = sorted(map(tuple, table.tolist()), key=lambda row: row[2])
        events = [(x, y, t, p) for x, y, t, p in in_order]
        event_writers.WRITERS[form](path.with_suffix(f".{form.split('.')[1]}"), events)
    else:
        high = (p << 7) | (t >> 16)
        path.with_suffix(".bin").write_bytes(
            np.stack([x, y, high, (t >> 8) & 255, t & 255], 1).astype(np.uint8).tobytes()
        )


def counts(table: np.ndarray) -> np.ndarray:
    """Count events in bins of counts, as tonic's frames do."""
    result = np.zeros((STEPS, 2, HEIGHT, WIDTH), np.int16)
    for x, y, t, p in table:
        step = int(t - table[:, 2].min()) // STEP_US
        if step < STEPS:
            result[step, p, y, x] += 1
    return result


def dense(table: np.ndarray) -> np.ndarray:
    """Bin events one by one: time counts from the first."""
    result = np.zeros((STEPS, 2, HEIGHT, WIDTH), np.uint8)
    for x, y, t, p in table:
        step = int(t - table[:, 2].min()) // STEP_US
        if step < STEPS:
            result[step, p, y, x] = 1
    return result


FORMS = [
    "table.npy", "fields.npy", "fields.npz", "bins.npz", "n-mnist.bin", "frames.npy", "bins.pt", "fields.mat",
    *(form for form in event_writers.WRITERS if not form.endswith(("bin", "bs1"))),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
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
        if sample.dtype.names is None:
            bins = np.minimum(sample, 1).astype(np.uint8)
        else:
            bins = events_to_dense(from_first(sample), (2, HEIGHT, WIDTH), STEP_US, STEPS)
        simulated[int(label)].append(np.ascontiguousarray(bins).tobytes())
    for label in (0, 1):
        assert sorted(trained[label]) == sorted(expected[label])
        assert simulated[label] == expected[label]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.bin", "expected whole events of 5 bytes, got 7"),
        ("a.npy", "expected the header of an array"),
        ("a.npz", "expected an .npz file"),
        ("a.aedat4", "aedat"),
    ],
)
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


def write_folder(folder: Path, rng: np.random.Generator, scale: float, start: float = 0.0) -> None:
    for label in (0, 1):
        (folder / f"class{label}").mkdir(parents=True)
        for index in range(8):
            table = recording(rng)
            time = table[:, 2] * scale + start
            np.savez(folder / f"class{label}" / f"{index}.npz", x=table[:, 0], y=table[:, 1], t=time, p=table[:, 3])


def folder_config(folder: Path, **more: object) -> DataConfig:
    return DataConfig(
        name="folder", directory=str(folder / "data"), sensor=(WIDTH, HEIGHT, 2), n_steps=STEPS, step_us=STEP_US,
        cache=str(folder / "cache"), **more,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(("unit", "scale"), [("us", 1.0), ("ms", 1e-3), ("s", 1e-6)])
def test_units_of_time_give_the_same_bins(unit: str, scale: float, tmp_path: Path) -> None:
    write_folder(tmp_path / "us" / "data", np.random.default_rng(4), 1.0)
    write_folder(tmp_path / "data", np.random.default_rng(4), scale, start=1e9 * scale)
    expected = load_data(folder_config(tmp_path / "us"), 0)
    data = load_data(folder_config(tmp_path, time_unit=unit), 0)
    np.testing.assert_array_equal(data.train.spikes[:], expected.train.spikes[:])


def test_a_line_says_what_was_read_and_warns_of_another_unit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sdsnn.data")
    write_folder(tmp_path / "data", np.random.default_rng(4), 1.0, start=7e6)
    rng = np.random.default_rng(4)
    tables = [recording(rng) for _ in range(16)]
    left_out = sum(int((table[:, 2] - table[:, 2].min() >= STEPS * STEP_US).sum()) for table in tables)
    times = 7_000_000 + np.concatenate([table[:, 2] for table in tables])
    first, last = times.min(), times.max()
    expected = (
        f"data folder: 2 classes (class0, class1), 16 recordings, sensor {WIDTH} x {HEIGHT} x 2, {STEPS} steps of "
        f"{STEP_US} us, {16 * 60 - left_out:,} events ({left_out:,} after the last step left out), "
        f"times {first:,} to {last:,} us"
    )
    for _ in range(2):  # the cache knows it too
        caplog.clear()
        load_data(folder_config(tmp_path), 0)
        assert caplog.messages == [expected]
    caplog.clear()
    write_folder(tmp_path / "ms" / "data", np.random.default_rng(4), 1e-3)
    load_data(folder_config(tmp_path / "ms"), 0)
    assert caplog.messages[1] == (
        f"data folder: all events of every recording fall into step 0 of {STEPS}; are the times in ms? (time unit)"
    )


@pytest.mark.parametrize("form", ["npz", "mat", "pt"])
def test_arrays_with_the_time_axis_last_and_one_hot_labels(form: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """What SLAYER's own scripts keep: (n, channels, steps) and (n, channels, height, width, steps)."""
    spikes = (rng.random((40, 6, 2, 3, 4)) < 0.4).astype(np.uint8)
    labels = np.arange(40) % 3
    last = np.ascontiguousarray(np.moveaxis(spikes, 1, -1))
    hot = np.eye(3, dtype=np.float32)[labels]
    folders = [tmp_path / "plain", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    np.savez(folders[0] / "train.npz", spikes=spikes, labels=labels)
    if form == "npz":
        np.savez(folders[1] / "train.npz", spikes=last, targets=hot)
    elif form == "mat":
        scipy.io.savemat(folders[1] / "train.mat", {"spikes": last, "labels": labels[:, None].astype(float)})
    else:
        torch.save({"spikes": torch.from_numpy(last), "labels": torch.from_numpy(hot)}, folders[1] / "train.pt")
    expected = load_data(DataConfig(name="folder", directory=str(folders[0])), 0)
    data = load_data(DataConfig(name="folder", directory=str(folders[1]), axes="time-last"), 0)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(data, name).spikes[:], getattr(expected, name).spikes[:])
        np.testing.assert_array_equal(getattr(data, name).labels, getattr(expected, name).labels)
    file = next(folders[1].iterdir())
    opened = open_samples(file, Convention(axes="time-last"))
    np.testing.assert_array_equal(np.stack(list(opened)), spikes)
    np.testing.assert_array_equal(opened.labels, labels)


WRONG_LABELS = [
    ({"classes": np.arange(8)}, "expected labels under one of labels, y, label, targets, target, got classes"),
    ({"labels": np.full((8, 3), 1)}, "labels: expected one 1 in each row of one-hot labels, got other rows"),
    ({"labels": np.arange(7)}, r"labels: expected integers \(8,\), got int64 \(7,\)"),
    ({"labels": np.arange(8) / 2}, r"labels: expected integers \(8,\), got float64 \(8,\)"),
    ({"labels": np.array(list("abcdefgh"))}, r"labels: expected integers \(8,\), got <U1 \(8,\)"),
]


@pytest.mark.parametrize(("arrays", "message"), WRONG_LABELS)
def test_labels_of_another_kind_are_the_same_line_in_both(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "train.npz", spikes=np.ones((8, 3, 4), np.uint8), **arrays)
    with pytest.raises(FileError, match=message) as in_training:
        load_data(DataConfig(name="folder", directory=str(tmp_path)), 0)
    with pytest.raises(FileError, match=message) as in_simulation:
        open_samples(tmp_path / "train.npz")
    assert str(in_training.value) == str(in_simulation.value)


def test_one_polarity_takes_events_of_both_and_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    for index in range(8):
        event_writers.write_bs1(tmp_path / "data" / "a" / f"{index}.bs1", [(3, 0, 10, 1), (300, 0, 2_500, 0)])
    (tmp_path / "data" / "a" / "._0.bs1").write_bytes(b"of a file manager")
    config = DataConfig(
        name="folder", directory=str(tmp_path / "data"), sensor=(700, 1, 1), n_steps=4, cache=str(tmp_path / "cache")
    )
    data = load_data(config, 0)
    assert [tuple(place) for place in np.argwhere(data.train.spikes[:1][0])] == [(0, 3), (2, 300)]
