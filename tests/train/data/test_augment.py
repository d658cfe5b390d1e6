"""Pictures varied at random: what is varied, by how much, and that nothing else changes."""

from pathlib import Path

import numpy as np
import pytest

from sdsnn.train.data.augment import Moves, vary
from sdsnn.train.data.load import load_data
from sdsnn.train.run.config import DataConfig, load_config
from sdsnn_core.errors import FileError


def test_nothing_asked_for_changes_nothing(rng: np.random.Generator) -> None:
    for pictures in (rng.random((5, 1, 7, 9)).astype(np.float32), rng.integers(0, 4, (5, 3, 2, 7, 9), dtype=np.uint8)):
        varied = vary(pictures, Moves(), rng)
        assert varied.dtype == pictures.dtype
        np.testing.assert_array_equal(varied, pictures)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shift_moves_by_whole_pixels_and_loses_what_leaves(rng: np.random.Generator, dtype: type) -> None:
    pictures = rng.integers(1, 200, (300, 3, 1, 5, 6)).astype(dtype)
    moved = vary(pictures, Moves(shift=2), rng)
    padded = np.pad(pictures, [(0, 0)] * 3 + [(2, 2), (2, 2)])
    seen = set()
    for sample, before in zip(moved, padded, strict=True):
        offsets = [
            (y, x) for y in range(5) for x in range(5) if np.array_equal(before[..., y : y + 5, x : x + 6], sample)
        ]
        assert len(offsets) == 1
        seen.update(offsets)
    assert len(seen) == 25  # every offset comes, in both directions


def test_a_turned_point_keeps_its_distance_and_angle_within_bounds(rng: np.random.Generator) -> None:
    pictures = np.zeros((400, 1, 41, 41), np.float32)
    pictures[:, 0, 20, 35] = 1  # 15 pixels right of the centre
    turned = vary(pictures, Moves(rotate=30), rng)[:, 0]
    rows, columns = np.indices((41, 41)) - 20
    mass = turned.sum((1, 2))
    y, x = (turned * rows).sum((1, 2)) / mass, (turned * columns).sum((1, 2)) / mass
    np.testing.assert_allclose(np.hypot(y, x), 15, atol=0.3)
    angles = np.rad2deg(np.arctan2(y, x))
    assert np.abs(angles).max() < 31
    assert angles.min() < -25
    assert angles.max() > 25


def test_zoom_changes_height_and_width_apart(rng: np.random.Generator) -> None:
    pictures = np.zeros((300, 1, 60, 60), np.float32)
    pictures[:, 0, 20:40, 20:40] = 1
    seen = vary(pictures, Moves(zoom=0.3), rng)[:, 0]
    heights, widths = seen[:, :, 30].sum(1) / 20, seen[:, 30].sum(1) / 20
    for sizes in (heights, widths):
        assert sizes.min() > 0.69
        assert sizes.max() < 1.31
        assert sizes.max() - sizes.min() > 0.5
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.3


def test_elastic_bends_by_its_root_mean_square(rng: np.random.Generator) -> None:
    # A ramp shows the displacement along it: value = column.
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (40, 1, 64, 64))
    bent = vary(ramp, Moves(elastic=1.4), rng) - ramp
    inner = bent[..., 16:-16, 16:-16]
    assert 1.2 < np.sqrt((inner**2).mean()) < 1.6
    assert np.abs(np.diff(inner, axis=-2)).max() < 1.4  # smooth: neighbours go nearly the same way


def test_events_stay_events_and_all_steps_move_alike(rng: np.random.Generator) -> None:
    events = np.broadcast_to((rng.random((20, 1, 2, 34, 34)) < 0.2), (20, 6, 2, 34, 34)).astype(np.uint8)
    varied = vary(events, Moves(shift=2, rotate=10, zoom=0.1, elastic=1.0), rng)
    assert varied.dtype == np.uint8
    assert set(np.unique(varied)) == {0, 1}
    assert (varied == varied[:, :1]).all()
    assert (varied[:, 0] != events[:, 0]).mean() > 0.1
    assert abs(varied.mean() / events.mean() - 1) < 0.1


def test_training_images_vary_with_the_generator_only_and_the_other_splits_never() -> None:
    plain, varied = (
        load_data(load_config("digits", ["data.noise=0", *more]).data, seed=0)
        for more in ([], ["data.rotate=15", "data.zoom=0.1", "data.elastic=0.5"])
    )
    chosen = np.arange(50)
    same = [varied.training_spikes(chosen, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (same[0] != varied.training_spikes(chosen, np.random.default_rng(8))).any()
    assert (same[0] != plain.training_spikes(chosen, np.random.default_rng(7))).any()
    for split in ("validation", "test"):
        np.testing.assert_array_equal(getattr(varied, split).spikes[:], getattr(plain, split).spikes[:])


def test_arrays_of_ones_own_are_not_varied(rng: np.random.Generator, tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", spikes=np.ones((20, 4, 3), np.uint8), labels=np.arange(20) % 2)
    with pytest.raises(FileError, match=r"expected 0 for data\.noise, data\.shift, data\.rotate"):
        load_data(DataConfig(name="folder", directory=str(tmp_path), rotate=5), seed=0)
