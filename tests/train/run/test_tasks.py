"""Tasks beyond one label: each trains, is chosen and reported by its metric, and reads the same from a Network."""

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
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.trained import load_trained
from sdsnn.train.slayer.losses import LOSSES, build_loss, trailing_sums
from sdsnn_core import reference
from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.tasks import task as tasks
from sdsnn_core.tasks.task import Task

SMALL = ["threads=1", "model.hidden=[16]", "data.n_steps=20", "optimiser.batch_size=16", "optimiser.epochs=6"]
SMALL += ["optimiser.learning_rate=0.02", "development.pruning=false", "development.synapse_stage=false"]
SMALL += ["data.noise=0.0", "data.shift=0", "model.neuron.voltage_decay=0.2"]
RUNS: dict[str, list[str]] = {
    "step_labels": ["task.window=5", "optimiser.loss=cross_entropy"],
    "several_labels": ["optimiser.loss=cross_entropy", "task.level=0.3"],
    "values": ["model.readout=voltage", "optimiser.loss=mse", "task.window=8"],
    "values_per_step": ["model.readout=voltage", "optimiser.loss=mse", "task.window=8"],
    "spike_trains": ["optimiser.loss=spike_time"],
    "label": ["model.readout=voltage", "optimiser.gain=0.1"],
}
MAIN = {"step_labels": "accuracy", "several_labels": "f1", "values": "rmse", "values_per_step": "rmse",
        "spike_trains": "van_rossum", "label": "accuracy"}  # fmt: skip


def settings(kind: str) -> list[str]:
    return [*SMALL, f"data.name=made_tasks:{kind}", *RUNS[kind]]


@pytest.mark.parametrize("kind", RUNS)
def test_a_task_trains_and_is_read_alike_from_its_network(kind: str, tmp_path: Path) -> None:
    config = load_config("digits", settings(kind))
    fresh = trainer_for(config)
    before = fresh.evaluate(fresh.data.validation)
    result = sdsnn.train(config, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    lines = folder.history()
    task = result.trainer.task
    assert task.main == MAIN[kind] == next(iter(result.test.scores))
    chosen = [line["validation"][task.main] if "validation" in line else line["validation_accuracy"] for line in lines]
    better = max if task.higher_is_better else min
    settled = [value for value, line in zip(chosen, lines, strict=True) if line["settled"]] or chosen
    assert result.validation == better(settled)
    assert task.signed(result.validation) > task.signed(before.main)
    # Read back, and the same reading from the network on the reference simulator.
    trained = load_trained(folder)
    assert trained.task == task
    split = result.trainer.data.test
    assert trained.figures(split).scores == result.test.scores == trained.test.scores  # type: ignore[union-attr]
    network = sdsnn.lower(trained.model, trained.input_shape)
    output = next(iter(network.outputs.values()))
    spikes = np.concatenate([split.spikes, np.zeros_like(split.spikes[:, :1])], axis=1)
    activity = reference.run(network, spikes, record=[output.source], record_state=[output.source])
    if output.signal == "voltage":  # SLAYER's bin t is the chip's step t + 1; 64 x 64 state units are one
        values = np.moveaxis(activity.voltage[output.source][:, 1:], 1, -1) / 4096
    else:
        values = np.moveaxis(activity.spikes[output.source][:, :-1], 1, -1)
    readings = task.read(values, output.signal, split.labels)
    np.testing.assert_allclose(readings, result.test.readings, atol=1e-9)
    assert task.scores(readings, split.labels) == pytest.approx(result.test.scores)


@pytest.mark.parametrize("kind", ["step_labels", "values", "values_per_step", "spike_trains"])
def test_export_and_simulation_have_the_figures_of_training(kind: str, tmp_path: Path) -> None:
    result = sdsnn.train(load_config("digits", [*settings(kind), "optimiser.epochs=2"]), tmp_path / "run")
    answer = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--no-lava"])
    assert answer.exit_code == 0, answer.output
    targets = ("engine", "reference", "nir", "netx file") if kind == "values" else ("engine", "reference")
    for target in targets:
        answer = CliRunner().invoke(app, ["simulate", str(tmp_path / "run"), "--json", "--target", target])
        assert answer.exit_code == 0, answer.output
        numbers = json.loads(answer.output.splitlines()[-1])
        assert numbers["scores"] == pytest.approx(result.test.scores, nan_ok=True)
        assert result.trainer.task.main.replace("_", " ") in answer.output
    answer = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--samples", "4"])
    assert answer.exit_code == 0, answer.output
    assert result.trainer.task.main in (tmp_path / "run" / "report.json").read_text()


@pytest.mark.parametrize("kind", ["values", "step_labels"])
def test_a_metric_of_the_user_decides(kind: str, tmp_path: Path) -> None:
    seen = []

    def metric(predictions: Any, targets: Any) -> dict[str, float]:
        seen.append((predictions.shape, targets.shape))
        return {"own": -float(np.abs(predictions - targets).mean()), "other": 3.0}

    config = load_config("digits", [*settings(kind), "optimiser.epochs=3"])
    result = sdsnn.train(config, tmp_path / "run", parts=sdsnn.Parts(metric=metric))
    lines = result.folder.history()
    assert result.validation == max(line["validation"]["metric"] for line in lines if line["settled"])
    assert list(result.test.scores)[:3] == ["metric", "own", "other"]
    assert all(predictions == targets for predictions, targets in seen)


def test_labels_of_another_shape_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"expected labels of shape \(32, 20\) for task step_labels, got \(32, 19\)"):
        sdsnn.train(load_config("digits", [*SMALL, "data.name=made_tasks:wrong_labels"]), tmp_path / "run")


