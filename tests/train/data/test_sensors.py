"""Sensor data sets: every file becomes the spikes, targets and splits that it should, or one line says why not."""

from __future__ import annotations

import wave
from pathlib import Path

import dataset_writers
import numpy as np
import pytest
import scipy.io

from sdsnn.train.data.load import load_data
from sdsnn.train.data.sensors.coding import encode
from sdsnn.train.data.sensors.sets import rebinned
from sdsnn.train.data.sensors.speech import mel_bands
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


# -- Braille ----------------------------------------------------------------------------------------------------------


def test_braille_is_pressure_and_holds_repetitions_out(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset_writers.write_braille(tmp_path, rng)
    data = load_data(config("braille", tmp_path, n_steps=20, coding="direct", levels=200), 0)
    assert (data.shape, data.n_classes, len(data.test), data.input_max) == ((12,), 27, 54, 200)
    content = np.load(tmp_path / "braille_taxels_27x50.npz")
    chosen = content["repetition"] >= 40
    np.testing.assert_array_equal(data.test.labels, content["label"][chosen])
    pressure = 255 - content["taxel"][chosen].astype(int)
    pressure[np.arange(20) >= content["length"][chosen][:, None]] = 0
    np.testing.assert_array_equal(data.test.spikes, pressure)
    with pytest.raises(FileError, match=r"which has no braille_taxels_27x50\.npz"):
        load_data(config("braille", tmp_path / ".."), 0)


# -- speech -----------------------------------------------------------------------------------------------------------


def tone(hertz: float, loud: float = 1000, n: int = 1600) -> np.ndarray:
    return loud * np.sin(2 * np.pi * hertz / 8000 * np.arange(n))


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(hertz: float) -> None:
    settings = DataConfig(step_us=10_000.0, n_steps=20, bands=16)
    bands = mel_bands(tone(hertz), settings)
    centres = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (100, 4000)), 18)[1:-1]
    nearest = np.abs(centres - 2595 * np.log10(1 + hertz / 700)).argmin()
    assert (np.abs(bands[2:15].argmax(axis=1) - nearest) <= 1).all()
    assert bands.max() == 1


def test_loudness_counts_from_the_loudest_band() -> None:
    settings = DataConfig(step_us=10_000.0, n_steps=40, bands=16)
    quiet = np.concatenate([tone(1000), tone(1000) / 10])  # 20 of 50 dB down
    bands = mel_bands(quiet, settings)
    np.testing.assert_allclose(bands, mel_bands(quiet * 7, settings), atol=1e-5)
    assert bands[5:15].max(1) == pytest.approx(1, abs=0.02)
    assert bands[25:35].max(1) == pytest.approx(1 - 20 / 50, abs=0.02)
    assert not mel_bands(np.zeros(1600), settings).any()
    assert not mel_bands(tone(1000, n=800), settings)[10:].any()
    assert mel_bands(tone(1000, n=30), settings)[0].any()


