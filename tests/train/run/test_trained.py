"""A trained model is loaded, checked and lowered without its data; only what runs spikes reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsnn.export.check.check import check as check_path
from sdsnn.export.pipeline import export_run, lower_trained
from sdsnn.export.verify.files import verify_file
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import TrainResult, train
from sdsnn.train.run.trained import SplitFigures, load_trained
from sdsnn_core.errors import FileError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, TrainResult]:
    """A run on recordings in a folder, with its network.nir; afterwards the recordings are elsewhere."""
    top, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    for label in "ab":
        (top / "data" / label).mkdir(parents=True)
        for i in range(10):
            time = np.sort(rng.integers(0, 56_000, 200))
            columns = (rng.integers(0, 6, 200), rng.integers(0, 6, 200), time, rng.integers(0, 2, 200))
            np.save(top / "data" / label / f"{i}.npy", np.stack(columns, axis=1))
    settings = [
        "data.name=folder", f"data.directory={top / 'data'}", "data.sensor=[6, 6, 2]", "data.n_steps=8",
        "data.step_us=7000.0", f"data.cache={top / 'bins'}", "model.hidden=[8]", "optimiser.epochs=2", "threads=1",
        "data.noise=0", "data.shift=0",
    ]  # fmt: skip
    config = load_config("digits", settings)
    folder = RunFolder.create(top / "run", config)
    result = train(config, folder)
    export_run(folder, lava=False)
    (top / "data").rename(top / "moved")
    shutil.rmtree(top / "bins")
    return folder, result


def test_a_model_loads_without_its_data_and_with_the_recorded_figures(run: tuple[RunFolder, TrainResult]) -> None:
    folder, result = run
    trained = load_trained(folder)
    assert trained.test == SplitFigures.of(result.test)
    assert json.loads(folder.test_file.read_text())["epoch"] == trained.epoch == result.best_epoch
    assert trained.validation_accuracy == result.validation_accuracy
    assert (trained.input_shape, trained.input_max, trained.dt_s) == ((2, 6, 6), 1, pytest.approx(7e-3))
    for name, value in result.trainer.model.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[name]), name
    assert trained.figures(result.trainer.data.test) == trained.test


def test_check_and_verify_work_when_the_data_have_moved_and_export_names_them(
    run: tuple[RunFolder, TrainResult],
) -> None:
    folder, _ = run
    assert [finding for finding in check_path(folder.path) if finding.severity == "error"] == []
    certificate, _ = verify_file(folder.network_file, run=folder.path, lava=False)
    assert certificate.verified
    assert "slayer" in [comparison.backend for comparison in certificate.comparisons]
    with pytest.raises(FileError, match=r"^data folder: .*data, which does not exist"):
        export_run(folder, lava=False)


def test_a_run_from_before_the_figures_were_recorded_still_loads(
    run: tuple[RunFolder, TrainResult], tmp_path: Path
) -> None:
    folder, result = run
    shutil.copytree(folder.path, tmp_path / "old")
    old = RunFolder(tmp_path / "old")
    old.data_file.unlink()
    old.test_file.unlink()
    with pytest.raises(FileError, match="does not exist"):
        load_trained(old)
    data = folder.path.parent
    text = old.config_file.read_text().replace(str(data / "data"), str(data / "moved"))
    old.config_file.write_text(text)
    trained = load_trained(old)
    assert trained.test is None
    assert lower_trained(trained).digest() == lower_trained(load_trained(folder)).digest()
    exported = export_run(old, lava=False)
    assert exported.test == SplitFigures.of(result.test)


def test_figures_of_another_epoch_do_not_count(run: tuple[RunFolder, TrainResult], tmp_path: Path) -> None:
    folder, _ = run
    shutil.copytree(folder.path, tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    figures = json.loads(other.test_file.read_text())
    other.test_file.write_text(json.dumps({**figures, "epoch": figures["epoch"] + 1}))
    assert load_trained(other).test is None
    other.data_file.write_text("{")
    with pytest.raises(FileError, match=r"data\.json: cannot be read"):
        load_trained(other)
