"""A step of the network lasts as long as the bins it was trained on, from the recordings to the static energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdsnn.deploy.energy.energy import price
from sdsnn.deploy.placement.place import place
from sdsnn.export.pipeline import lower_trained
from sdsnn.train.data.load import load_data
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.run.trained import load_trained
from sdsnn_core import reference


def write_recordings(folder: Path, rng: np.random.Generator) -> None:
    """Two classes of ten recordings with 40 events each, 6 x 6 pixels, 56 ms: x, y, microseconds, polarity."""
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for i in range(10):
            time = np.sort(rng.integers(0, 56_000, 40))
            columns = (rng.integers(0, 6, 40), rng.integers(0, 6, 40), time, rng.integers(0, 2, 40))
            np.save(folder / label / f"{i}.npy", np.stack(columns, axis=1))


def test_recordings_tell_how_long_a_step_lasts(tmp_path: Path) -> None:
    write_recordings(tmp_path / "data", np.random.default_rng(0))
    settings = [
        "data.name=folder", f"data.directory={tmp_path / 'data'}", "data.sensor=[6, 6, 2]", "data.n_steps=8",
        "data.step_us=7000.0", f"data.cache={tmp_path / 'bins'}", "model.hidden=[8]", "optimiser.epochs=1", "threads=1",
    ]  # fmt: skip
    config = load_config("digits", [*settings, "data.noise=0", "data.shift=0"])
    folder = RunFolder.create(tmp_path / "run", config)
    train(config, folder)
    network = lower_trained(load_trained(folder))
    assert network.dt_s == pytest.approx(7e-3)
    activity = reference.run(network, folder.test_split().spikes[:2])
    report = price(activity, network, placement=place(network, "loihi1"), chip="loihi1")
    real = report.static[-1]
    assert real.at == "in real time, 7 ms steps"
    # 104 mW for 8 steps of 7 ms
    assert real.joules.low == real.joules.high == pytest.approx(0.104 * 8 * 7e-3)


def test_images_have_no_time_of_their_own(tmp_path: Path) -> None:
    config = load_config("digits", ["optimiser.epochs=1", "model.hidden=[8]", "threads=1"])
    assert load_data(config.data, 0).step_s is None
    folder = RunFolder.create(tmp_path / "run", config)
    train(config, folder)
    assert lower_trained(load_trained(folder)).dt_s == 1e-3
