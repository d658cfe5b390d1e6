"""A sigma-delta network from training to a verified file: SLAYER's figures are those of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdsnn.deploy.simulate.simulation import simulate_data
from sdsnn.export.pipeline import export_run
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Sigma, SigmaDelta

SMALL = [
    "model.neurons=sigma_delta", "model.neuron.threshold=0.25", "model.hidden=[24, 16]", "data.n_steps=6",
    "optimiser.epochs=2", "optimiser.batch_size=128", "optimiser.gain=0.02", "development.synapse_target=0.7",
]  # fmt: skip


def test_it_trains_develops_and_is_verified(tmp_path: Path) -> None:
    config = load_config("digits", SMALL)
    folder = RunFolder.create(tmp_path / "run", config)
    train(config, folder)
    exported = export_run(folder, verify_samples=16, lava=False)
    assert exported.certificate.verified
    assert {c.backend for c in exported.certificate.comparisons} == {"slayer", "nir"}
    assert [type(node) for node in exported.network.populations.values()] == [SigmaDelta, SigmaDelta, Sigma]
    weights = sum(p.n_weights for p in exported.network.projections.values())
    assert weights < 0.5 * (64 * 24 + 24 * 16 + 16 * 10)
    split = folder.test_split()
    result = simulate_data(exported.network, split.spikes, split.labels)
    assert result.accuracy == exported.test.accuracy
    assert result.accuracy > 0.2


def test_what_its_blocks_do_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected norm none of sigma_delta neurons"):
        load_config("digits", ["model.neurons=sigma_delta", "model.norm=mean_only"])
