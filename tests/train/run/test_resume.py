"""SIGKILL at random moments, many times: the run goes on to exactly the uninterrupted result."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsnn.train.run.checkpoint import load_checkpoint
from sdsnn.train.run.run_folder import RunFolder

SETTINGS = ("optimiser.epochs={}", "model.hidden=[24, 16]", "data.n_steps=8", "optimiser.batch_size=128", "threads=1")


def start(run: Path, epochs: int, more: Sequence[str] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sdsnn", "train", "--quiet"]
    if (run / "config.toml").exists():
        command += ["--resume", str(run)]
    else:
        command += ["digits", "--run", str(run)]
        for item in (*SETTINGS, *more):
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


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a run has started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def survive(n_kills: int, epochs: int, rng: np.random.Generator, tmp_path: Path, more: Sequence[str] = ()) -> int:
    """Kill a run after a random moment of its writing life, again and again; return how many kills hit it alive.

    Where a run has several processes, the first one or another is killed by turns; the rest must end by itself.
    """
    finish(start(tmp_path / "whole", epochs, more))
    cut, kills = tmp_path / "cut", 0
    while kills < n_kills:
        process = start(cut, epochs, more)
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
        others = children(process) if alive else []
        if others and kills % 2:
            os.kill(others[0], signal.SIGKILL)
        else:
            process.kill()
        process.communicate(timeout=60)  # ends when all have closed its pipe
        kills += alive
        if not alive:
            break
    finish(start(cut, epochs, more))
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
@pytest.mark.timeout(1500)
@pytest.mark.skipif(
    importlib.util.find_spec("lightning_fabric") is None, reason="needs Lightning Fabric: pip install lightning-fabric"
)
def test_two_processes_survive_kills_of_either(rng: np.random.Generator, tmp_path: Path) -> None:
    assert survive(6, 20, rng, tmp_path, ["hardware.devices=2"]) >= 4


@pytest.mark.slow
@pytest.mark.timeout(3000)  # most of it are imports: half a minute for each kill where other programs have the cores
def test_a_run_survives_many_kills(rng: np.random.Generator, tmp_path: Path) -> None:
    assert survive(30, 60, rng, tmp_path) >= 25
