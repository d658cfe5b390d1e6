"""Simulated saccades: the path, the camera against a slow one, and counts as N-MNIST has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
from dataset_writers import write_mnist

from sdsnn.train.data.load import LazySpikes, load_data
from sdsnn.train.data.sensors import saccades
from sdsnn.train.data.sensors.saccades import camera_events, positions
from sdsnn.train.data.settings import DataConfig
from sdsnn_core.errors import ConfigError

CONTRAST = DataConfig().contrast
RATES = [
    17, 65, 154, 248, 297, 306, 241, 108, 30, 22, 33, 50, 108, 192, 244, 253, 229, 125, 48, 38, 54, 29, 20, 161, 229,
    252, 241, 163, 116, 50, 9,
]  # fmt: skip
"""Events of N-MNIST in each 10 ms, mean of its first 1,000 training recordings."""
SHARES = [[0.182, 0.163, 0.153], [0.182, 0.166, 0.154]]
"""Shares of its events per polarity (0, 1) and saccade, cut at 105 and 210 ms."""
ROWS = [
    3, 4, 3, 6, 9, 26, 57, 91, 129, 168, 195, 206, 202, 214, 199, 215, 208, 205, 212, 201, 207, 198, 192, 191, 176, 157,
    137, 112, 82, 55, 45, 16, 8, 5,
]  # fmt: skip
COLUMNS = [
    4, 5, 4, 5, 9, 18, 31, 58, 83, 117, 151, 189, 226, 256, 269, 283, 295, 297, 305, 283, 263, 238, 207, 172, 128, 92,
    60, 37, 20, 11, 6, 5, 4, 4,
]  # fmt: skip
"""Its events per row and per column."""


def like(counts: npt.NDArray[np.int64], recorded: list[int]) -> float:
    """Return the correlation of counts with recorded ones."""
    return float(np.corrcoef(counts, recorded)[0, 1])


def check_counts(events: npt.NDArray[np.uint8], n: int, within: float) -> None:
    """Compare events (n, 31 steps of 10 ms, 2, 34, 34) with those of N-MNIST."""
    counts = events.sum(0, dtype=np.int64)
    assert counts.sum() / n == pytest.approx(sum(RATES), rel=within)
    legs = np.stack([part.sum((0, 2, 3)) for part in np.split(counts, [10, 21])], 1) / counts.sum()
    np.testing.assert_allclose(legs, SHARES, atol=0.025)
    assert like(counts.sum((1, 2, 3)), RATES) > 0.95
    assert like(counts.sum((0, 1, 3)), ROWS) > 0.95
    assert like(counts.sum((0, 1, 2)), COLUMNS) > 0.95


def test_the_path_is_three_movements_that_begin_and_end_at_rest() -> None:
    times = np.arange(0.0, 330_000, 500)
    where = positions(times)
    speed = np.hypot(*np.diff(where, axis=0).T)
    begin = saccades.BEGIN
    for each in saccades.SACCADES:
        inside = (times[:-1] >= each.start_us) & (times[1:] <= each.start_us + each.duration_us)
        distance = np.hypot(each.end[0] - begin[0], each.end[1] - begin[1])
        assert speed[inside].sum() == pytest.approx(distance, rel=0.01)
        assert speed[inside].max() / 500 == pytest.approx(1.875 * distance / each.duration_us, rel=0.01)
        assert speed[inside][[0, -1]].max() < 0.01
        np.testing.assert_allclose(positions(np.array([each.start_us + each.duration_us])), [each.end])
        begin = each.end
    assert np.count_nonzero(speed) < 3 * 92_000 / 500 + 4
    assert where.min() >= 0
    assert where.max() + 28 <= saccades.SENSOR + 1  # the last rows and columns of a digit are empty


def slow_camera(
    picture: npt.NDArray[np.float64], n_steps: int, step_us: float, contrast: float
) -> list[tuple[int, ...]]:
    """One event after another, in logarithms: (step, polarity, y, x)."""
    tail = np.exp(-((np.arange(-3, 4) / saccades.BLUR) ** 2) / 2)
    blurred = np.zeros((60, 60))
    blurred[16:44, 16:44] = picture
    for axis in (0, 1):
        blurred = np.apply_along_axis(np.convolve, axis, blurred, tail / tail.sum(), mode="same")
    finer = int(np.ceil(step_us / 2000))
    last = np.log(np.exp(contrast * (np.random.default_rng(0).random((34, 34)) - 0.5)))
    events = []
    for moment in range(n_steps * finer + 1):
        (x, y), *_ = positions(np.array([moment * step_us / finer]))
        moved = scipy.ndimage.shift(blurred, (y, x), order=1)[16:50, 16:50]
        light = np.log(saccades.BACKGROUND + 1 - moved)
        if moment == 0:
            last += light
            continue
        for place in np.argwhere(abs(light - last) >= contrast):
            row, column = int(place[0]), int(place[1])
            while abs(light[row, column] - last[row, column]) >= contrast:
                brighter = bool(light[row, column] > last[row, column])
                last[row, column] += contrast if brighter else -contrast
                events.append(((moment - 1) // finer, int(brighter), row, column))
    return events


@pytest.mark.parametrize(("step_us", "contrast"), [(7000.0, CONTRAST), (1500.0, 0.08), (150_000.0, 0.05)])
def test_the_camera_emits_what_a_slow_one_emits(step_us: float, contrast: float, rng: np.random.Generator) -> None:
    n_steps = round(315_000 / step_us)
    pictures = scipy.ndimage.gaussian_filter(rng.random((2, 28, 28)), (0, 1, 1)) ** 2
    events = camera_events(pictures, n_steps, step_us, contrast)
    expected = np.zeros(events.shape, np.int64)
    for sample, picture in enumerate(pictures):
        for event in slow_camera(picture, n_steps, step_us, contrast):
            expected[sample][event] += 1
    assert expected.sum() > 1000
    np.testing.assert_array_equal(events, expected)


def test_events_follow_the_light_and_an_empty_picture_has_none(rng: np.random.Generator) -> None:
    pictures = np.zeros((3, 28, 28))
    pictures[1:, 4:24, 4:24] = rng.random((2, 20, 20))
    events = camera_events(pictures, 50, 7000.0, CONTRAST).astype(np.int64)
    assert events[0].sum() == 0
    # The picture ends within a pixel of where it began: what a pixel counts up, it counts down.
    still = np.full((1, 28, 28), 0.5)
    net = camera_events(still, 50, 7000.0, CONTRAST).astype(np.int64).sum(1)
    assert abs(net[0, 1] - net[0, 0])[8:26, 8:26].max() == 0
    range_of_light = np.log((saccades.BACKGROUND + 1) / saccades.BACKGROUND)
    up_to = np.cumsum(events[:, :, 1] - events[:, :, 0], axis=1)
    assert abs(up_to).max() <= range_of_light / CONTRAST + 1.5


def test_digits_as_large_and_slanted_as_those_of_mnist_give_the_counts_of_nmnist() -> None:
    from sklearn.datasets import load_digits

    small = load_digits().images[:100] / 16
    zoom, slant = 2.5, 0.3
    back = np.array([[1, 0, 0], [0, 1 / zoom, 0], [0, slant / zoom, 1 / zoom]])  # from 28 x 28 to 8 x 8
    start = np.array([0, 3.5, 3.5]) - back @ [0, 13.5, 13.5]
    grey = scipy.ndimage.affine_transform(small, back, start, output_shape=(100, 28, 28), order=1)
    check_counts(camera_events(np.clip(2 * grey - 0.5, 0, 1), 31, 10_000.0, CONTRAST), 100, within=0.2)


@pytest.mark.slow
def test_mnist_gives_the_recordings_of_nmnist() -> None:
    home = Path(os.environ.get("SDSNN_DATA", "."))
    if not all((home / name).is_dir() for name in ("mnist", "nmnist_1100")):
        pytest.skip("needs mnist and nmnist_1100 in SDSNN_DATA")
    digits = np.load(home / "mnist" / "mnist.npz")["x_train"][:1000]
    simulated = camera_events(digits / 255, 31, 10_000.0, CONTRAST)
    check_counts(simulated, 1000, within=0.05)
    real = np.zeros(simulated.shape, np.int64)
    for path in (home / "nmnist_1100" / "Train").glob("*/*.bin"):
        event = np.fromfile(path, np.uint8).astype(np.int64).reshape(-1, 5)
        step = ((event[:, 2] & 127) << 16 | event[:, 3] << 8 | event[:, 4]) // 10_000
        chosen = step < 31
        place = (int(path.stem) - 1, step[chosen], event[chosen, 2] >> 7, event[chosen, 1], event[chosen, 0])
        np.add.at(real, place, 1)
    means = [each.sum(1, dtype=np.int64).mean(0).ravel() for each in (simulated, real)]
    assert np.corrcoef(*means)[0, 1] > 0.97
    totals = [each.reshape(1000, -1).sum(1, dtype=np.int64) for each in (simulated, real)]
    assert np.corrcoef(*totals)[0, 1] > 0.95
    assert np.corrcoef(simulated.ravel(), real.ravel())[0, 1] > 0.6


def config(folder: Path, **more: object) -> DataConfig:
    return DataConfig(name="mnist_saccades", directory=str(folder), **{"n_steps": 45, "step_us": 7000.0, **more})  # type: ignore[arg-type]


def test_the_set_has_mnists_splits_as_bins_of_the_camera(rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = write_mnist(tmp_path, rng)
    data = load_data(config(tmp_path), seed=0)
    assert (data.name, data.shape, data.n_classes) == ("mnist_saccades", (2, 34, 34), 10)
    assert data.step_s == pytest.approx(0.007)
    assert (len(data.train) + len(data.validation), len(data.test)) == (60, 20)
    expected = camera_events(arrays["x_test"] / 255, 45, 7000.0, CONTRAST) > 0
    np.testing.assert_array_equal(data.test.spikes[:], expected)
    np.testing.assert_array_equal(data.test.labels, arrays["y_test"])
    varied = load_data(config(tmp_path, shift=3, contrast=0.3), seed=0)
    assert 0 < varied.test.spikes[:].sum() < expected.sum()
    again = [varied.training_spikes(np.arange(4), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


@pytest.mark.parametrize("joined", [2, 3, 34])
def test_downsampling_joins_pixels(joined: int, rng: np.random.Generator, tmp_path: Path) -> None:
    write_mnist(tmp_path, rng)
    whole = load_data(config(tmp_path), seed=0).test.spikes[:4]
    data = load_data(config(tmp_path, downsample=joined), seed=0)
    expected = np.zeros((4, 45, *data.shape), np.uint8)
    for *place, y, x in np.argwhere(whole):
        expected[(*place, y // joined, x // joined)] = 1
    np.testing.assert_array_equal(data.test.spikes[:4], expected)


def test_a_large_set_is_made_batch_by_batch(rng: np.random.Generator, tmp_path: Path) -> None:
    write_mnist(tmp_path, rng, n=700)
    data = load_data(config(tmp_path), seed=0)
    assert isinstance(data.train.spikes, LazySpikes)
    assert data.train.spikes[:2].shape == (2, 45, 2, 34, 34)


@pytest.mark.parametrize("name", ["mnist", "mnist_saccades"])
def test_a_range_of_training_images(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    arrays = write_mnist(tmp_path, rng)
    whole = DataConfig(name=name, directory=str(tmp_path), validation_fraction=0.4)
    chosen = load_data(whole.model_copy(update={"images": (10, 40)}), seed=0)
    for part in ("x_train", "y_train"):
        arrays[part] = arrays[part][10:40]
    np.savez(tmp_path / "mnist.npz", **arrays)
    cut = load_data(whole, seed=0)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(chosen, split).spikes[:], getattr(cut, split).spikes[:])
        np.testing.assert_array_equal(getattr(chosen, split).labels, getattr(cut, split).labels)
    with pytest.raises(ConfigError, match=r"data\.images: expected at most the 30 training images, got 40"):
        load_data(whole.model_copy(update={"images": (10, 40)}), seed=0)
    with pytest.raises(ValueError, match="expected images from 0 on up to a larger number, got 40, 10"):
        DataConfig(name=name, images=(40, 10))
