"""The report: what it says is what was counted, what is missing is named, and the page stands alone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page

from sdsnn.deploy.energy.dense_shapes import DenseShapes
from sdsnn.deploy.energy.energy import price
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.report.build import FORMAT, KIND
from sdsnn.deploy.report.report import make_report, write_report
from sdsnn.deploy.report.run_data import read_run
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.train.data.load import load_data
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn_core import reference
from sdsnn_core.errors import FileError
from sdsnn_core.files import write_json
from sdsnn_core.network import Input, Network, Output, Population, Synapses

DOCS = Path(__file__).parents[3] / "docs" / "report.md"


def digits_network() -> Network:
    """A small network for the digits: 64 inputs, 12 and 10 neurons, some of the synapses absent."""
    rng = np.random.default_rng(0)
    first = np.where(rng.random((12, 64)) < 0.6, rng.integers(-20, 40, (12, 64)) * 2, 0)
    second = np.where(rng.random((10, 12)) < 0.8, rng.integers(-30, 60, (10, 12)) * 2, 0)
    nodes = {
        "input": Input((64,)),
        "dense0": Population((12,), 4096, 410, 160),
        "dense1": Population((10,), 4096, 410, 100),
        "output": Output("dense1"),
    }
    return Network(
        nodes,
        {
            "input-dense0": Synapses.from_dense("input", "dense0", first),
            "dense0-dense1": Synapses.from_dense("dense0", "dense1", second),
        },
    )


def history_line(epoch: int) -> dict[str, Any]:
    layers = [
        {"layer": "blocks.0", "kind": "dense", "units": 16, "alive_units": 16 - epoch, "synapses": 900 - 100 * epoch},
        {"layer": "blocks.1", "kind": "dense", "units": 10, "alive_units": 10, "synapses": 160},
    ]
    accuracy = 0.5 + epoch / 10
    numbers = {"epoch": epoch, "loss": 2 - epoch / 3, "train_accuracy": accuracy, "validation_accuracy": accuracy}
    operations = [300.0 - 10 * epoch, 50.0]
    return {
        **numbers,
        "connection_sparsity": epoch / 20,
        "synaptic_operations": operations,
        "seconds": 0.1,
        "layers": layers,
    }


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as train and export leave it; its network was not trained, its files are of the true formats."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    network = digits_network()
    write_nir(network, folder / "network.nir")
    (folder / "config.toml").write_text(load_config("digits", ["data.n_steps=8"]).to_toml())
    write_json(folder / "environment.json", {"started": "2026-01-01T00:00:00+00:00", "seed": 0, "versions": {"a": "1"}})
    (folder / "history.jsonl").write_text("".join(json.dumps(history_line(e)) + "\n" for e in range(4)))
    shapes = {"input": [64], "dense0": [16], "dense1": [10]}
    write_json(
        folder / "export.json",
        {
            "format": 1,
            "network_sha256": network.digest(),
            "epoch": 3,
            "validation_accuracy": 0.8,
            "test_accuracy_in_slayer": 0.25,
            "test_samples": 359,
            "nodes": {name: {"shape": shape} for name, shape in shapes.items()},
            "projections": {"input-dense0": {"kernel": None}, "dense0-dense1": {"kernel": None}},
        },
    )
    comparison = {"backend": "nir", "bins": 1000, "mismatches": 0, "first": None, "failed": None}
    write_json(
        folder / "certificate.json",
        {
            "verified": True,
            "network_sha256": network.digest(),
            "input_sha256": "0" * 64,
            "n_samples": 4,
            "n_steps": 8,
            "comparisons": [comparison, {**comparison, "backend": "lava"}],
        },
    )
    return folder


@pytest.fixture
def run(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once, tmp_path / "small"))


def test_numbers_are_those_of_the_reference(run: Path) -> None:
    report = make_report(run)
    network, data = digits_network(), report.data
    test = load_data(load_config(run / "config.toml", []).data, 0).test
    activity = reference.run(network, test.spikes[:])
    (output,) = network.outputs.values()
    right = activity.counts[output.source].argmax(axis=1) == test.labels
    found = data["summary"]
    assert found["test_accuracy"] == float(right.mean())
    assert found["test_samples"] == len(test) == sum(map(sum, data["confusion"]))
    kept = sum(p.n_weights for p in network.projections.values())
    assert (found["units_kept"], found["units_dense"]) == (22, 26)
    assert (found["synapses_kept"], found["synapses_dense"]) == (kept, 64 * 16 + 16 * 10)
    assert found["connection_sparsity"] == 1 - kept / (64 * 16 + 16 * 10)
    assert found["mismatches"] == 0
    assert found["bins_compared"] == 2000
    assert found["backends"] == ["nir", "lava"]
    assert found["synaptic_operations_per_inference"] == pytest.approx(activity.synaptic_operations(), rel=1e-12)
    assert found["spikes_per_inference"] == pytest.approx(activity.total_spikes(network.populations), rel=1e-12)
    full = sum(
        float(activity.counts[p.source].sum()) / len(test) * {"dense0": 16, "dense1": 10}[p.target]
        for p in network.projections.values()
    )
    assert found["synaptic_operations_dense"] == pytest.approx(full, rel=1e-12)
    before = DenseShapes({"dense0": (16,)})
    energy = price(activity, network, placement=place(network), unpruned=before)
    assert report.energy is not None
    for one, two in zip(report.energy.priced, energy.priced, strict=True):
        assert one.total == two.total
    assert found["energy_j"]["low"] == energy.by_list("davies2018").total.low
    assert found["cores"] == found["chips"] == 1
    rows = {row["quantity"]: (row["before"], row["after"]) for row in data["before_after"]}
    assert rows["units in dense0"] == (16, 12)
    assert rows["synapses"] == (64 * 16 + 16 * 10, kept)
    assert data["structure"]["layers"]["dense0"]["alive_units"] == [16, 15, 14, 13]
    assert data["structure"]["synaptic_operations"] == [350.0, 340.0, 330.0, 320.0]
    assert data["placement"]["unpruned"]["cores"] == 1


def test_the_page_draws_learning_curves_and_structure(run: Path) -> None:
    page = make_report(run).html
    drawn = page.split("<h2>Structure over training</h2>")[1].split("</section>")[0]
    labels = re.findall(r'aria-label="([^"]+)"', drawn)
    assert labels == [
        "accuracy (%) over epoch",
        "loss (mean per sample) over epoch",
        "units alive (neurons or channels) over epoch",
        "synapses present over epoch",
        "synaptic operations (per inference) over epoch",
        "accuracy (%) over absent synapses (% of dense)",
    ]
    assert "Dashed: epoch 3, chosen on the validation split." in drawn
    assert drawn.count('class="mark"') == 5
    lines = dict(re.findall(r'd="(M[^"]+)"><title>([^<]+)</title>', drawn)[i][::-1] for i in range(3))
    # Accuracies of 0.5 to 0.8 in four epochs: four points, evenly apart, on a straight line.
    points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", lines["validation"]) if pair]
    assert len(points) == 4
    assert np.ptp(np.diff(np.array(points), axis=0), axis=0).max() < 0.2
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for line in lines:
        del line["synaptic_operations"]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert make_report(run, samples=0).data["structure"]["synaptic_operations"] == [None] * 4


def test_the_page_stands_alone_and_says_it_all(run: Path) -> None:
    report = make_report(run)
    page = Page(report.html)
    assert page.open == []
    assert page.addresses == ["data:,"]
    assert not page.tags & {"script", "img", "iframe", "object"}
    assert not re.search(r"url\(|@import", report.html)
    text = " ".join(" ".join(page.text).split())
    for title in (
        "Accuracy",
        "Structure over training",
        "Before and after",
        "Activity",
        "Placement",
        "Certificate",
    ):
        assert title in text
    assert f"{report.data['summary']['test_accuracy']:.2%}" in text
    assert report.energy is not None
    for item in report.energy.priced:
        assert item.prices.source in text
    for reason in {why for item in report.energy.priced for why in item.unpriced.values()}:
        assert reason in text
    for unit in (
        "accuracy (%)",
        "units alive (neurons or channels)",
        "(spikes per unit and step)",
        "per inference (\N{MICRO SIGN}J)",
    ):
        assert unit in text
    assert "partial" in text
    assert "Loihi-1-priced" in text
    assert not re.search(r"\b(None|nan|inf)\b", text)
    assert "Measured on hardware" not in text


def test_json_is_as_documented(run: Path) -> None:
    data = json.loads(json.dumps(make_report(run).data))
    assert (data["kind"], data["format"]) == (KIND, FORMAT)
    documented = DOCS.read_text(encoding="utf-8")
    assert f"format {FORMAT}" in documented

    def keys_under(heading: str) -> set[str]:
        part = documented.split(f"\n### {heading}\n")[1].split("\n#")[0]
        return set(re.findall(r"^\| `(\w+)` ", part, flags=re.MULTILINE))

    assert keys_under("report.json") == set(data)
    for name in ("summary", "neurobench", "structure", "activity", "placement", "energy", "loihi2"):
        assert keys_under(name) == set(data[name]), name
    assert keys_under("Rows of before_after") == set(data["before_after"][0])


def test_the_same_run_gives_the_same_report(run: Path) -> None:
    first = make_report(run)
    write_report(first)
    second = make_report(run)
    assert {**first.data, "made": ""} == {**second.data, "made": ""}
    assert json.loads((run / "report.json").read_text())["summary"] == first.data["summary"]
    assert (run / "report.html").read_text() == first.html


def test_what_is_not_there_is_named(run: Path) -> None:
    for name in ("config.toml", "environment.json", "history.jsonl", "export.json", "certificate.json"):
        (run / name).unlink()
    report = make_report(run)
    data = report.data
    assert data["absent"]["activity"] == "not simulated: no config.toml"
    assert data["absent"]["export.json"] == "not recorded"
    assert data["energy"] is data["activity"] is data["confusion"] is data["structure"] is data["certificate"] is None
    assert data["summary"]["test_accuracy"] is data["summary"]["synapses_dense"] is data["summary"]["verified"] is None
    assert all(row["before"] is None for row in data["before_after"])
    assert data["placement"]["fits"]
    text = " ".join(Page(report.html).text)
    assert "not simulated: no config.toml" in text
    assert not re.search(r"\b(None|nan)\b", text)
    (run / "network.nir").unlink()
    with pytest.raises(FileError, match=r"expected at least one of config\.toml, history\.jsonl, network\.nir"):
        make_report(run)
    (run / "history.jsonl").write_text(json.dumps(history_line(0)) + '\n{"epoch": 1, "lo')
    data = make_report(run).data
    assert data["placement"] is data["neurobench"] is data["network_sha256"] is None
    assert data["absent"]["network.nir"] == "not recorded; `sdsnn export` writes it"
    assert data["absent"]["history.jsonl"] == "line 2 is cut off; the 1 before it are shown"
    assert data["structure"]["epoch"] == [0]


def test_files_of_another_network_do_not_count(run: Path) -> None:
    for name in ("certificate.json", "export.json"):
        content = json.loads((run / name).read_text())
        write_json(run / name, {**content, "network_sha256": "f" * 64})
    data = make_report(run, samples=0).data
    reason = "belongs to another network than network.nir"
    assert data["absent"]["certificate.json"] == data["absent"]["export.json"] == reason
    assert data["certificate"] is None
    assert data["summary"]["verified"] is None
    assert data["absent"]["activity"] == "not simulated: --samples 0"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("certificate.json", "{", r"certificate\.json: expected JSON, got other content"),
        ("environment.json", "[1]", r"environment\.json: expected a JSON object, got a list"),
        ("history.jsonl", "3\n", r"history\.jsonl line 1: expected a JSON object, got a int"),
        ("network.nir", "no", r"network\.nir: expected a NIR graph"),
    ],
)
def test_corrupt_files_are_one_line(run: Path, name: str, content: str, message: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(FileError, match=message):
        make_report(run)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a run folder made by `sdsnn train`, got no folder"):
        make_report(tmp_path / "nowhere")


def test_what_the_run_says_is_escaped(run: Path) -> None:
    content = json.loads((run / "environment.json").read_text())
    write_json(run / "environment.json", {**content, "system": "<script>alert(1)</script>"})
    (run / "config.toml").write_text("# <img src=x>\n" + (run / "config.toml").read_text())
    page = Page(make_report(run).html)
    assert not page.tags & {"script", "img"}
    assert "<script>alert(1)</script>" in page.text


def test_measurements_take_the_place_of_counts(run: Path) -> None:
    write_json(
        run / "measured.json",
        {
            "network_sha256": digits_network().digest(),
            "Loihi2Power": {"total_power": [0.5, 0.7], "static_total_power": [0.25, 0.25]},
            "Loihi2ExecutionTime": {"avg_time_per_step": 42.5},
        },
    )
    report = make_report(run, samples=8)
    found = report.data["loihi2"]
    assert found["Loihi2Power"] == {"total_power": [0.5, 0.7], "static_total_power": [0.25, 0.25], "grade": "measured"}
    assert found["Loihi2ExecutionTime"]["grade"] == "measured"
    assert found["Loihi2Activity"]["grade"] == "counted"
    text = " ".join(Page(report.html).text)
    assert "Measured on hardware" in text
    assert "mean 0.6, highest 0.7, of 2" in text
    assert report.data["activity"]["n_samples"] == 8
    assert report.data["summary"]["test_samples"] == 359  # accuracy is of the whole split all the same


def test_read_run_keeps_the_samples_it_was_asked_for(run: Path) -> None:
    read = read_run(run, samples=5)
    assert read.activity is not None
    assert read.activity.n_samples == 5
    assert read.confusion is not None
    assert read.accuracy == np.trace(read.confusion) / 359


def test_a_silent_output_counts_as_wrong_and_is_named(run: Path, tmp_path: Path) -> None:
    """A high threshold silences the output in some samples; the numbers are those of a count by hand."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    network = digits_network()
    quiet = replace(network.nodes["dense1"], threshold=2_000)  # reached in a part of the samples
    network = replace(network, nodes={**network.nodes, "dense1": quiet})
    write_nir(network, folder / "network.nir")
    test = RunFolder.open(folder).test_split()
    counts = reference.run(network, np.asarray(test.spikes)).counts["dense1"]
    silent = counts.sum(axis=1) == 0
    assert 0 < silent.sum() < len(test)
    right = int((~silent & (counts.argmax(axis=1) == test.labels)).sum())
    report = make_report(folder, samples=4)
    summary = report.data["summary"]
    assert summary["test_accuracy"] == pytest.approx(right / len(test))
    assert (summary["test_samples"], summary["silent_samples"]) == (len(test), silent.sum())
    assert f"silent in {silent.sum()} of {len(test)} test samples" in " ".join(Page(report.html).text)
