"""Data sets from tiny files of the right formats: what is read, what is refused, and the cache."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from dataset_writers import write_cifar10_dvs, write_gesture, write_heidelberg, write_mnist, write_nmnist

from sdsnn.train.data.encoding import direct, latency
from sdsnn.train.data.event_cache import Grid, Sensor, bins_of
from sdsnn.train.data.load import load_data
from sdsnn.train.run.config import DataConfig, load_config, with_directory
from sdsnn_core.errors import ConfigError, FileError, MissingDependency, SdsnnError


def config(name: str, folder: Path, **more: object) -> DataConfig:
    return DataConfig(name=name, directory=str(folder / name), cache=str(folder / "cache"), **more)  # type: ignore[arg-type]


def test_mnist_from_npz_and_idx_is_the_same(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = write_mnist(tmp_path / "mnist", rng)
    data = load_data(config("mnist", tmp_path, n_steps=5), seed=1)
    assert (data.shape, data.n_classes, len(data.test)) == ((1, 28, 28), 10, 20)
    assert len(data.train) + len(data.validation) == 60
    assert data.test.spikes[:3].shape == (3, 5, 1, 28, 28)
    np.testing.assert_array_equal(
        data.test.spikes[:].sum(1)[:, 0], np.floor(arrays["x_test"] / 255 * 5 + 0.5).astype(int)
    )
    (tmp_path / "mnist" / "mnist.npz").unlink()
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for name, values in zip(names, arrays.values(), strict=True):
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        (tmp_path / "mnist" / f"{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    again = load_data(config("mnist", tmp_path, n_steps=5), seed=1)
    np.testing.assert_array_equal(again.train.spikes[:], data.train.spikes[:])
    np.testing.assert_array_equal(again.validation.labels, data.validation.labels)


def test_nmnist_bins_are_those_of_tonic(rng: np.random.Generator, tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", rng)
    data = load_data(config("nmnist", tmp_path, n_steps=50, step_us=7000.0), seed=0)
    assert (data.shape, data.n_classes) == ((2, 34, 34), 10)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 40)
    import tonic

    path = tmp_path / "nmnist" / "Test" / "0" / "00000.bin"
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    events = tonic.io.read_mnist_file(str(path), dtype=dtype)
    for t, x, y, p in zip(events["t"], events["x"], events["y"], events["p"], strict=True):
        assert data.test.spikes[:1][0, t // 7000, p, y, x] == 1
    assert data.test.spikes[:1].sum() == len({(e["t"] // 7000, e["x"], e["y"], e["p"]) for e in events})


def test_events_are_binned_once_and_anew_when_a_file_changes(rng: np.random.Generator, tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", rng)
    first = load_data(config("nmnist", tmp_path), seed=0)
    (folder,) = (tmp_path / "cache").iterdir()
    stamp = (folder / "bins.npy").stat().st_mtime_ns
    second = load_data(config("nmnist", tmp_path), seed=0)
    assert (folder / "bins.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.train.spikes[:], second.train.spikes[:])
    path = tmp_path / "nmnist" / "Test" / "3" / "00001.bin"
    path.write_bytes(path.read_bytes()[:-5])
    load_data(config("nmnist", tmp_path), seed=0)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    (folder / "offsets.npy").write_bytes(b"")
    path.write_bytes(b"\0\0\0")
    with pytest.raises(FileError, match=r"00001\.bin: expected whole events of 5 bytes, got 3"):
        load_data(config("nmnist", tmp_path), seed=0)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_gesture_and_heidelberg(rng: np.random.Generator, tmp_path: Path) -> None:
    write_gesture(tmp_path / "dvs_gesture", rng)
    data = load_data(config("dvs_gesture", tmp_path, n_steps=20, step_us=20_000.0, downsample=4, shift=2), seed=0)
    assert (data.shape, data.n_classes, len(data.test)) == ((2, 32, 32), 11, 11)
    assert data.training_spikes(np.arange(4), rng).shape == (4, 20, 2, 32, 32)
    assert data.test.spikes[:][:, 0].any()  # time counts from the first event
    write_heidelberg(tmp_path / "shd", ("shd_train.h5", "shd_test.h5"), 20, rng)
    data = load_data(config("shd", tmp_path, n_steps=100, step_us=10_000.0, downsample=5), seed=0)
    assert (data.shape, data.n_classes, len(data.test)) == ((140,), 20, 80)
    write_heidelberg(tmp_path / "ssc", ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"), 35, rng)
    data = load_data(config("ssc", tmp_path), seed=0)
    assert (data.shape, len(data.train), len(data.validation)) == ((700,), 140, 140)


@pytest.mark.parametrize(
    ("name", "files", "n_classes"),
    [
        ("shd", ("shd_train.h5", "shd_test.h5"), 20),
        ("ssc", ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"), 35),
    ],
)
def test_heidelberg_bins_and_labels_are_those_of_the_files(
    name: str, files: tuple[str, ...], n_classes: int, rng: np.random.Generator, tmp_path: Path
) -> None:
    write_heidelberg(tmp_path / name, files, n_classes, rng)
    data = load_data(config(name, tmp_path, n_steps=50, step_us=20_000.0, downsample=7), seed=0)
    assert (data.shape, data.n_classes) == ((100,), n_classes)
    splits = (data.train, data.validation, data.test) if name == "ssc" else (data.test,)
    for file, split in zip(files if name == "ssc" else files[1:], splits, strict=True):
        with h5py.File(tmp_path / name / file) as content:
            np.testing.assert_array_equal(split.labels, content["labels"])
            for index in (0, 1, len(split) - 1):
                times = content["spikes/times"][index].astype(np.float64)
                steps = (np.floor(times * 1e6) // 20_000).astype(int)
                expected = {(t, u // 7) for t, u in zip(steps, content["spikes/units"][index], strict=True) if t < 50}
                assert {tuple(bin) for bin in np.argwhere(split.spikes[index : index + 1][0])} == expected
    with h5py.File(tmp_path / name / files[0], "a") as content:
        content["labels"][0] = n_classes
    with pytest.raises(FileError, match=rf"{files[0]}: expected recordings with labels in 0\.\.{n_classes - 1}"):
        load_data(config(name, tmp_path), seed=0)


@pytest.mark.skipif(importlib.util.find_spec("aedat") is None, reason="needs the package aedat: pip install aedat")
def test_cifar10_dvs(rng: np.random.Generator, tmp_path: Path) -> None:
    write_cifar10_dvs(tmp_path / "cifar10_dvs", rng)
    data = load_data(config("cifar10_dvs", tmp_path, n_steps=30, step_us=10_000.0), seed=0)
    assert (data.shape, data.n_classes) == ((2, 128, 128), 10)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [50, 10, 20]
    for part in (data.train, data.validation, data.test):
        first = part.spikes[:][:, 0, 1]  # (recordings, y, x) of the first step, polarity 1
        assert all(first[i, :8, label].any() for i, label in enumerate(part.labels))
    path = tmp_path / "cifar10_dvs" / "cat" / "cifar10_cat_0.aedat4"
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:200], whole[:430], b"junk" * 100):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"cifar10_cat_0\.aedat4: not an \.aedat4 file of events") as caught:
            load_data(config("cifar10_dvs", tmp_path, n_steps=30, step_us=10_000.0), seed=0)
        assert "\n" not in str(caught.value)


def test_cifar10_dvs_without_aedat(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10_dvs(tmp_path / "cifar10_dvs", rng, 1)
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(MissingDependency, match=r"\.aedat4 files needs the package aedat: pip install aedat"):
        load_data(config("cifar10_dvs", tmp_path), seed=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", r"expected mnist\.npz .* or the four IDX files.*does not exist"),
        ("nmnist", r"expected folders Train/<digit>/\*\.bin.*does not exist"),
        ("dvs_gesture", "ibmGestureTrain and ibmGestureTest"),
        ("shd", r"shd_train\.h5 and shd_test\.h5 \(https://zenkelab"),
        ("ssc", r"ssc_train\.h5, ssc_valid\.h5"),
        ("cifar10_dvs", r"folders airplane to truck of \*\.aedat4"),
    ],
)
def test_missing_sets_say_what_to_get_and_from_where(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message) as caught:
        load_data(config(name, tmp_path), seed=0)
    assert "data.directory" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_are_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = write_mnist(tmp_path / "mnist", rng)
    path = tmp_path / "mnist" / "mnist.npz"
    for change, message in (
        ({"x_train": arrays["x_train"][:, :20]}, r"expected images of shape \(n, 28, 28\) uint8, got \(60, 20, 28\)"),
        ({"y_train": arrays["y_train"][:9]}, r"expected one integer label for each of 60 images, got shape \(9,\)"),
        ({"y_test": arrays["y_test"] + 5}, r"expected labels in 0\.\.9, got 5\.\.14"),
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(FileError, match=message):
            load_data(config("mnist", tmp_path), seed=0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileError, match=r"expected an \.npz file of plain arrays"):
        load_data(config("mnist", tmp_path), seed=0)
    (tmp_path / "shd").mkdir()
    for name in ("shd_train.h5", "shd_test.h5"):
        (tmp_path / "shd" / name).write_bytes(b"no")
    with pytest.raises(
        FileError, match=r"shd_train\.h5: expected recordings in HDF5, got a file that is not an HDF5 file"
    ):
        load_data(config("shd", tmp_path), seed=0)


def test_too_few_recordings_are_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", rng, n=2)
    with pytest.raises(FileError, match="expected at least one sample in each split, got none for validation; add"):
        load_data(config("nmnist", tmp_path, validation_fraction=0.1), seed=0)


def test_events_outside_the_sensor_are_refused() -> None:
    events = np.array([(40, 3, 5, 1)], np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
    with pytest.raises(FileError, match=r"r: expected x in 0\.\.33 of its sensor, got 40\.\.40"):
        bins_of(events, Sensor(34, 34, 2), Grid(), "r")


def test_names_and_import_paths() -> None:
    with pytest.raises(ConfigError, match=r"data\.name: expected one of digits, mnist, .* got 'mnits'"):
        load_config("digits", ["data.name=mnits"])
    with pytest.raises(SdsnnError, match=r"data\.name: got 'nowhere:f', which cannot be imported"):
        load_data(DataConfig(name="nowhere:f"), seed=0)


def test_run_remembers_where_its_data_was(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "mnist", rng)
    monkeypatch.setenv("SDSNN_DATA", str(tmp_path))
    resolved = with_directory(load_config("mnist_mlp"))
    assert resolved.data.directory == str((tmp_path / "mnist").resolve())


def test_latency_and_direct_codes() -> None:
    values = np.array([[0, 1, 128, 255]])
    assert latency(values, 9, 255)[0].argmax(0).tolist() == [0, 8, 4, 0]
    assert latency(values, 9, 255)[0].sum(0).tolist() == [0, 1, 1, 1]
    assert direct(values, 3, 255, 15)[0].tolist() == [[0, 0, 8, 15]] * 3


def test_folder_of_arrays(rng: np.random.Generator, tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    spikes, labels = (rng.random((40, 6, 12)) < 0.3).astype(np.uint8), np.arange(40) % 4
    np.savez(place / "train.npz", spikes=spikes, labels=labels)
    data = load_data(config("folder", tmp_path), seed=0)
    assert (data.shape, data.n_classes, data.input_max) == ((12,), 4, 1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [24, 8, 8]
    np.savez(place / "test.npz", spikes=spikes[:4] * 3, labels=labels[:4])
    data = load_data(config("folder", tmp_path), seed=0)
    assert (len(data.test), data.input_max) == (4, 3)
    np.testing.assert_array_equal(data.test.spikes[:], spikes[:4] * 3)
    for bad, message in (
        ({"spikes": spikes}, "got no labels"),
        ({"spikes": spikes * 0.5, "labels": labels}, r"whole numbers in 0\.\.255"),
        ({"spikes": spikes[0], "labels": labels[:6]}, r"expected spikes \(n, steps, channels\)"),
    ):
        np.savez(place / "train.npz", **bad)
        with pytest.raises(FileError, match=message):
            load_data(config("folder", tmp_path), seed=0)


def test_folder_of_events(rng: np.random.Generator, tmp_path: Path) -> None:
    place = tmp_path / "folder"
    for name in ("left", "right"):
        (place / name).mkdir(parents=True)
        for index in range(10):
            table = np.stack(
                [rng.integers(0, 8, 30), rng.integers(0, 6, 30), rng.integers(500, 9000, 30), rng.integers(0, 2, 30)]
            )
            np.save(place / name / f"{index}.npy", table.T)
    with pytest.raises(FileError, match=r"expected data\.sensor = .* for events"):
        load_data(config("folder", tmp_path), seed=0)
    data = load_data(config("folder", tmp_path, sensor=(8, 6, 2)), seed=0)
    assert (data.shape, data.n_classes, len(data.test)) == ((2, 6, 8), 2, 4)
    assert data.train.spikes[:].any((1, 2, 3, 4)).all()
    with pytest.raises(FileError, match=r"npy: expected x in 0\.\.3 of its sensor"):
        load_data(config("folder", tmp_path, sensor=(4, 6, 2)), seed=0)
