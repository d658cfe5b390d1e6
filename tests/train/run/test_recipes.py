"""Every shipped recipe, trained for a few steps on tiny data of its format, develops, is compacted and exported."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import dataset_writers
import numpy as np
import pytest

from sdsnn.export.pipeline import export_run
from sdsnn.train.run.config import load_config, shipped_recipes
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.run.trainer import NoProgress

SENSORS = {
    "ev_objects": dataset_writers.write_skin,
    "braille": dataset_writers.write_braille,
    "fsdd": dataset_writers.write_fsdd,
    "ecg_qtdb": dataset_writers.write_ecg,
    "uea": partial(dataset_writers.write_series, name="ItalyPowerDemand", lengths=(24, 24)),
}


def write(name: str, folder: Path, rng: np.random.Generator) -> None:
    if name == "mnist":
        dataset_writers.write_mnist(folder, rng)
    elif name == "nmnist":
        dataset_writers.write_nmnist(folder, rng)
    elif name == "dvs_gesture":
        dataset_writers.write_gesture(folder, rng)
    elif name == "cifar10_dvs":
        pytest.importorskip("aedat", reason="reading AEDAT 4 needs the package aedat: pip install aedat")
        dataset_writers.write_cifar10_dvs(folder, rng)
    elif name == "shd":
        dataset_writers.write_heidelberg(folder, ("shd_train.h5", "shd_test.h5"), 20, rng)
    elif name in SENSORS:
        SENSORS[name](folder, rng)
    else:
        assert name == "digits", f"no tiny data for {name}"


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_recipe_develops_compacts_and_exports(recipe: str, rng: np.random.Generator, tmp_path: Path) -> None:
    plain = load_config(recipe)
    more = [f'data.cache="{tmp_path / "cache"}"', "optimiser.epochs=4", "optimiser.batch_size=16", "data.n_steps=10"]
    more.append("data.validation_fraction=0.15")  # of tiny sets, less would leave none
    if plain.data.name != "digits":
        write(plain.data.name, tmp_path / "data", rng)
        more.append(f'data.directory="{tmp_path / "data"}"')
    else:
        more[2] = "optimiser.batch_size=400"
    config = load_config(recipe, more)
    folder = RunFolder.create(tmp_path / "run", config)
    result = train(config, folder, progress=NoProgress())
    assert [line["epoch"] for line in folder.history()] == [0, 1, 2, 3]
    assert all(np.isfinite(line["loss"]) for line in folder.history())
    before = trainer_for(config).model.state_dict()
    changed = [name for name, value in result.trainer.model.state_dict().items() if not value.equal(before[name])]
    assert any("weight" in name for name in changed)
    wanted = config.development.synapse_target
    assert result.trainer.developer.connection_sparsity() == pytest.approx(wanted, abs=0.02)
    exported = export_run(folder, verify_samples=2, lava=False)
    assert exported.certificate.verified
    assert {comparison.backend for comparison in exported.certificate.comparisons} >= {"slayer", "nir"}
