"""Data: the code emits what it should, and splits share nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdsnn.train.data.encoding import accumulate
from sdsnn.train.data.load import DataSet, Split, load_data, split_indices, split_of
from sdsnn.train.run.config import DataConfig
from sdsnn_core.errors import FileError


@given(st.integers(0, 16), st.integers(1, 64))
def test_rate_code_emits_the_rounded_share_evenly(value: int, n_steps: int) -> None:
    train = accumulate(np.array([[value]]), n_steps, 16)[0, :, 0]
    assert train.max(initial=0) <= 1
    assert int(train.sum()) == int(np.floor(value / 16 * n_steps + 0.5))
    if train.sum() > 1:
        gaps = np.diff(np.flatnonzero(train))
        assert np.ptp(gaps) <= 1


def test_splits_are_disjoint_complete_stratified_and_seeded() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 1000)
    parts = split_indices(labels, 0.15, 0.2, seed=3)
    joined = np.concatenate(parts)
    assert len(np.unique(joined)) == len(joined) == 1000
    for part, share in zip(parts, (0.65, 0.15, 0.2), strict=True):
        np.testing.assert_allclose(np.bincount(labels[part]) / np.bincount(labels), share, atol=0.02)
    for a, b in zip(parts, split_indices(labels, 0.15, 0.2, seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(parts[2], split_indices(labels, 0.15, 0.2, seed=4)[2])


@pytest.mark.parametrize("folds", [2, 5, 11])
def test_every_sample_is_tested_in_one_fold_whatever_the_seed(folds: int) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 1100)
    parts = [split_of(DataConfig(folds=folds, fold=k), labels, [1000, 100], seed=k) for k in range(folds)]
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, _, test in parts])), np.arange(1100))
    for k, (train, validation, test) in enumerate(parts):
        assert sorted(np.concatenate([train, validation, test])) == list(range(1100))
        np.testing.assert_allclose(np.bincount(labels[test]), np.bincount(labels) / folds, atol=1.001)
        again = split_of(DataConfig(folds=folds, fold=k), labels, [1000, 100], seed=99)
        np.testing.assert_array_equal(test, again[2])
        assert not np.array_equal(validation, again[1])


def test_folds_act_on_a_data_set() -> None:
    data = load_data(DataConfig(folds=4, fold=3), seed=0)
    assert len(data.test) == 1797 // 4
    for keys, words in (
        ({"folds": 4, "fold": 4}, "fold of at most 3, got fold 4 of 4"),
        ({"folds": 1}, "at least two folds"),
        ({"fold": 1}, "at least two folds"),
        ({"folds": 3, "held_out": ("theo",)}, "held_out or folds, got both"),
    ):
        with pytest.raises(ValueError, match=words):
            DataConfig(**keys)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_without_an_output_are_refused_before_training(label: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(config: DataConfig, seed: int, download: bool) -> DataSet:
        good = Split(np.zeros((3, 4, 5), np.uint8), np.arange(3))
        return DataSet("mine", (5,), 3, good, good, Split(good.spikes, np.array([0, label, 1])))

    monkeypatch.setattr("sdsnn.train.data.datasets.find", lambda name: mine)
    low, high = min(label, 0), max(label, 1)
    with pytest.raises(FileError, match=rf"expected labels in 0\.\.2, .* got {low}\.\.{high} in the test split"):
        load_data(DataConfig(name="my:set"), 0)


def test_digits_are_whole() -> None:
    data = load_data(DataConfig(), seed=0)
    assert (data.shape, data.n_classes) == ((64,), 10)
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    assert data.test.spikes.shape[1:] == (16, 64)
    assert data.test.spikes.max() == 1
    assert data.test.spikes.dtype == np.uint8
