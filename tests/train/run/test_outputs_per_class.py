"""`model.outputs_per_class`: losses see means, and every form of the exported network has the accuracy of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.export.pipeline import export_run
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.parts.model import loss_of
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.slayer.losses import LOSSES, build_loss
from sdsnn_core import reference
from sdsnn_core.errors import ConfigError
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.tasks.task import Task

SMALL = ["threads=1", "model.hidden=[16]", "data.n_steps=6", "optimiser.batch_size=64", "optimiser.epochs=2"]
N = 3


def config(*more: str) -> Any:
    return load_config("digits", [*SMALL, f"model.outputs_per_class={N}", *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sdsnn.train(config("optimiser.learning_rate=0.02"), tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_lava_has_the_spikes_of_every_neuron_of_a_class(run: Any) -> None:
    certificate = export_run(run.folder, verify_samples=2).certificate
    assert certificate.verified
    assert certificate.mismatches == 0
    assert {comparison.backend for comparison in certificate.comparisons} >= {"slayer", "netx", "lava"}


def test_every_back_end_and_file_has_the_accuracy_of_training(run: Any) -> None:
    exported = export_run(run.folder, verify_samples=4, lava=False)
    assert exported.certificate.verified
    assert exported.certificate.mismatches == 0
    names = {comparison.backend for comparison in exported.certificate.comparisons}
    assert names >= {"slayer", "nir", "netx file"}
    network, split = exported.network, run.trainer.data.test
    output = next(iter(network.outputs.values())).source
    assert network.size_of(output) == 10 * N
    trains = reference.run(network, np.asarray(split.spikes), record=[output]).spikes[output]
    counts = [
        [int(row[neuron : neuron + N].sum()) for neuron in range(0, 10 * N, N)] for row in trains.sum(1, dtype=int)
    ]
    right = [max(row) > 0 and row.index(max(row)) == label for row, label in zip(counts, split.labels, strict=True)]
    assert np.mean(right) == run.test.accuracy > 0.5
    data = run.folder.path / "data.npz"
    np.savez(data, spikes=np.asarray(split.spikes), labels=split.labels)
    for name, target in (("network.nir", "engine"), ("network.net", "engine"), ("network.nir", "reference")):
        file = str(run.folder.path / name)
        answer = CliRunner().invoke(app, ["simulate", file, str(data), "--target", target, "--json"])
        assert answer.exit_code == 0, answer.output
        numbers = json.loads(answer.output.splitlines()[-1])
        assert numbers["accuracy"] == run.test.accuracy
        assert np.shape(numbers["confusion"]) == (10, 10)
    answer = CliRunner().invoke(app, ["report", str(run.folder.path), "--samples", "4"])
    assert answer.exit_code == 0, answer.output
    assert f"{run.test.accuracy}" in (run.folder.path / "report.json").read_text()


def test_losses_see_the_mean_of_each_class(rng: np.random.Generator) -> None:
    output = torch.from_numpy((rng.random((4, 5 * N, 8)) < 0.4).astype(np.float32)).requires_grad_()
    means = torch.stack([sum(output[:, N * c + i] for i in range(N)) / N for c in range(5)], dim=1)  # type: ignore[misc, arg-type]
    targets = {
        "label": torch.tensor([0, 4, 2, 0]),
        "step_labels": torch.from_numpy(rng.integers(-1, 5, (4, 8))),
        "several_labels": torch.from_numpy(rng.integers(0, 2, (4, 5))),
    }
    for name, kinds in LOSSES.items():
        for kind in sorted(targets.keys() & set(kinds)):
            task = Task(kind, outputs_per_class=N)  # type: ignore[arg-type]
            value = loss_of(config(f"optimiser.loss={name}"), task)(output, targets[kind])
            expected = build_loss(name, task, gain=1.5)(means, targets[kind])
            assert value.item() == pytest.approx(expected.item(), rel=1e-6), (name, kind)
            (gradient,) = torch.autograd.grad(value, output)
            assert torch.equal(gradient[:, ::N], gradient[:, 1::N])  # neurons of a class are pulled alike


def grown(shape: tuple[int, ...], n_outputs: int) -> torch.nn.Module:
    neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
    return torch.nn.Sequential(import_slayer().block.cuba.Dense(neuron, shape[0], n_outputs, weight_scale=2))


def test_own_models_and_networks_have_the_outputs(run: Any, tmp_path: Path) -> None:
    factory = f"model.factory={__name__}:grown"
    trainer = trainer_for(config(factory))
    assert trainer.evaluate(trainer.data.test).readings.shape[1] == 10
    network = sdsnn.lower(run.trainer.model, run.trainer.data.shape, provenance={"task": {"outputs_per_class": N}})
    again = sdsnn.train(load_config("digits", [*SMALL, "optimiser.epochs=1"]), tmp_path / "run", init=network)
    assert again.initial.test == run.test.accuracy
    assert RunFolder.open(tmp_path / "run").config().model.outputs_per_class == N


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.outputs_per_class=0"], "model.outputs_per_class: expected a number greater than or equal to 1, got 0"),
        (
            ["data.name=made_tasks:values", "optimiser.loss=mse"],
            "model.outputs_per_class: expected 1 for task values, which has no classes, got 3",
        ),
    ],
)
def test_what_has_no_groups_is_refused_before_training(settings: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        sdsnn.train(config(*settings), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "history.jsonl").exists()


def test_a_network_of_another_size_is_refused(run: Any, tmp_path: Path) -> None:
    network = sdsnn.lower(run.trainer.model, run.trainer.data.shape)
    with pytest.raises(ConfigError, match="expected 50 outputs, 5 for each class of the data, got 30"):
        sdsnn.train(config("model.outputs_per_class=5"), tmp_path / "run", init=network)
