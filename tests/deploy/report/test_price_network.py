"""A network is measured, priced and reported without a run folder: on data, and on random spikes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from networks import random_network
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.deploy.simulate.measure import measure, spikes_at
from sdsnn.deploy.simulate.simulation import Options
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Input, Network, Output, Population, Synapses


def small_network() -> Network:
    rng = np.random.default_rng(3)
    nodes = {"in": Input((6,)), "a": Population((8,), 4096, 410, 90), "b": Population((3,), 4096, 410, 60)}
    first, second = rng.integers(-20, 45, (8, 6)) * 2, rng.integers(-20, 45, (3, 8)) * 2
    wires = {"v": Synapses.from_dense("in", "a", first), "w": Synapses.from_dense("a", "b", second)}
    return Network({**nodes, "out": Output("b")}, wires)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The network and eight labelled samples."""
    network, data = tmp_path / "network.nir", tmp_path / "data.npz"
    write_nir(small_network(), network)
    rng = np.random.default_rng(0)
    np.savez(data, spikes=(rng.random((8, 12, 6)) < 0.3).astype(np.uint8), labels=np.arange(8) % 3)
    return network, data


def test_what_is_measured_is_what_the_reference_does(files: tuple[Path, Path]) -> None:
    network = small_network()
    with np.load(files[1]) as data:
        spikes, labels = data["spikes"], data["labels"]
    every = measure(network, files[1])
    truth = reference.run(network, spikes)
    assert {name: c.tolist() for name, c in every.activity.counts.items()} == {
        n: c.tolist() for n, c in truth.counts.items()
    }
    counts = truth.counts["b"]
    decided = counts.sum(axis=1) > 0
    assert every.silent == (~decided).sum()
    assert every.confusion is not None
    assert np.trace(every.confusion) == (counts.argmax(axis=1) == labels)[decided].sum()
    assert every.confusion.sum() == decided.sum()
    # Some of the samples, spread; the classes are of all.
    some = measure(network, files[1], samples=3, options=Options(n_steps=5))
    chosen = reference.run(network, spikes[[0, 3, 7]][:, :5])
    assert some.activity.counts["b"].tolist() == chosen.counts["b"].tolist()
    assert some.confusion is not None
    assert some.confusion.sum() + some.silent == 8
    assert measure(network, spikes).confusion is None  # an array has no labels


def test_random_spikes_have_the_rate_and_the_range_of_the_input() -> None:
    for seed in range(20):
        network = random_network(np.random.default_rng(seed), graded=True)
        drawn = spikes_at(network, 0.25, samples=40, steps=100, seed=seed)
        for name, node in network.inputs.items():
            assert drawn[name].shape == (40, 100, node.size)
            assert (drawn[name] > 0).mean() == pytest.approx(0.25, abs=0.05)
            assert drawn[name].max() <= node.max_value
    assert not spikes_at(small_network(), 0.0)["in"].any()
    assert measure(small_network(), rate=1.0).activity.counts["in"].tolist() == [[64] * 6] * 16


def test_a_network_is_priced_by_the_command(files: tuple[Path, Path]) -> None:
    runner = CliRunner()
    network, data = map(str, files)
    answer = runner.invoke(app, ["price", network, "--data", data, "--json", "--prices", "davies2018"])
    assert answer.exit_code == 0, answer.output
    priced = json.loads(answer.stdout)
    with np.load(files[1]) as arrays:
        activity = reference.run(small_network(), arrays["spikes"])
    placement = sdsnn.place(small_network())
    by_hand = sdsnn.price(activity, small_network(), placement=placement)
    (only,) = priced["price_lists"]
    assert only["joules"]["high"] == by_hand.by_list("davies2018").total.high > 0
    assert priced["placed"]
    assert priced["counts"]["syn_ops"] == sum(float(e.sum()) for e in activity.events.values()) / 8
    text = runner.invoke(app, ["price", network, "--rate", "0.3", "--steps", "9", "--samples", "4"])
    assert text.exit_code == 0, text.output
    assert "per inference, partial, Loihi-1-priced" in text.stdout


def test_a_network_is_reported_without_a_run(files: tuple[Path, Path]) -> None:
    network, data = files
    answer = CliRunner().invoke(app, ["report", str(network), "--data", str(data)])
    assert answer.exit_code == 0, answer.output
    page, report = network.with_suffix(".report.html"), json.loads(network.with_suffix(".report.json").read_text())
    assert Page(page.read_text()).open == []
    assert report["absent"] == {}
    assert report["summary"]["test_samples"] == 8
    assert report["placement"]["cores"] == 1
    assert report["activity"]["n_samples"] == 8
    assert report["energy"]["label"] == "partial"
    assert list(report["sha256"]) == ["network.nir"]
    assert report["certificate"] is report["structure"] is report["config"] is None
    made = sdsnn.report(small_network(), rate=0.2, samples=5)
    assert made.data["activity"]["n_samples"] == 5
    assert made.data["summary"]["test_accuracy"] is None
    bare = sdsnn.report(network)
    assert bare.data["absent"] == {"activity": "not simulated: neither data nor a rate was given"}
    assert bare.data["placement"]["fits"]


def test_bad_input_is_one_line(files: tuple[Path, Path]) -> None:
    network = small_network()
    with pytest.raises(NetworkError, match="activity: expected data or a rate, got both"):
        measure(network, files[1], 0.1)
    with pytest.raises(NetworkError, match=r"rate: expected a share of 0 to 1, got 1\.5"):
        measure(network, rate=1.5)
    with pytest.raises(FileError, match=r"data .*nothing\.npz: expected an \.npz"):
        sdsnn.report(network, data=files[0].with_name("nothing.npz"))
    runner = CliRunner()
    for arguments, message in (
        (["price", str(files[0])], "price: expected --data or --rate"),
        (["price", str(files[0]), "--rate", "0.1", "--chip", "xylo"], "expected a chip whose cores are known"),
        (
            ["report", str(files[0]), "--data", str(files[1]), "--sensor", "2,3"],
            "--sensor: expected three numbers C,H,W",
        ),
    ):
        answer = runner.invoke(app, arguments)
        assert answer.exit_code == 2
        assert message in answer.stderr
        assert answer.stderr.count("\n") == 1
    assert not files[0].with_suffix(".report.html").exists()
