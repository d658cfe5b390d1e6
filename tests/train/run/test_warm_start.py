"""Warm start: weights of a file, a run or a network; what does not fit is one line before any epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.train.run.checkpoint import load_checkpoint
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.parts.network_state import network_from, network_state
from sdsnn.train.run.parts.warm_start import read_init
from sdsnn.train.run.trained import load_trained
from sdsnn.train.run.trainer import NoProgress
from sdsnn_core.errors import FileError, SdsnnError

SMALL = ["threads=1", "model.hidden=[16]", "data.n_steps=6", "optimiser.batch_size=256", "optimiser.epochs=3"]


def config(*more: str) -> RunConfig:
    return load_config("digits", [*SMALL, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sdsnn.train(
        config("optimiser.learning_rate=0.01", "optimiser.batch_size=64", "optimiser.epochs=4"),
        tmp_path_factory.mktemp("runs") / "dense",
    )


def plain_weights(run: Any) -> dict[str, torch.Tensor]:
    """The state_dict of the user's own class, which knows no masks."""
    state = run.trainer.model.state_dict()
    return {key: value for key, value in state.items() if not key.endswith(("mask", "unit_gate"))}


@pytest.mark.parametrize("kind", ["mapping", "file", "wrapped", "prefixed", "masked", "checkpoint", "run"])
def test_a_run_begins_where_the_weights_are(kind: str, run: Any, tmp_path: Path) -> None:
    weights: Any = plain_weights(run)
    path = tmp_path / "weights.pt"
    if kind == "wrapped":
        torch.save({"epoch": 3, "state_dict": weights}, path)
    elif kind == "prefixed":
        torch.save({f"net.{key}": value for key, value in weights.items()}, path)
    else:
        torch.save(run.trainer.model.state_dict() if kind == "masked" else weights, path)
    source = {"mapping": weights, "checkpoint": run.folder.best_file, "run": run.folder.path}.get(kind, path)
    init, resolved = read_init(source, config())
    trainer = trainer_for(resolved, init=init)
    for key, value in trainer.model.state_dict().items():
        if key in weights:
            assert torch.equal(value, weights[key]), key
    masked = kind in ("masked", "checkpoint", "run")
    if masked:
        assert trainer.evaluate(trainer.data.test).scores == run.test.scores
        assert trainer.developer.connection_sparsity() == run.trainer.developer.connection_sparsity() > 0


def test_the_initial_accuracy_is_reported_and_is_the_baseline(run: Any, tmp_path: Path) -> None:
    again = sdsnn.train(config("optimiser.epochs=1"), tmp_path / "run", init=run.folder.path)
    assert again.initial.test == run.test.accuracy
    assert again.initial.source == str(run.folder.path)
    assert again.folder.read_json(again.folder.init_file) == again.initial._asdict()
    baseline = again.initial.validation
    # An accuracy below the baseline by more than the drop holds removal from the first epoch on.
    for drop, held in ((0.0, True), (1.0, False)):
        settings = [f"development.max_accuracy_drop={drop}", "optimiser.epochs=2", "optimiser.learning_rate=0.9"]
        result = sdsnn.train(config(*settings), tmp_path / f"drop{drop}", init=run.folder.path)
        lines = result.folder.history()
        assert result.trainer.developer.reference.accuracy >= result.initial.validation > 0
        assert lines[0]["validation_accuracy"] < result.initial.validation
        assert lines[1]["held"] is held
    assert baseline > 0


class Stop(NoProgress):
    def epoch(self, line: dict[str, Any]) -> None:
        if line["epoch"] == 1:
            raise KeyboardInterrupt


def test_the_network_of_a_file_becomes_the_model(run: Any, tmp_path: Path) -> None:
    network = sdsnn.lower(run.trainer.model, run.trainer.data.shape)
    whole = sdsnn.train(config("model.hidden=[5, 5]"), tmp_path / "whole", init=network)
    assert whole.initial.test == run.test.accuracy
    init, resolved = read_init(network, config())
    assert sdsnn.lower(trainer_for(resolved, init=init).model, (64,)).digest() == network.digest()
    with pytest.raises(KeyboardInterrupt):
        sdsnn.train(config(), tmp_path / "cut", init=network, progress=Stop())
    sdsnn.write(network, tmp_path / "theirs.net")
    answer = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "cut"), "--quiet"])
    assert answer.exit_code == 0, answer.output
    states = [load_checkpoint(tmp_path / name / "checkpoint.pt")["model"] for name in ("whole", "cut")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    trained = load_trained(whole.folder)
    assert trained.figures(whole.trainer.data.test).accuracy == whole.test.accuracy
    settings = [text for item in SMALL for text in ("--set", item)]
    arguments = ["train", "digits", *settings, "--quiet", "--init", str(tmp_path / "theirs.net")]
    answer = CliRunner().invoke(app, [*arguments, "--run", str(tmp_path / "cli"), "--export"])
    assert answer.exit_code == 0, answer.output
    assert f"theirs.net before the first epoch: accuracy {100 * whole.initial.validation:.2f}%" in re.sub(
        r"\s+", " ", answer.output
    ).replace("/ ", "/")


def test_a_network_survives_its_state(run: Any) -> None:
    network = sdsnn.lower(run.trainer.model, run.trainer.data.shape)
    assert network_from(network_state(network)).digest() == network.digest()
    with pytest.raises(FileError, match="initial network: damaged"):
        network_from({"nodes": {"a": {"type": "Nothing"}}, "projections": {}, "dt_s": 1e-3})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.popitem(), r"got no blocks\.1\.neuron|got no blocks\.1\.synapse"),
        (lambda w: w.update({"extra": torch.zeros(1)}), "got extra, which the model has not"),
        (
            lambda w: w.update({"blocks.0.synapse.weight": torch.zeros(3, 4)}),
            r"of shape \(3, 4\) for \(16, 64, 1, 1, 1\)",
        ),
        (lambda w: w.clear(), "expected a state_dict of tensors"),
        (lambda w: w.update({"blocks.0.synapse.weight": 3}), "expected a state_dict of tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(damage: Any, message: str, run: Any, tmp_path: Path) -> None:
    weights = plain_weights(run)
    damage(weights)
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(FileError, match=message) as caught:
        sdsnn.train(config(), tmp_path / "run", init=tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "history.jsonl").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 no archive", b"sdsnn-checkpoint sha256 0\nxx"])
def test_files_without_weights_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SdsnnError) as caught:
        sdsnn.train(config(), tmp_path / "run", init=path)
    assert "\n" not in str(caught.value)
    assert "w.pt" in str(caught.value)
