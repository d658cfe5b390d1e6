"""The programs in examples/ run as they stand and print what they say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[2] / "examples"
NEEDS = {"fabric_loop": "lightning_fabric", "lightning_loop": "lightning"}


def run(name: str, folder: Path, *arguments: str) -> str:
    """Run a program in a folder and return what it prints."""
    needed = NEEDS.get(name, "torch")
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{name}.py needs {needed}")
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAMS / f"{name}.py"), *arguments], cwd=folder, capture_output=True,
        text=True, timeout=500, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


def shares(text: str) -> list[float]:
    """Return the percentages of a text."""
    return [float(share) for share in re.findall(r"([\d.]+)%", text)]


def test_a_script_of_the_user_is_pruned_exported_and_verified(tmp_path: Path) -> None:
    text = run("own_script", tmp_path)
    accuracy, absent = shares(text)
    assert accuracy > 85
    assert absent == pytest.approx(80, abs=1)
    assert "network.nir verified: True" in text
    added = sum(line.rstrip().endswith("#") for line in (PROGRAMS / "own_script.py").read_text().splitlines())
    assert added <= 10


@pytest.mark.parametrize(("name", "checkpoint"), [("fabric_loop", "half.ckpt"), ("lightning_loop", "epoch4.ckpt")])
def test_loops_of_lightning_develop_and_resume_to_the_same_result(name: str, checkpoint: str, tmp_path: Path) -> None:
    whole = run(name, tmp_path)
    network = (tmp_path / "network.nir").read_bytes()
    accuracy, absent = shares(whole)
    assert accuracy > 80
    assert absent == pytest.approx(80, abs=1)
    assert run(name, tmp_path, checkpoint) == whole
    import sdsnn

    (tmp_path / "whole.nir").write_bytes(network)
    assert sdsnn.read(tmp_path / "whole.nir").digest() == sdsnn.read(tmp_path / "network.nir").digest()


def test_a_dense_file_loses_half_of_its_synapses(tmp_path: Path) -> None:
    text = run("compress_a_network", tmp_path)
    before, after = shares(text)
    assert before > 85
    assert after > before - 6
    n_before, n_after = (int(n.replace(",", "")) for n in re.findall(r"(?:before|after) ([\d,]+)(?:,|\n)", text)[-2:])
    assert n_after <= 0.5 * n_before


def test_each_program_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(path.stem in source for path in PROGRAMS.glob("*.py"))
