"""Simulation by every target and back end: the same answer, what is named in it, and spikes that are written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.engine import Engine
from sdsnn.deploy.simulate import backends
from sdsnn.deploy.simulate.simulation import Options, simulate_data
from sdsnn.export.files import read_network, write_network
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import NEVER_FIRES, Input, Network, Output, Population, Synapses
from sdsnn_core.tasks.decoding import decode

SHAPE, CLASSES, STEPS = (2, 4, 3), 3, 9


def sdsnn(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["simulate", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("target", ["reference", "engine"])
def test_targets_agree_also_on_voltages_and_samples_of_different_length(target: str, spikes: np.ndarray) -> None:
    weight = np.random.default_rng(0).integers(-60, 120, (CLASSES, 24)) * 2
    nodes = {"input": Input((24,)), "pop": Population((CLASSES,), 0, 40, NEVER_FIRES), "out": Output("pop", "voltage")}
    network = Network(nodes, {"wire": Synapses.from_dense("input", "pop", weight)})
    cut = [sample[: 4 + i].reshape(4 + i, 24) for i, sample in enumerate(spikes[:5])]
    result = simulate_data(network, cut, backend=target, options=Options(12))
    for sample, predicted in zip(cut, result.predictions, strict=True):
        voltage = reference.run(network, sample, 12, record_state=["pop"]).voltage["pop"]
        assert predicted == np.argmax(voltage[0].sum(axis=0))
    assert result.steps == 60


def test_memory_limit_bounds_the_samples_taken_at_once(network: Network, spikes: np.ndarray) -> None:
    engine = Engine(network)
    many = np.concatenate([spikes] * 6)
    taken, seen = 0, []

    def samples() -> Any:
        nonlocal taken
        for sample in many:
            taken += 1
            yield sample

    limit = engine.workspace.work_bytes(STEPS) + 5 * (engine.workspace.sample_bytes(STEPS, [], []) + 24 * STEPS)
    sizes = []
    for part in engine.stream(samples(), memory_limit=limit, n_threads=1):
        sizes.append(part.n_samples)
        seen.append(taken - sum(sizes))
    assert sum(sizes) == len(many)
    assert set(sizes[:-1]) == {5}
    assert max(seen) <= 1  # one sample is looked at before it is known that it does not fit
    whole = simulate_data(network, many)
    assert simulate_data(network, many, options=Options(memory_limit=limit, n_threads=1)).spikes == whole.spikes
    with pytest.raises(NetworkError, match=r"expected up to .* MiB of memory, got .* MiB .*; record less"):
        simulate_data(network, many, options=Options(memory_limit=engine.workspace.work_bytes(STEPS)))


def test_library_messages(network: Network, spikes: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(NetworkError, match="expected at least one sample, got none"):
        simulate_data(network, [])
    with pytest.raises(NetworkError, match=r"labels: expected shape \(7,\), one for each sample, got \(3,\)"):
        simulate_data(network, spikes, labels[:3])
    with pytest.raises(NetworkError, match=r"labels: expected 0 to 2, .* got -1"):
        simulate_data(network, spikes, labels - 1)
    for target in ("engine", "reference"):
        with pytest.raises(NetworkError, match="expected single samples, got 2"):
            simulate_data(network, [spikes[:2]], backend=target)
    two = Network(
        {**network.nodes, "more": Input((2,))}, {**network.projections, "w": Synapses("more", "pop", [0], [0], [2])}
    )
    with pytest.raises(NetworkError, match="expected a network with one input, got input, more"):
        simulate_data(two, spikes)
    with pytest.raises(FileError, match=r"ending in .nir or .net"):
        read_network("network.onnx")


def test_a_net_takes_counts_where_that_is_asked_for(rng: np.random.Generator, tmp_path: Path) -> None:
    """A .net does not say that its input is graded: 0..1 unless --input-max says more."""
    nodes = {"in": Input((4,), 79), "out": Population((3,), 4096, 410, 900), "o": Output("out")}
    weight = rng.integers(1, 60, (3, 4)) * 2
    graded = Network(nodes, {"w": Synapses.from_dense("in", "out", weight)})
    write_network(replace(graded, nodes={**nodes, "in": Input((4,))}), tmp_path / "a.net")
    counts = rng.integers(0, 80, (5, 12, 4)).astype(np.uint8)
    np.save(tmp_path / "x.npy", counts)
    command = ["simulate", str(tmp_path / "a.net"), str(tmp_path / "x.npy"), "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    answer = CliRunner().invoke(app, [*command, "--input-max", "79"])
    expected = reference.run(graded, counts)
    assert json.loads(answer.output.splitlines()[-1])["predictions"] == decode(graded, expected).tolist()
    assert expected.counts["out"].sum() > 0


def test_samples_without_a_spike_of_the_output_are_named(network: Network, spikes: np.ndarray, tmp_path: Path) -> None:
    quiet = spikes.copy()
    quiet[::2] = 0
    result = simulate_data(network, quiet)
    output = next(iter(network.outputs.values()))
    counts = reference.run(network, quiet).counts[output.source]
    assert result.silent == int((counts.sum(axis=1) == 0).sum()) > 0
    write_nir(network, tmp_path / "network.nir")
    labels = np.zeros(len(quiet), np.int64)  # the class that a silent output used to have
    np.savez(tmp_path / "x.npz", spikes=quiet, labels=labels)
    answer = sdsnn(tmp_path / "network.nir", tmp_path / "x.npz", "--json")
    share = f"{result.silent / 7:.2%}"
    assert f"the output was silent in {result.silent} of 7 samples ({share})" in answer.output
    printed = json.loads(answer.output.splitlines()[-1])
    decided = counts.sum(axis=1) > 0
    right = decided & (counts.argmax(axis=1) == 0)
    assert printed["accuracy"] == pytest.approx(right.mean())
    assert (printed["silent"], printed["silent_share"]) == (result.silent, pytest.approx(result.silent / 7))
    assert np.sum(printed["confusion"]) == 7 - result.silent


def test_labels_beyond_the_outputs_are_refused(network: Network, spikes: np.ndarray, tmp_path: Path) -> None:
    message = "labels: expected 0 to 2, the classes of the output, got 5"
    with pytest.raises(NetworkError, match=message):
        simulate_data(network, spikes, np.full(7, 5))
    with pytest.raises(NetworkError, match=message):
        simulate_data(network, zip(spikes, [0, 1, 5, 0, 1, 2, 0], strict=True))
    write_nir(network, tmp_path / "n.nir")
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=np.full(7, 5))
    answer = sdsnn(tmp_path / "n.nir", tmp_path / "data.npz")
    assert answer.exit_code == 2
    assert answer.output.splitlines() == [f"sdsnn: {message}"]


def test_a_back_end_of_ones_own_and_what_it_measured(
    network: Network, spikes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
        activity = reference.run(network, spikes, n_steps, **options)
        return replace(activity, measured={"power_w": 0.25, "samples": len(spikes), "Probe": {"time": [1, 3]}})

    monkeypatch.setattr(backends, "BACKENDS", {**backends.BACKENDS, "mine": run})
    mine, engine = simulate_data(network, spikes, backend="mine"), simulate_data(network, spikes)
    assert mine.spikes == engine.spikes
    assert mine.to_json()["measured"] == {"power_w": 0.25, "samples": 7, "Probe": {"time": [1, 3]}}
    assert "measured" not in engine.to_json()


@pytest.mark.parametrize("name", ["engine", "reference", "nir", "netx file"])
def test_every_back_end_has_one_signature_and_one_answer(name: str, network: Network, spikes: np.ndarray) -> None:
    """What `verify`, `simulate` and the fuzzer call is one function, looked up by name in one table."""
    truth = reference.run(network, spikes, 12, record=["pop"], record_state=["pop"])
    activity = backends.simulate(network, spikes, 12, backend=name, record=["pop"], record_state=["pop"])
    assert list(activity.spikes) == ["pop"]
    np.testing.assert_array_equal(activity.spikes["pop"], truth.spikes["pop"])
    np.testing.assert_array_equal(activity.voltage["pop"], truth.voltage["pop"])
    np.testing.assert_array_equal(activity.events["wire"], truth.events["wire"])
    certificate = backends.verify(network, spikes, [name])
    assert certificate.verified
    assert certificate.bins == 7 * STEPS * CLASSES


def test_verify_takes_names_or_functions_and_refuses_an_unknown_name(network: Network, spikes: np.ndarray) -> None:
    assert backends.verify(network, spikes, {"mine": reference.run}).comparisons[0].backend == "mine"
    with pytest.raises(NetworkError, match=r"back end: expected one of engine, .*, got spinnaker"):
        backends.verify(network, spikes, ["spinnaker"])


def test_progress_counts_all_samples(network: Network, spikes: np.ndarray) -> None:
    seen: list[int] = []
    simulate_data(network, spikes, progress=seen.append, backend="reference")
    assert seen == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("target", ["engine", "reference"])
@pytest.mark.parametrize("form", ["events", "raster"])
def test_written_spikes_are_those_of_the_run(
    form: str, target: str, spikes: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    nodes = {
        "input": Input(SHAPE), "first": Population((2, 2, 2), 512, 410, 200), "quiet": Population((2,), 0, 0, 30_000),
        "last": Population((CLASSES,), 1024, 410, 150), "output": Output("last"),
    }  # fmt: skip
    network = Network(nodes, {
        "a": Synapses.from_dense("input", "first", rng.integers(-60, 120, (8, 24)) * 2),
        "b": Synapses.from_dense("first", "last", rng.integers(-60, 120, (CLASSES, 8)) * 2),
        "c": Synapses.from_dense("first", "quiet", rng.integers(0, 2, (2, 8)) * 2),
    })  # fmt: skip
    write_nir(network, tmp_path / "n.nir")
    many, classes = np.concatenate([spikes] * 30), np.concatenate([labels] * 30)
    np.savez(tmp_path / "x.npz", spikes=many, labels=classes)
    for chosen in (["first", "quiet", "last"], ["last"]):
        path = tmp_path / f"{form}{len(chosen)}.npz"
        more = [] if len(chosen) == 3 else ["--populations", "last"]
        command = (tmp_path / "n.nir", tmp_path / "x.npz", "--target", target, "--write", path, "--as", form, *more)
        answer = sdsnn(*command, "--memory", 1, "--threads", 1)
        assert answer.exit_code == 0, answer.output
        expected = reference.run(network, many)
        with np.load(path) as written:
            assert sorted(k[7:] for k in written.files if k.startswith("spikes.")) == sorted(chosen)
            for name in chosen:
                shape = network.populations[name].shape
                assert written[f"shape.{name}"].tolist() == list(shape)
                raster = written[f"spikes.{name}"]
                if form == "events":
                    rows, raster = raster, np.zeros((len(many), int(written["steps"]), int(np.prod(shape))), np.uint8)
                    raster[tuple(rows.T)] = 1
                    assert raster.sum() == len(rows)
                np.testing.assert_array_equal(raster.reshape(expected.spikes[name].shape), expected.spikes[name])
            np.testing.assert_array_equal(written["labels"], classes)
            np.testing.assert_array_equal(written["predictions"], decode(network, expected))
            assert int(written["steps"]) == STEPS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--write", "x.txt"], "--write: expected a file that ends in .npz, got x.txt"),
        (["--write", "none/x.npz"], "none/x.npz: expected a file in a folder that exists"),
        (["--write", "x.npz", "--populations", "pop,input"], "populations: expected some of pop, got input"),
        (["--populations", "pop"], "--populations: names what --write keeps, got no --write"),
    ],
)
def test_spikes_that_cannot_be_written_are_refused_before_the_run(
    more: list[str], message: str, network: Network, spikes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nir(network, "n.nir")
    np.save("x.npy", spikes)
    answer = sdsnn("n.nir", "x.npy", *more)
    assert answer.exit_code == 2
    assert message in answer.output
    assert len(answer.output.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.nir", "x.npy"]
