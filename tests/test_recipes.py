"""Every shipped recipe trains a few steps on tiny data of its format, and can be lowered and compacted after."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sdsnn.train.config import load_config, shipped_recipes
from sdsnn.train.loop import Silent, Trainer, train
from sdsnn.train.lowering import lower
from sdsnn.train.run_folder import RunFolder
from sdsnn.train.trace import trace
from sdsnn_core import reference
from sdsnn_core.compaction import compact


def writers() -> ModuleType:
    """Load the functions that write tiny data."""
    spec = importlib.util.spec_from_file_location("dataset_writers", Path(__file__).with_name("dataset_writers.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(name: str, folder: Path, rng: np.random.Generator) -> None:
    tools = writers()
    if name == "mnist":
        tools.write_mnist(folder, rng)
    elif name == "nmnist":
        tools.write_nmnist(folder, rng)
    elif name == "dvs_gesture":
        tools.write_gesture(folder, rng)
    elif name == "cifar10_dvs":
        pytest.importorskip("aedat", reason="reading AEDAT 4 needs the package aedat: pip install aedat")
        tools.write_cifar10_dvs(folder, rng)
    elif name == "shd":
        tools.write_heidelberg(folder, ("shd_train.h5", "shd_test.h5"), 20, rng)
    else:
        assert name == "digits", f"no tiny data for {name}"


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_recipe_trains_and_lowers(recipe: str, rng: np.random.Generator, tmp_path: Path) -> None:
    plain = load_config(recipe)
    more = [f'data.cache="{tmp_path / "cache"}"', "optimiser.epochs=2", "optimiser.batch_size=16", "data.n_steps=10"]
    if plain.data.name != "digits":
        write(plain.data.name, tmp_path / "data", rng)
        more.append(f'data.directory="{tmp_path / "data"}"')
    else:
        more[2] = "optimiser.batch_size=400"
    config = load_config(recipe, more)
    folder = RunFolder.create(tmp_path / "run", config)
    result = train(config, folder, progress=Silent())
    assert [line["epoch"] for line in folder.history()] == [0, 1]
    assert all(np.isfinite(line["loss"]) for line in folder.history())
    before = Trainer(config).model.state_dict()
    changed = [name for name, value in result.trainer.model.state_dict().items() if not value.equal(before[name])]
    assert any("weight" in name for name in changed)
    network = compact(lower(result.trainer.model, result.trainer.data.shape)).network
    spikes = result.trainer.data.test.spikes[:2]
    expected = trace(list(result.trainer.model.blocks), spikes)
    last = network.nodes["output"].source  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        reference.run(network, spikes).spikes[last].reshape(2, spikes.shape[1], -1), expected[last]
    )
