"""`sdsnn import`: what it prints of a float graph, and what it leaves in JSON."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app

DT = 1e-4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a float graph with a delay of two and a half steps, and three samples of which the second is empty."""
    one = np.ones(1)
    nodes = {
        "in": nir.Input(np.array([1])), "d": nir.Delay(one * 2.5 * DT), "w": nir.Linear(np.ones((1, 1))),
        "n": nir.LIF(tau=DT * one, r=one, v_leak=0 * one, v_threshold=0.7 * one, v_reset=0 * one),
        "out": nir.Output(np.array([1])),
    }  # fmt: skip
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
    x = np.zeros((3, 20, 1), np.uint8)
    x[[0, 2], 4] = x[2, 9] = 1
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "a.nir"


def test_costs_and_silent_outputs_are_printed_and_in_json(file: Path) -> None:
    arguments = ["import", str(file), "--dt", str(DT), "--calibrate", str(file.parent / "x.npy"), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    assert "node 'd': delays are rounded to whole steps, by 0.5 steps at most" in lines
    cause = "delays of parts of a step (measured by rounding them the other way)"
    assert f"n: 6 of 60 bins differ because of {cause}" in lines  # three spikes, each in two bins
    assert "the output was silent in 1 of 3 samples, in floats in 1: they have no class" in lines
    report = json.loads(lines[-1])
    assert (report["samples"], report["silent"], report["silent_float"]) == (3, 1, 1)
    assert report["nodes"][0]["costs"][cause] == 6
    assert sdsnn.read(report["file"]).populations["n"].size == 1


def test_check_says_the_same_without_writing(file: Path) -> None:
    answer = CliRunner().invoke(app, ["check", str(file), "--dt", str(DT)])
    text = " ".join(answer.output.split())
    assert "bins differ because of delays of parts of a step" in text
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".nir"] == ["a.nir"]
