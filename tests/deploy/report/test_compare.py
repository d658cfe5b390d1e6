"""Runs side by side: the front of accuracy against energy, and reports that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.energy.types import Span
from sdsnn.deploy.report.build import FORMAT, KIND
from sdsnn.deploy.report.compare import Line, best_fronts, compare_html, compare_rows, compare_to_json, read_lines
from sdsnn_core.errors import FileError
from sdsnn_core.files import write_json


def line(name: str, accuracy: float | None, joules: float | None) -> Line:
    priced = {} if joules is None else {"davies2018": Span(joules, joules)}
    labels = {} if joules is None else {"davies2018": "partial, Loihi-1-priced"}
    return Line(name, accuracy, 0.5, 10, 100, 1000.0, 50.0, 1, priced, labels, True, "0")


def write_report(folder: Path, accuracy: float, joules: float) -> Path:
    folder.mkdir(parents=True)
    item = {"name": "davies2018", "label": "partial", "wording": "Loihi-1-priced"}
    summary: dict[str, Any] = dict.fromkeys(("units_kept", "cores"), 3)
    summary |= dict.fromkeys(("synapses_kept", "synaptic_operations_per_inference", "spikes_per_inference"), 7)
    summary |= {"test_accuracy": accuracy, "connection_sparsity": 0.25, "verified": True, "data": "digits"}
    content = {
        "kind": KIND,
        "format": FORMAT,
        "run": folder.name,
        "summary": summary,
        "energy": {"price_lists": [{**item, "joules": {"low": joules, "high": joules}}]},
        "network_sha256": "0",
    }
    write_json(folder / "report.json", content)
    return folder


def test_front_by_hand() -> None:
    lines = [
        line("best", 0.98, 3e-6),
        line("beaten", 0.95, 3e-6),
        line("cheap", 0.90, 1e-6),
        line("worse and dearer", 0.89, 2e-6),
        line("unknown", None, 1e-9),
        line("unpriced", 0.99, None),
    ]
    (found,) = best_fronts(lines, "davies2018")
    assert [lines[i].name for i in found] == ["cheap", "best"]
    assert best_fronts(lines, "sanafe2025") == []
    same = [line("a", 0.9, 1e-6), line("b", 0.9, 1e-6)]
    assert best_fronts(same, "davies2018") == [[0]]


def test_runs_on_other_data_do_not_compete() -> None:
    lines = [
        replace(line("a", 0.9, 1e-6), data="digits"),
        replace(line("b", 0.8, 9e-6), data="nmnist"),
        replace(line("c", 0.7, 5e-6), data="nmnist"),
        replace(line("d", 0.6, 6e-6), data="nmnist"),
    ]
    assert best_fronts(lines, "davies2018") == [[0], [2, 1]]
    assert [row[0] for row in compare_rows(lines, "davies2018")[1:]] == ["a *", "b *", "c *", "d"]
    drawn = compare_html(lines, "davies2018")
    assert drawn.count('class="line" stroke="var(--series-1)"') == drawn.count('stroke="var(--series-2)"') == 1


def test_rows_and_page_say_what_is_missing() -> None:
    lines = [line("a", 0.9, 1e-6), line("b", None, None)]
    headings, *rows = compare_rows(lines, "davies2018")
    assert headings[-2:] == ["energy (davies2018)", "verified"]
    assert rows[0][0] == "a *"
    assert rows[0][1:3] == ["not recorded", "90.00%"]
    assert rows[0][-2] == "1 uJ (partial, Loihi-1-priced)"
    assert rows[1][2] == rows[1][-2] == "not recorded"
    page = compare_html(lines, "davies2018")
    assert "sdsnn comparison of 2 runs" in page
    assert "test accuracy (%)" in page
    assert "<svg" in page
    assert "http" not in page
    assert "accuracy against energy: not recorded" in compare_html([line("b", None, None)], "davies2018")


def test_json(tmp_path: Path) -> None:
    runs = [write_report(tmp_path / "x" / "run", 0.9, 1e-6), write_report(tmp_path / "y" / "run", 0.95, 2e-6)]
    lines = read_lines(runs)
    assert [item.name for item in lines] == [str(run) for run in runs]  # both are called run
    data = json.loads(json.dumps(compare_to_json(lines, "davies2018")))
    assert (data["kind"], data["format"]) == ("sdsnn-comparison", 1)
    assert data["fronts"] == [{"data": "digits", "runs": [str(run) for run in runs]}]
    assert data["runs"][0]["energy_j"]["davies2018"] == {"low": 1e-6, "high": 1e-6, "label": "partial, Loihi-1-priced"}


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(
        FileError, match=r"report\.json: expected a report of `sdsnn report .*`, got no file .*\(No such file"
    ):
        read_lines([tmp_path])
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(FileError, match="expected JSON, got other content"):
        read_lines([tmp_path])
    (tmp_path / "report.json").write_text('{"kind": "other"}')
    with pytest.raises(FileError, match=rf"expected a report of format {FORMAT}"):
        read_lines([tmp_path])


def test_command(tmp_path: Path) -> None:
    runs = [str(write_report(tmp_path / name, *numbers)) for name, numbers in (("a", (0.9, 1e-6)), ("b", (0.8, 2e-6)))]
    runner = CliRunner()
    answer = runner.invoke(app, ["compare", *runs, "--out", str(tmp_path / "page.html")])
    assert answer.exit_code == 0
    for text in ("a *", "90.00%", "80.00%", "1 uJ (partial,"):
        assert text in answer.stdout
    assert "<h1>sdsnn comparison of 2 runs</h1>" in (tmp_path / "page.html").read_text()
    answer = runner.invoke(app, ["compare", *runs, "--json"])
    assert json.loads(answer.stdout)["fronts"] == [{"data": "digits", "runs": ["a"]}]
    wrong = runner.invoke(app, ["compare", *runs, "--prices", "mine"])
    assert wrong.exit_code == 2
    assert "--prices: expected one of davies2018, " in wrong.stderr
