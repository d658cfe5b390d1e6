"""Training: same seed same result, an interrupted run goes on to the uninterrupted result, errors are one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sdsnn.train.run.checkpoint import check_config, load_checkpoint, save_checkpoint
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import snapshot, train
from sdsnn.train.run.trainer import NoProgress
from sdsnn_core.errors import ConfigError, FileError

SMALL = ["optimiser.epochs=4", "model.hidden=[24, 16]", "data.n_steps=8", "optimiser.batch_size=256", "threads=1"]


class Stop(NoProgress):
    """Interrupts the run in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.at = epoch

    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
        if (epoch, batch) == (self.at, 1):
            raise KeyboardInterrupt


def config(*more: str) -> RunConfig:
    return load_config("digits", [*SMALL, *more])


def same(a: Path, b: Path) -> None:
    """Assert that two checkpoints hold the same values, tensor for tensor."""

    def compare(left: object, right: object, where: str) -> None:
        assert type(left) is type(right), where
        if isinstance(left, torch.Tensor):
            assert isinstance(right, torch.Tensor)
            assert torch.equal(left, right), where
        elif isinstance(left, dict):
            assert isinstance(right, dict)
            assert left.keys() == right.keys(), where
            for key in left:
                compare(left[key], right[key], f"{where}.{key}")
        elif isinstance(left, (list, tuple)):
            assert isinstance(right, (list, tuple))
            assert len(left) == len(right), where
            for index, pair in enumerate(zip(left, right, strict=True)):
                compare(*pair, f"{where}[{index}]")
        else:
            assert left == right, where

    compare(load_checkpoint(a), load_checkpoint(b), "state")


def history(folder: RunFolder) -> list[dict]:
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "waiting")} for line in folder.history()
    ]


def test_same_seed_same_result_and_another_seed_another(tmp_path: Path) -> None:
    folders = [
        RunFolder.create(tmp_path / name, config(f"seed={seed}")) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    results = [train(folder.config(), folder) for folder in folders]
    same(folders[0].checkpoint_file, folders[1].checkpoint_file)
    assert history(folders[0]) == history(folders[1]) != history(folders[2])
    assert results[0].test.accuracy == results[1].test.accuracy


@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_interrupted_run_resumes_to_the_uninterrupted_result(epoch: int, tmp_path: Path) -> None:
    whole, cut = (RunFolder.create(tmp_path / name, config()) for name in ("whole", "cut"))
    train(whole.config(), whole)
    with pytest.raises(KeyboardInterrupt):
        train(cut.config(), cut, progress=Stop(epoch))
    assert len(cut.history()) == epoch
    train(cut.config(), cut, resume=True)
    same(whole.checkpoint_file, cut.checkpoint_file)
    same(whole.best_file, cut.best_file)
    assert history(whole) == history(cut)


def test_history_line_that_the_checkpoint_does_not_know_is_written_anew(tmp_path: Path) -> None:
    whole, cut = (RunFolder.create(tmp_path / name, config()) for name in ("whole", "cut"))
    train(whole.config(), whole)
    with pytest.raises(KeyboardInterrupt):
        train(cut.config(), cut, progress=Stop(2))
    with open(cut.history_file, "a") as file:
        file.write('{"epoch": 2, "loss": 0.1}\n{"epo')
    train(cut.config(), cut, resume=True)
    assert history(whole) == history(cut)


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    trainer = trainer_for(config())
    save_checkpoint(tmp_path / "c.pt", snapshot(trainer, config()))
    with pytest.raises(
        ConfigError, match="made with another configuration; the first difference is 'batch_size = 256'"
    ):
        check_config(load_checkpoint(tmp_path / "c.pt"), config("optimiser.batch_size=128"))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_broken_checkpoints_are_answered_in_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, trainer_for(config()).state())
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        torch.save({"x": 1}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    expected = {"missing": "no such file", "other": "expected a checkpoint of sdsnn"}.get(
        damage, "corrupt or not a checkpoint"
    )
    with pytest.raises(FileError, match=expected) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"format": 1, "x": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(path, {"format": 1, "x": lambda: None})
    assert load_checkpoint(path)["x"] == 1
    assert os.listdir(tmp_path) == ["c.pt"]  # the failure came before the file system was touched


def test_run_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError, match="exists and is not empty; choose another"):
        RunFolder.create(tmp_path, config())
    with pytest.raises(FileError, match=r"has no config\.toml, so it is not a run of sdsnn"):
        RunFolder.open(tmp_path)


def test_ctrl_c_leaves_a_checkpoint_and_resume_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [sys.executable, "-m", "sdsnn", "train", "digits", "--run", str(run), "--quiet"]
    for item in (*SMALL, "optimiser.epochs=30"):
        arguments += ["--set", item]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if (run / "history.csv").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, message
    assert f"sdsnn: interrupted; go on with: sdsnn train --resume {run}" in message
    assert "Traceback" not in message
    folder = RunFolder.open(run)
    done = load_checkpoint(folder.checkpoint_file)["epochs_done"]
    assert 1 <= done < 30
    resumed = subprocess.run(
        [sys.executable, "-m", "sdsnn", "train", "--resume", str(run), "--quiet"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert len(folder.history()) == 30
    assert json.loads((run / "environment.json").read_text())["seed"] == 0