def test_speakers_or_repetitions_are_held_out_and_waves_read_alike(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset_writers.write_fsdd(tmp_path, rng)
    content = np.load(tmp_path / "fsdd_8khz_int16.npz")
    keys = {"step_us": 10_000.0, "n_steps": 12, "bands": 8}
    plain = load_data(config("fsdd", tmp_path, **keys), 0)
    assert (len(plain.train) + len(plain.validation), len(plain.test), plain.shape) == (120, 30, (8,))
    np.testing.assert_array_equal(plain.test.labels, content["digit"][content["recording"] < 5])
    held = load_data(config("fsdd", tmp_path, **keys, held_out=["bob"]), 0)
    assert len(held.test) == 50
    waves = [content["audio"][a:b] for a, b in zip(content["offsets"], content["offsets"][1:], strict=False)]
    bob = [mel_bands(waves[at], DataConfig(**keys)) for at in np.flatnonzero(content["speaker"] == 1)]
    np.testing.assert_array_equal(held.test.spikes, encode(DataConfig(), np.stack(bob))[0])

    recordings = tmp_path / "folder" / "recordings"
    recordings.mkdir(parents=True)
    for samples, digit, speaker, again in zip(
        waves, content["digit"], content["speaker"], content["recording"], strict=True
    ):
        with wave.open(str(recordings / f"{digit}_{dataset_writers.SPEAKERS[speaker]}_{again}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    again = load_data(config("fsdd", recordings.parent, **keys, held_out=["bob"]), 0)
    np.testing.assert_array_equal(again.test.spikes, held.test.spikes)
    np.testing.assert_array_equal(again.train.spikes, held.train.spikes)
    for names in (["eve"], list(dataset_writers.SPEAKERS)):
        with pytest.raises(ConfigError, match="expected some of the speakers ann, bob, george, not all"):
            load_data(config("fsdd", tmp_path, **keys, held_out=names), 0)
    with pytest.raises(ConfigError, match=r"data\.step_us: expected at least 125 us, a sample, got 100"):
        load_data(config("fsdd", tmp_path, step_us=100.0), 0)
    (recordings / "0_ann_9.wav").write_bytes(b"RIFF")
    with pytest.raises(FileError, match=r"0_ann_9\.wav: cannot be read"):
        load_data(config("fsdd", recordings.parent, **keys), 0)


# -- electrocardiograms -----------------------------------------------------------------------------------------------


def test_ecg_labels_every_step_of_every_piece(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset_writers.write_ecg(tmp_path, rng)
    content = np.load(tmp_path / "qtdb_events.npz")
    data = load_data(config("ecg_qtdb", tmp_path, n_steps=13), 0)
    assert (data.task, data.n_classes, data.shape) == ("step_labels", 6, (4,))
    assert (len(data.train) + len(data.validation), len(data.test)) == (120, 27)
    labels = np.where(content["mask_test"] != 0, content["y_test"].astype(int), -1)
    for number, (spikes, targets) in enumerate(zip(data.test.spikes, data.test.labels, strict=True)):
        recording, begin = number // 3, number % 3 * 13
        np.testing.assert_array_equal(spikes, content["x_test"][recording, begin : begin + 13])
        np.testing.assert_array_equal(targets, labels[recording, begin : begin + 13])

    # The pieces of a recording are in one split.
    def recordings(spikes: np.ndarray) -> set[bytes]:
        return {np.asarray(spikes[at : at + 3]).tobytes() for at in range(0, len(spikes), 3)}

    known = recordings(content["x_train"][:, :39].reshape(-1, 13, 4).astype(np.uint8))
    assert recordings(data.train.spikes) | recordings(data.validation.spikes) == known

    published = tmp_path / "published"
    published.mkdir()
    for part in ("train", "test"):
        one_hot = np.eye(6)[content[f"y_{part}"]] * content[f"mask_{part}"][..., None]
        scipy.io.savemat(published / f"QTDB_{part}.mat", {"x": content[f"x_{part}"], "y": one_hot})
    theirs = load_data(config("ecg_qtdb", published, n_steps=13), 0)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(theirs, name).spikes, getattr(data, name).spikes)
        np.testing.assert_array_equal(getattr(theirs, name).labels, getattr(data, name).labels)
    with pytest.raises(FileError, match=r"expected data\.n_steps of at most 40, got 41"):
        load_data(config("ecg_qtdb", tmp_path, n_steps=41), 0)


# -- time series ------------------------------------------------------------------------------------------------------


def test_series_are_read_alike_from_both_forms(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset_writers.write_series(tmp_path, rng, "Mine", channels=2)
    content = np.load(tmp_path / "Mine.npz")
    for part in ("train", "test"):
        lines = ["# a comment", "@problemName Mine", "@data"]
        for values, length, label in zip(*(content[f"{key}_{part}"] for key in ("x", "length", "y")), strict=True):
            channels = [",".join(map(repr, map(float, channel[:length]))) for channel in values]
            lines.append(":".join([*channels, str(label)]))
        (tmp_path / f"Text_{part.upper()}.ts").write_text("\n".join(lines))
    ours, theirs = (load_data(config("uea", tmp_path, series=name, n_steps=48), 0) for name in ("Mine", "Text"))
    assert (ours.n_classes, ours.shape, len(ours.test), ours.task) == (2, (2,), 20, "label")
    np.testing.assert_array_equal(ours.test.labels, content["y_test"] == "b")
    np.testing.assert_array_equal(ours.test.spikes, theirs.test.spikes)
    np.testing.assert_array_equal(ours.train.spikes, theirs.train.spikes)


def test_a_forecast_has_the_last_values_as_targets(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset_writers.write_series(tmp_path, rng, "Mine", lengths=(24, 24))
    content = np.load(tmp_path / "Mine.npz")
    everything = np.concatenate([content["x_train"], content["x_test"]])[:, 0]
    data = load_data(config("uea", tmp_path, series="Mine", n_steps=18, forecast=6, coding="direct", levels=255), 0)
    assert (data.task, data.n_classes, data.test.labels.shape) == ("values", 6, (12, 6))
    futures = everything[:, -6:]
    train, test = (everything[_rows(split.labels, futures)] for split in (data.train, data.test))
    np.testing.assert_allclose(data.test.labels, (test[:, -6:] - train.mean()) / train.std(), atol=1e-5)
    low, high = train[:, :18].min(), train[:, :18].max()
    levels = np.clip((test[:, :18] - low) / (high - low), 0, 1)
    assert np.abs(data.test.spikes[:, :, 0] / 255 - levels).max() <= 0.5 / 255 + 1e-6


def _rows(targets: np.ndarray, futures: np.ndarray) -> np.ndarray:
    """Return which futures the targets are, up to one common shift and scale: by the order of their values."""
    flat, known = ((each - each.mean(1, keepdims=True)) / each.std(1, keepdims=True) for each in (targets, futures))
    return np.abs(flat[:, None] - known).max(2).argmin(1)


def test_series_say_what_does_not_fit(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.series: expected the name of a set"):
        load_data(config("uea", tmp_path), 0)
    with pytest.raises(FileError, match=r"has neither No\.npz nor No_TRAIN\.ts"):
        load_data(config("uea", tmp_path, series="No"), 0)
    dataset_writers.write_series(tmp_path, rng, "Mine")
    with pytest.raises(
        ConfigError, match=r"data\.forecast: expected series of one length above it, got 20\.\.24 and 3"
    ):
        load_data(config("uea", tmp_path, series="Mine", forecast=3), 0)
    for text in ("", "@data\n1,2:a\n1,x:b", "@data\n1,2", "@data\n1,2:a\n1,2:3,4:b"):
        for part in ("TRAIN", "TEST"):
            (tmp_path / f"Bad_{part}.ts").write_text(text)
        with pytest.raises(FileError, match=r"Bad_TRAIN\.ts: expected lines of numbers between commas"):
            load_data(config("uea", tmp_path, series="Bad"), 0)
    content = dict(np.load(tmp_path / "Mine.npz"))
    content["x_train"][0, 0, 0] = np.nan
    np.savez(tmp_path / "Mine.npz", **content)
    with pytest.raises(FileError, match="expected finite numbers, got NaN or infinity within a series"):
        load_data(config("uea", tmp_path, series="Mine"), 0)
