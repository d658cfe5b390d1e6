"""Distillation: the divergence against NumPy, no effect without weight, resuming, and teachers that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.train.run.checkpoint import load_checkpoint
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.parts.teacher import Distillation, Softening
from sdsnn.train.run.trainer import NoProgress
from sdsnn_core.errors import ConfigError, SdsnnError

SMALL = ["threads=1", "model.hidden=[16]", "data.n_steps=6", "optimiser.batch_size=64", "optimiser.epochs=2"]
SMALL += ["optimiser.learning_rate=0.02"]


def config(*more: str) -> Any:
    return load_config("digits", [*SMALL, *more])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = ("model.hidden=[24]", "model.outputs_per_class=2", "optimiser.epochs=4")
    return sdsnn.train(config(*settings), tmp_path_factory.mktemp("runs") / "teacher")


def learned(path: Path, *more: str, teacher: Any = None, progress: Any = None) -> dict[str, torch.Tensor]:
    """The weights of a run after its last epoch."""
    names = [] if teacher is None else [f"optimiser.teacher={teacher.folder.path}"]
    sdsnn.train(config(*names, *more), path, progress=progress)
    state: dict[str, torch.Tensor] = load_checkpoint(path / "checkpoint.pt")["model"]
    return state


def alike(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_is_that_of_the_softened_shares(temperature: float, rng: np.random.Generator) -> None:
    answers, output = ((rng.random((3, size, 9)) < 0.4).astype(np.float32) for size in (8, 12))

    def shares(spikes: np.ndarray, per_class: int) -> np.ndarray:
        counts = np.stack([spikes[:, c * per_class : (c + 1) * per_class].sum((1, 2)) for c in range(4)], 1) / per_class
        powers = np.exp(1.5 * counts.astype(np.float64) / temperature)
        return np.asarray(powers / powers.sum(1, keepdims=True))

    class Answers(torch.nn.Module):
        def forward(self, _spikes: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(answers)

    p, q = shares(answers, 2), shares(output, 3)
    expected = 0.3 * temperature**2 * (p * np.log(p / q)).sum()
    distillation = Distillation(Answers(), Softening(1.5, 0.3, temperature), (2, 3))
    value = distillation.loss(torch.from_numpy(output), torch.zeros(3, 5, 9))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    assert expected > 0.01


def test_a_network_does_not_diverge_from_itself(teacher: Any) -> None:
    model = teacher.trainer.model
    distillation = Distillation(model, Softening(1.5), (2, 2))
    spikes = (torch.rand(4, 64, 6) < 0.3).float()
    output = model(spikes).requires_grad_()
    assert float(distillation.loss(output, spikes).detach()) == pytest.approx(0, abs=1e-6)


def test_without_weight_a_teacher_changes_no_bit_and_with_weight_it_does(teacher: Any, tmp_path: Path) -> None:
    alone = learned(tmp_path / "alone")
    weightless = learned(tmp_path / "weightless", "optimiser.teacher_weight=0.0", teacher=teacher)
    taught = learned(tmp_path / "taught", "optimiser.teacher_weight=2.0", teacher=teacher)
    assert alike(alone, weightless)
    assert not alike(alone, taught)


def test_a_teacher_stays_as_it_is_and_brings_its_pupil_nearer(teacher: Any) -> None:
    settings = f"optimiser.teacher={teacher.folder.path}", "optimiser.teacher_weight=5.0", "optimiser.epochs=6"
    trainer = trainer_for(config(*settings))
    distillation: Any = trainer.teacher
    before = {key: value.clone() for key, value in distillation.teacher.state_dict().items() if "state" not in key}
    assert not distillation.teacher.training
    spikes = torch.from_numpy(np.moveaxis(trainer.data.test.spikes[:64], 1, -1).astype(np.float32))

    def distance() -> float:
        with torch.no_grad():
            return float(distillation.loss(trainer.model.eval()(spikes), spikes))

    first = distance()
    for _ in range(6):
        trainer.run_epoch(NoProgress())
    assert distance() < first / 2
    after = distillation.teacher.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())


class Stop(NoProgress):
    def epoch(self, line: dict[str, Any]) -> None:
        if line["epoch"] == 0:
            raise KeyboardInterrupt


def test_a_run_goes_on_with_its_teacher_and_with_no_other(teacher: Any, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(teacher.folder.path, tmp_path / "first")
    whole = learned(tmp_path / "whole", teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        sdsnn.train(config(f"optimiser.teacher={tmp_path / 'first'}"), tmp_path / "cut", progress=Stop())
    shutil.move(tmp_path / "first", moved)
    resume = ["train", "--resume", str(tmp_path / "cut"), "--quiet"]
    answer = CliRunner().invoke(app, resume)
    assert answer.exit_code == 2
    assert "optimiser.teacher: run folder" in answer.stderr
    sdsnn.train(config("model.hidden=[8]", "optimiser.epochs=1"), tmp_path / "other")
    answer = CliRunner().invoke(app, [*resume, "--set", f"optimiser.teacher={tmp_path / 'other'}"])
    assert answer.exit_code == 2
    assert "optimiser.teacher: expected the weights that this run began with, got others" in answer.stderr
    answer = CliRunner().invoke(app, [*resume, "--set", f"optimiser.teacher={moved}"])
    assert answer.exit_code == 0, answer.output
    assert alike(load_checkpoint(tmp_path / "cut" / "checkpoint.pt")["model"], whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.n_steps=7"], r"optimiser\.teacher: expected data\.n_steps 7, as this run has, got 6"),
        (["data.coding=latency"], r"optimiser\.teacher: expected data\.coding latency, as this run has, got rate"),
        (["data.coding=direct"], r"optimiser\.teacher: expected bins up to 15, as this run has, got 1; .*data\.coding"),
        (
            ["data.name=made_tasks:label", "data.noise=0.0", "data.shift=0"],
            r"expected input of shape \(6,\), as this run has, got \(64,\); .*expected number of classes 3, .* got 10",
        ),
        (
            ["data.name=made_tasks:step_labels"],
            r"optimiser\.teacher: expected a task of one label per sample, got step",
        ),
        (["optimiser.teacher=nowhere"], r"optimiser\.teacher: run folder nowhere: has no config\.toml"),
        (["optimiser.teacher_temperature=0"], r"optimiser\.teacher_temperature: expected a number greater than 0"),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_line_before_training(
    settings: list[str], message: str, teacher: Any, tmp_path: Path
) -> None:
    with pytest.raises(SdsnnError, match=message) as caught:
        sdsnn.train(config(f"optimiser.teacher={teacher.folder.path}", *settings), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "history.jsonl").exists()


def test_a_folder_without_an_epoch_teaches_nothing(teacher: Any, tmp_path: Path) -> None:
    shutil.copytree(teacher.folder.path, tmp_path / "cut")
    (tmp_path / "cut" / "best.pt").unlink()
    with pytest.raises(SdsnnError, match=r"optimiser\.teacher: checkpoint .*best\.pt") as caught:
        trainer_for(config(f"optimiser.teacher={tmp_path / 'cut'}"))
    assert not isinstance(caught.value, ConfigError)
