"""SIGKILL at random moments, many times: the run goes on to exactly the uninterrupted result."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsnn.train.checkpoint import load_checkpoint
from sdsnn.train.run_folder import RunFolder

SETTINGS = ("optimiser.epochs={}", "model.hidden=[24, 16]", "data.n_steps=8", "optimiser.batch_size=128", "threads=1")


def start(run: Path, epochs: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sdsnn_core", "train", "--quiet"]
    if (run / "config.toml").exists():
        command += ["--resume", str(run)]
    else:
        command += ["digits", "--run", str(run)]
        for item in SETTINGS:
            command += ["--set", item.format(epochs)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message


def equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))  # type: ignore[arg-type]
    return left == right


def survive(n_kills: int, epochs: int, rng: np.random.Generator, tmp_path: Path) -> int:
    """Kill a run after a random moment of its writing life, again and again; return how many kills hit it alive."""
    finish(start(tmp_path / "whole", epochs))
    cut, kills = tmp_path / "cut", 0
    while kills < n_kills:
        process = start(cut, epochs)
        before = (cut / "checkpoint.pt").stat().st_mtime_ns if (cut / "checkpoint.pt").exists() else 0
        if rng.random() < 0.8:  # otherwise kill at once or during the imports
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                if (cut / "checkpoint.pt").exists() and (cut / "checkpoint.pt").stat().st_mtime_ns > before:
                    break
                time.sleep(0.001)
            time.sleep(float(rng.uniform(0, 0.15)))
        else:
            time.sleep(float(rng.uniform(0, 3)))
        alive = process.poll() is None
        process.kill()
        process.communicate()
        kills += alive
        if not alive:
            break
    finish(start(cut, epochs))
    folders = RunFolder.open(tmp_path / "whole"), RunFolder.open(cut)
    for name in ("checkpoint_file", "best_file"):
        assert equal(*(load_checkpoint(getattr(folder, name)) for folder in folders)), name
    lines = [
        [{k: v for k, v in line.items() if k not in ("seconds", "waiting")} for line in folder.history()]
        for folder in folders
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) == epochs
    assert not list(cut.glob(".*.tmp"))
    return kills


def test_a_killed_run_resumes_to_the_uninterrupted_result(rng: np.random.Generator, tmp_path: Path) -> None:
    assert survive(2, 8, rng, tmp_path) == 2


@pytest.mark.slow
def test_a_run_survives_many_kills(rng: np.random.Generator, tmp_path: Path) -> None:
    assert survive(30, 60, rng, tmp_path) >= 25
