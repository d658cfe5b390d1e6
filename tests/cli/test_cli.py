"""The command line: what a user types, what a user's mistake prints, and that light commands stay light."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import typer.main
from networks import random_network
from typer.testing import CliRunner

from sdsnn.cli.app import COMMANDS, app
from sdsnn.export.files import read_network
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core.activity import random_spikes
from sdsnn_core.network import Input, Network, Output, Population, Synapses

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
    for command in COMMANDS:
        assert f"\n  {command} " in answer.stdout
    commands = answer.stdout.partition("Commands:")[2]
    assert "..." not in commands, "a summary is too long for one line"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_ends_with_two_examples_that_parse(name: str) -> None:
    answer = CliRunner().invoke(app, [name, "--help"])
    *_, heading, first, second = answer.output.rstrip().splitlines()
    assert heading.strip() == "Examples:"
    command: Any = typer.main.get_command(app)
    for line in (first, second):
        program, shown, *words = line.split()
        assert (program, shown) == ("sdsnn", name)
        command.commands[name].make_context(name, words)


def test_version_and_completion() -> None:
    answer = CliRunner().invoke(app, ["--version"])
    assert answer.output == f"sdsnn {metadata.version('sdsnn')}\n"
    environment = {**os.environ, "_SDSNN_COMPLETE": "source_bash"}
    command = [str(Path(sys.executable).with_name("sdsnn"))]
    script = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert "complete" in script.stdout
    assert "sdsnn" in script.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digit"], "got 'digit'"),
        (["train", "missing.toml"], "no such file"),
        (["train"], "give either a CONFIG or --resume RUN"),
        (["train", "digits", "--set", "seeds=1", "--set", "optimiser.epochs=0"], "seeds: unknown key"),
        (["train", "--resume", "nowhere"], "has no config.toml, so it is not a run of sdsnn"),
        (["export", "nowhere"], "has no config.toml, so it is not a run of sdsnn"),
        (["demo", "--set", "data.n_step=3"], "data.n_step: unknown key; expected one of"),
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
    assert {"slayer", "nir", "engine"} <= set(result["backends"])
    assert result["test_accuracy"] == result["test_accuracy_before_export"]
    for name in ("network.nir", "certificate.json", "report.json", "config.toml", "history.jsonl", "checkpoint.pt"):
        assert (tmp_path / "demo" / name).is_file(), name
    for text in ("test accuracy", "synapses", "per inference", "Davies 2018", "0 mismatches"):
        assert text in first.stdout
    exported = sdsnn("export", str(tmp_path / "demo"), "--samples", "2", "--no-lava", "--bundle")
    assert exported.returncode == 0, exported.stderr
    assert "engine" in exported.stdout
    assert (tmp_path / "demo" / "bundle" / "network.nir").is_file()
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
        (["text.nir"], r"text\.nir: expected a NIR graph"),
        (["other.txt"], r"expected a file ending in \.nir or \.net, or a run folder, got other\.txt"),
        (["unknown.nir"], r"unknown\.nir: .*node 'odd': expected .*CubaLIF.*, got (a )?Threshold"),
        (["good.nir", "--data", "wide.npz"], r"input 'input': expected shape .*, got \(2, 5, 999\)"),
        (["good.nir", "--data", "nospikes.npz"], r"expected an array spikes or x, got images"),
        (["good.nir", "--data", "cut.npz"], r"expected an \.npz file of plain arrays"),
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
    assert {"nir", "engine"} <= {comparison["backend"] for comparison in shown["comparisons"]}
    assert shown["comparisons"][0]["bins"] > 0


def test_a_certificate_is_not_replaced_by_a_weaker_one(tmp_path: Path) -> None:
    """Neither by one on random input, nor by one with fewer back ends."""
    write_files(tmp_path)
    network = read_network(tmp_path / "good.nir")
    np.savez(tmp_path / "data.npz", spikes=random_spikes(np.random.default_rng(0), network, 2, 9)["input"])

    def verify(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["verify", str(tmp_path / "good.nir"), "--no-lava", *arguments])

    certificate, data = tmp_path / "certificate.json", str(tmp_path / "data.npz")
    assert verify("--data", data).exit_code == 0
    strong = json.loads(certificate.read_text())
    answer = verify("--random", "2")
    assert answer.exit_code == 0
    assert "certificate-random.json: written beside the stronger certificate.json" in answer.output
    assert json.loads(certificate.read_text()) == strong
    assert json.loads((tmp_path / "certificate-random.json").read_text())["n_samples"] == 2
    more = {**strong, "comparisons": [*strong["comparisons"], {**strong["comparisons"][0], "backend": "lava"}]}
    certificate.write_text(json.dumps(more))
    assert "certificate-partial.json: written beside" in verify("--data", data).output
    assert json.loads(certificate.read_text()) == more
    certificate.write_text(json.dumps(strong))
    assert "written beside" not in verify("--data", data).output  # as strong as the older one
    assert json.loads(certificate.read_text())["comparisons"] != strong["comparisons"]  # seconds differ


def test_tables_are_not_cut_where_there_is_no_terminal(tmp_path: Path) -> None:
    name = "population_" + 150 * "x"
    nodes = {"input": Input((2,)), name: Population((3,), 4096, 410, 64), "output": Output(name)}
    network = Network(nodes, {"w": Synapses.from_dense("input", name, np.full((3, 2), 80))})
    write_nir(network, tmp_path / "long.nir")
    np.savez(tmp_path / "data.npz", spikes=np.ones((1, 5, 2), np.uint8))
    answer = sdsnn("simulate", "long.nir", "data.npz", "--quiet", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    row = next(line for line in answer.stdout.splitlines() if name in line)
    assert row.count("│") == 6
    assert "…" not in answer.stdout


@pytest.mark.parametrize("command", ["simulate", "verify"])
def test_no_warning_of_numpy_stands_before_the_one_line(command: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    width = read_network(tmp_path / "good.nir").inputs["input"].size
    np.savez(tmp_path / "nan.npz", spikes=np.full((2, 5, width), np.nan))
    options = ["nan.npz"] if command == "simulate" else ["--data", "nan.npz", "--no-lava"]
    answer = sdsnn(command, "good.nir", *options, cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("sdsnn: input 'input': ")
    assert answer.stderr.count("\n") == 1, answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_demo_reaches_its_figures(seed: int, tmp_path: Path) -> None:
    answer = sdsnn("demo", "--run", str(tmp_path / "demo"), "--json", "--quiet", "--seed", str(seed))
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert result["test_accuracy"] >= 0.96
    assert result["connection_sparsity"] >= 0.5
    assert result["mismatches"] == 0
    assert "lava" in result["backends"]