def test_a_loss_of_another_task_is_refused_with_those_that_fit() -> None:
    with pytest.raises(ConfigError, match=r"expected mse or .* for task values, got cross_entropy"):
        trainer_for(load_config("digits", [*SMALL, "data.name=made_tasks:values"]))
    with pytest.raises(ConfigError, match=r"task\.kind: expected values, as the data have, got label"):
        trainer_for(load_config("digits", [*settings("values"), "task.kind=label"]))


# -- losses and readings against plain Python -------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 7, 12, 40])
def test_trailing_sums_count_the_window(window: int, rng: np.random.Generator) -> None:
    output = rng.integers(0, 2, (2, 3, 12)).astype(np.float32)
    expected = np.stack([output[..., max(0, t + 1 - window) : t + 1].sum(-1) for t in range(12)], axis=-1)
    np.testing.assert_array_equal(tasks.trailing_sums(output, window), expected)
    np.testing.assert_array_equal(trailing_sums(torch.from_numpy(output), window).numpy(), expected)


def test_step_labels_count_spikes_up_to_the_step_and_silence_is_no_class() -> None:
    output = np.zeros((1, 2, 5), np.uint8)
    output[0, 1, 1] = output[0, 0, 3] = 1
    task = Task("step_labels", window=2)
    readings = task.read(output)
    assert readings.tolist() == [[-1, 1, 1, 0, 0]]
    labels = np.array([[0, 1, 0, 0, -1]])
    assert task.silent(readings, labels) == 1
    assert task.scores(readings, labels)["accuracy"] == 2 / 4
    assert task.right(readings, labels) == (2, 4)


def test_losses_of_tasks_are_sums_over_samples_and_leave_unlabelled_steps_out(rng: np.random.Generator) -> None:
    output = torch.from_numpy(rng.random((4, 3, 10)).astype(np.float32))
    targets = {
        "label": torch.tensor([0, 1, 2, 0]),
        "step_labels": torch.from_numpy(rng.integers(-1, 3, (4, 10))),
        "several_labels": torch.from_numpy(rng.integers(0, 2, (4, 3))),
        "values": torch.from_numpy(rng.random((4, 3)).astype(np.float32)),
        "spike_trains": torch.from_numpy(rng.integers(0, 2, (4, 3, 10))),
    }
    for name, kinds in LOSSES.items():
        for kind in kinds:
            loss = build_loss(name, Task(kind))  # type: ignore[arg-type]
            parts = sum(float(loss(output[i : i + 1], targets[kind][i : i + 1])) for i in range(4))
            assert float(loss(output, targets[kind])) == pytest.approx(parts, rel=1e-5), (name, kind)
    loss = build_loss("cross_entropy", Task("step_labels"))
    changed = output.clone()
    changed.permute(0, 2, 1)[targets["step_labels"] == -1] += 1
    assert not torch.equal(changed, output)
    assert torch.equal(loss(changed, targets["step_labels"]), loss(output, targets["step_labels"]))
