"""The zoo: its files agree with each other, its names stand for networks in every command, and it stays small."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import COMMANDS, app
from sdsnn.deploy.simulate.samples import open_samples
from sdsnn.deploy.simulate.simulation import Options, simulate_data
from sdsnn.export.files import read_network
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.zoo.zoo import Entry, entries, find
from sdsnn_core.errors import FileError

ENTRIES = entries()
MOST_BYTES = 5_000_000


def run(*words: str) -> str:
    """Run a command and return what it prints."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_five_networks_are_small_together() -> None:
    assert [entry.name for entry in ENTRIES] == ["digits", "mnist-conv", "mnist-mlp-98", "recurrent", "touch"]
    assert sum(entry.n_bytes for entry in ENTRIES) < MOST_BYTES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_files_of_a_network_agree(entry: Entry) -> None:
    """Certificate, export, report, entry and both formats are of one network; every back end was compared."""
    network = read_network(entry.folder / "network.nir")
    certificate, export, report = (
        json.loads((entry.folder / f"{name}.json").read_text()) for name in ("certificate", "export", "report")
    )
    assert certificate["verified"]
    assert {"slayer", "nir", "engine", "lava"} <= {each["backend"] for each in certificate["comparisons"]}
    assert network.digest() == certificate["network_sha256"] == export["network_sha256"] == report["network_sha256"]
    if (netx := entry.folder / "network.net").is_file():
        assert [p.size for p in read_network(netx).populations.values()] == [
            p.size for p in network.populations.values()
        ]
    assert entry.synapses == network.n_synapses()
    assert entry.accuracy == report["summary"]["test_accuracy"]
    assert entry.accuracy == pytest.approx(export["test_accuracy_in_slayer"], abs=1e-9)
    assert entry.samples == report["summary"]["test_samples"]
    assert entry.sparsity == report["summary"]["connection_sparsity"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_commands_of_a_network_give_its_configuration(entry: Entry) -> None:
    train, export = map(shlex.split, entry.commands)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    given = commands["train"].make_context("train", train[2:]).params
    commands["export"].make_context("export", export[2:])
    config, now = RunFolder(entry.folder).config(), load_config(given["config"], given["settings"])
    assert config.data.name == now.data.name
    for key in (setting.partition("=")[0].split(".") for setting in given["settings"]):
        then, again = config.as_dict(), now.as_dict()
        for part in key:
            then, again = then[part], again[part]
        assert then == again, key
    assert config.data.directory is None, "a path of the machine that made it"


def test_the_page_lists_what_the_entries_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text()
    for entry in ENTRIES:
        figures = f"{entry.accuracy:.2%} of {entry.samples:,} | {entry.synapses:,} | {entry.sparsity:.1%}"
        assert f"| `zoo:{entry.name}` | {entry.title} | {entry.data} | {figures} |\n" in page


def test_the_accuracy_is_that_of_the_data(tmp_path: Path) -> None:
    entry = find("zoo:digits")
    data = open_samples(entry.folder)
    seen = simulate_data(sdsnn.load("zoo:digits"), data, data.labels, options=Options(n_threads=1))
    assert (seen.accuracy, seen.n_samples) == (entry.accuracy, entry.samples)


def test_a_name_stands_for_a_network_in_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And results go to the current folder, never into the package."""
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in find("digits").folder.iterdir()}
    assert "10,043" in run("zoo")
    assert json.loads(run("zoo", "digits", "--json"))["commands"] == find("digits").commands
    assert "lava, engine against the reference: 0 of 893,952 bins differ" in run("zoo", "digits")
    assert "1 core" in run("place", "zoo:digits")
    assert "partial" in run("price", "zoo:digits", "--rate", "0.05", "--steps", "4", "--samples", "1")
    assert "0 errors" in run("check", "zoo:digits")
    run("compact", "zoo:digits")
    assert "nothing was rounded" in run("import", "zoo:digits", "--dt", "1e-3", "-o", "again.nir")
    run("verify", "zoo:digits", "--random", "1", "--steps", "4", "--no-lava")
    run("report", "zoo:digits", "--rate", "0.05", "--samples", "1")
    assert "digits" in run("compare", "zoo:digits", "zoo:digits")
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits-compact.nir", "again.nir", "certificate.json", "report.html", "report.json"
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in find("digits").folder.iterdir()} == before


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in ("place", "simulate", "check", "compare")])
def test_an_unknown_name_is_one_line(name: str) -> None:
    done = CliRunner().invoke(app, [name, "zoo:nothing"])
    assert done.exit_code == 2
    assert done.output.splitlines() == [
        f"sdsnn: zoo:nothing: expected one of {', '.join(entry.name for entry in ENTRIES)}, got nothing"
    ]
    with pytest.raises(FileError, match=r"^zoo:: expected one of .*, got no name$"):
        sdsnn.load("zoo:")
