"""The command line: what a user types, what a user's mistake prints, and that light commands stay light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest
from networks import random_network

from sdsnn.export.nir_format.writer import write_nir

SMALL = ["optimiser.epochs=3", "model.hidden=[24, 16]", "optimiser.batch_size=256"]


def sdsnn(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sdsnn", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=500,
        check=False,
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sdsnn.cli.app import app; "
        "heavy = {'torch', 'lava', 'numba', 'matplotlib', 'sklearn', 'tonic'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    answer = sdsnn("--help")
    assert answer.returncode == 0
    for command in ("train", "export", "demo", "doctor"):
        assert command in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digit"], "recipe 'digit': not shipped; shipped are"),
        (["train", "missing.toml"], "no such file"),
        (["train"], "give either a CONFIG or --resume RUN"),
        (["train", "digits", "--set", "seeds=1", "--set", "optimiser.epochs=0"], "seeds: unknown key"),
        (["train", "--resume", "nowhere"], "has no config.toml, so it is not a run of sdsnn"),
        (["export", "nowhere"], "has no config.toml, so it is not a run of sdsnn"),
        (["demo", "--set", "data.n_step=3"], "data.n_step: unknown key; known there are"),
    ],
)
def test_mistakes_get_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    answer = sdsnn(*arguments, cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert message in answer.stderr
    assert answer.stderr.startswith("sdsnn: ")
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_status_2_too() -> None:
    answer = sdsnn("train", "--nope")
    assert answer.returncode == 2
    assert "No such option" in answer.stderr


def test_demo_goes_through_every_room_and_ends_with_json(tmp_path: Path) -> None:
    more = [item for setting in SMALL for item in ("--set", setting)]
    first = sdsnn("demo", "--run", str(tmp_path / "demo"), "--json", "--quiet", *more)
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout.splitlines()[-1])
    assert {
        "test_accuracy", "connection_sparsity", "units_kept", "synapses_kept", "mismatches", "backends", "seconds",
    } <= result.keys()  # fmt: skip
    assert result["mismatches"] == 0
    assert result["verified"] is True
    assert {"slayer", "nir"} <= set(result["backends"])
    assert result["test_accuracy"] == result["test_accuracy_before_export"]
    for name in ("network.nir", "certificate.json", "report.json", "config.toml", "history.jsonl", "checkpoint.pt"):
        assert (tmp_path / "demo" / name).is_file(), name
    for text in ("test accuracy", "synapses", "per inference", "Davies 2018", "0 mismatches"):
        assert text in first.stdout
    again = sdsnn("demo", "--run", str(tmp_path / "demo"), "--json", "--quiet", *more)
    repeated = json.loads(again.stdout.splitlines()[-1])
    assert Path(repeated["run"]).name == "demo-2"
    for key in set(result) - {"run", "seconds"}:
        assert repeated[key] == result[key], key


def write_files(folder: Path) -> None:
    """Write a good network and everything that can be wrong with a network or its data."""
    network = random_network(np.random.default_rng(3), convolution=False)
    write_nir(network, folder / "good.nir")
    whole = (folder / "good.nir").read_bytes()
    (folder / "cut.nir").write_bytes(whole[: len(whole) // 2])
    (folder / "text.nir").write_text("not a network")
    (folder / "other.txt").write_text("not a network")
    unknown = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "odd": nir.Threshold(np.ones(3)), "output": nir.Output(np.array([3]))},
        [("input", "odd"), ("odd", "output")],
    )
    nir.write(folder / "unknown.nir", unknown)
    np.savez(folder / "wide.npz", spikes=np.zeros((2, 5, 999), np.uint8))
    np.savez(folder / "nospikes.npz", images=np.zeros((2, 5)))
    (folder / "cut.npz").write_bytes((folder / "wide.npz").read_bytes()[:40])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.nir"], r"missing\.nir: .*no such file"),
        (["cut.nir"], r"cut\.nir: "),
        (["text.nir"], r"text\.nir: is not an HDF5 file"),
        (["other.txt"], r"the ending is '\.txt', allowed are \.nir and \.net"),
        (["unknown.nir"], r"unknown\.nir: .*node 'odd': got a Threshold, allowed are .*CubaLIF"),
        (["good.nir", "--data", "wide.npz"], r"input 'input': got shape \(2, 5, 999\), allowed \(steps, "),
        (["good.nir", "--data", "nospikes.npz"], r"has images; needed is one of spikes, x"),
        (["good.nir", "--data", "cut.npz"], r"not a \.npy or \.npz file of plain arrays"),
        (["good.nir", "--data", "none.npz"], r"data none\.npz: no such file"),
        (["good.nir", "--run", "nowhere"], r"has no config\.toml"),
    ],
)
def test_bad_networks_and_data_get_one_line_and_leave_nothing(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    write_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    answer = sdsnn("verify", *arguments, "--no-lava", cwd=tmp_path)
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert re.search(message, answer.stderr), answer.stderr
    assert answer.stderr.startswith("sdsnn: ")
    assert answer.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_verify_writes_a_certificate_beside_the_network(tmp_path: Path) -> None:
    write_files(tmp_path)
    answer = sdsnn("verify", "good.nir", "--no-lava", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    shown = json.loads(answer.stdout)
    assert shown == json.loads((tmp_path / "certificate.json").read_text())
    assert shown["verified"] is True
    assert shown["comparisons"][0]["backend"] == "nir"
    assert shown["comparisons"][0]["bins"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_demo_keeps_its_promise(seed: int, tmp_path: Path) -> None:
    answer = sdsnn("demo", "--run", str(tmp_path / "demo"), "--json", "--quiet", "--seed", str(seed))
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert result["test_accuracy"] >= 0.96
    assert result["connection_sparsity"] >= 0.5
    assert result["mismatches"] == 0
    assert "lava" in result["backends"]
