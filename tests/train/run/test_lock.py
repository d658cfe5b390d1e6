"""One run folder, one training: a second process is refused, and a killed one leaves no lock behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sdsnn.train.run.run_folder import RunFolder
from sdsnn_core.errors import FileError

SMALL = ["model.hidden=[8]", "data.n_steps=4", "optimiser.batch_size=512", "threads=1", "optimiser.fused=false"]


def sdsnn(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sdsnn", "train", *arguments, "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def settings(epochs: int) -> list[str]:
    return [word for item in (*SMALL, f"optimiser.epochs={epochs}") for word in ("--set", item)]


def test_a_second_training_is_refused_in_one_line_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = sdsnn("digits", "--run", str(run), *settings(400))
    try:
        for _ in range(1200):
            if (run / "history.csv").exists() or first.poll() is not None:
                break
            time.sleep(0.1)
        second = sdsnn("--resume", str(run))
        _, message = second.communicate(timeout=120)
        assert (second.returncode, message.count("\n")) == (2, 1), message
        assert message.endswith(f"run folder {run}: expected no other training, got one that runs now\n")
        assert first.poll() is None
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    n_epochs = len(RunFolder(run).history())
    assert [line["epoch"] for line in RunFolder(run).history()] == list(range(n_epochs))
    again = sdsnn("--resume", str(run))
    try:
        for _ in range(1200):
            if len(RunFolder(run).history()) > n_epochs + 1 or again.poll() is not None:
                break
            time.sleep(0.1)
        assert again.poll() is None
    finally:
        again.kill()
        again.communicate()


def test_a_held_folder_cannot_be_made_anew(tmp_path: Path) -> None:
    from sdsnn.train.run.config import load_config

    config = load_config("digits", [])
    folder = RunFolder.create(tmp_path / "run", config)
    with folder.locked(), pytest.raises(FileError, match="expected no other training, got one that runs now"):
        RunFolder.create(tmp_path / "run", config)
    RunFolder.create(tmp_path / "run", config)
