"""Direct coding: grey levels as graded spikes are trained, and every back end has the same bins and accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.deploy.engine import run as run_engine
from sdsnn.deploy.placement.place import place
from sdsnn.export.pipeline import export_run
from sdsnn.train.run.config import load_config

LAYERS = 'model.layers=[{kind="dense",out=16,neuron={threshold=%d.0}}]'


@pytest.mark.parametrize("levels", [15, pytest.param(255, marks=pytest.mark.slow)])
def test_grey_levels_have_the_same_bins_in_every_back_end(levels: int, tmp_path: Path) -> None:
    settings = [
        "threads=1",
        "model.hidden=[]",
        LAYERS % levels,
        "data.coding=direct",
        f"data.levels={levels}",
        "data.n_steps=6",
    ]
    settings += ["optimiser.epochs=2", "optimiser.learning_rate=0.02", "optimiser.batch_size=64"]
    result = sdsnn.train(load_config("digits", settings), tmp_path / "run")
    assert result.test.accuracy is not None
    assert result.test.accuracy > 0.25
    exported = export_run(result.folder, verify_samples=2, lava=levels == 255, extra={"engine": run_engine})
    certificate, network = exported.certificate, exported.network
    assert certificate.verified
    assert certificate.mismatches == 0
    names = {comparison.backend for comparison in certificate.comparisons}
    assert names >= {"slayer", "nir", "netx file", "engine", *(("lava", "netx") if levels == 255 else ())}
    assert next(iter(network.inputs.values())).max_value == levels
    spikes = np.asarray(result.trainer.data.test.spikes)
    assert spikes.max() == levels
    assert (spikes == spikes[:, :1]).all()  # the same value in every step
    for target in ("engine", "reference"):
        answer = CliRunner().invoke(app, ["simulate", str(result.folder.path), "--json", "--target", target])
        assert answer.exit_code == 0, answer.output
        assert json.loads(answer.output.splitlines()[-1])["accuracy"] == result.test.accuracy
    notes = [note for note in place(network, "loihi1").notes if "send a value as several spikes" in note]
    assert notes == [
        f"input 'input': values of {levels.bit_length()} bits, Intel Loihi 1 takes 1: send a value as several spikes"
    ]
