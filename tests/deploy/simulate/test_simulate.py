"""`sdsnn simulate`: every form of data, what it counts, and what it says about a user's mistake."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.engine.inputs import events_to_dense
from sdsnn.deploy.simulate.samples import open_samples
from sdsnn.deploy.simulate.simulation import Options, simulate_data
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.train.data.load import load_data
from sdsnn.train.data.recordings import EVENT_TYPE
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn_core import reference
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Input, Network, Output, Population, Synapses
from sdsnn_core.tasks.decoding import decode

SHAPE, CLASSES, STEPS = (2, 4, 3), 3, 9


def as_events(sample: np.ndarray, width: int = 1000) -> np.ndarray:
    """Return the events of (steps, C, H, W) bins, several in no order within a bin."""
    t, p, y, x = np.nonzero(sample)
    events = np.zeros(len(t), EVENT_TYPE)
    events["t"], events["p"], events["y"], events["x"] = t * width + 7 * x, p, y, x
    return events[np.random.default_rng(2).permutation(len(events))]


def sdsnn(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["simulate", *(str(argument) for argument in arguments)])


@pytest.fixture
def forms(tmp_path: Path, spikes: np.ndarray, labels: np.ndarray) -> Callable[[str], tuple[Path, bool, bool]]:
    """Write the samples in one of the forms; return (path, whether it has labels, whether it is events)."""

    def write(form: str) -> tuple[Path, bool, bool]:
        path = tmp_path / form
        events = [as_events(sample) for sample in spikes]
        if form.endswith(".npz") and "events" not in form:
            save = np.savez_compressed if "packed" in form else np.savez
            key = {"x.npz": "x"}.get(form, "spikes")
            array = spikes.astype(np.float32) if "float" in form else spikes
            save(path, **{key: array}, **({} if "bare" in form else {"y" if key == "x" else "labels": labels}))
            return path, "bare" not in form, False
        if form == "spikes.npy":
            np.save(path, spikes.astype(bool))
            return path, False, False
        if form == "events.npz":
            offsets = np.cumsum([0, *map(len, events)])
            np.savez(path, events=np.concatenate(events), offsets=offsets, labels=labels)
            return path, True, True
        path.mkdir()
        for index, (sample, label) in enumerate(zip(events, labels, strict=True)):
            folder = path / ("zero", "one", "two")[label] if form == "named" else path / str(label)
            if form == "flat":
                folder = path
            folder.mkdir(exist_ok=True)
            if form == "bin":
                (folder / f"{index}.bin").write_bytes(packed(sample))
            elif form == "fields":
                np.savez(folder / f"{index}.npz", **{name: sample[name] for name in "xytp"})
            elif form == "bins":
                np.savez(folder / f"{index}.npz", spikes=spikes[index])
            else:
                np.save(folder / f"{index}.npy", sample)
        return path, form != "flat", form != "bins"

    return write


def packed(events: np.ndarray) -> bytes:
    """Return events in N-MNIST's format."""
    t = events["t"].astype(np.int64)
    high = (events["p"].astype(np.int64) << 7) | (t >> 16)
    return np.stack([events["x"], events["y"], high, (t >> 8) & 255, t & 255], 1).astype(np.uint8).tobytes()


FORMS = ["spikes.npz", "packed.npz", "x.npz", "bare.npz", "float.npz", "spikes.npy", "events.npz", "named", "numbered",
         "flat", "bin", "fields", "bins"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_same_counts(
    form: str, forms: Any, network: Network, spikes: np.ndarray, labels: np.ndarray
) -> None:
    path, labelled, events = forms(form)
    found = open_samples(path)
    assert len(found) == 7
    assert (found.labels is not None) == labelled
    result = simulate_data(network, found, found.labels, options=Options(STEPS, bin_width=1000 if events else None))
    expected = reference.run(network, spikes)
    wanted = decode(network, expected)
    order = np.arange(7)
    if labelled and path.is_dir():  # class by class
        rank = labels if form != "named" else np.array([2, 0, 1])[labels]  # one, two, zero
        order = np.argsort(rank, kind="stable")
        np.testing.assert_array_equal(result.labels, rank[order])
    np.testing.assert_array_equal(result.predictions, wanted[order])
    assert result.spikes == {n: pytest.approx(expected.counts[n].sum() / 7) for n in ("input", "pop")}
    assert result.events == {"wire": pytest.approx(expected.events["wire"].sum() / 7)}
    assert result.steps == 7 * STEPS
    assert result.seconds > 0
    if labelled and not path.is_dir():
        assert result.accuracy == pytest.approx((wanted == labels).mean())
        confusion = np.zeros((CLASSES, CLASSES), int)
        np.add.at(confusion, (labels, wanted), 1)
        np.testing.assert_array_equal(result.confusion, confusion)
    if form == "named":
        assert found.classes == ("one", "two", "zero")
    again = simulate_data(network, found, options=Options(STEPS, bin_width=1000 if events else None))
    np.testing.assert_array_equal(again.predictions, result.predictions)


def test_tensors_pairs_and_tonic_like_data_sets(network: Network, spikes: np.ndarray, labels: np.ndarray) -> None:
    plain = simulate_data(network, spikes, labels)
    tensors = simulate_data(
        network, ((torch.from_numpy(s), int(label)) for s, label in zip(spikes, labels, strict=True))
    )
    pairs = simulate_data(
        network,
        ((as_events(s), y) for s, y in zip(spikes, labels, strict=True)),
        options=Options(STEPS, bin_width=1000),
    )
    for other in (tensors, pairs):
        assert {**other.to_json(), **TIMES} == {**plain.to_json(), **TIMES}


TIMES = dict.fromkeys(("seconds", "samples_per_second", "steps_per_second", "events_per_second", "data"), 0)


def test_the_command_prints_tables_and_json(
    tmp_path: Path, network: Network, spikes: np.ndarray, labels: np.ndarray
) -> None:
    write_nir(network, tmp_path / "network.nir")
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=labels)
    answer = sdsnn(tmp_path / "network.nir", tmp_path / "data.npz", "--json", "--quiet")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.output.splitlines()[-1])
    activity = reference.run(network, spikes)
    assert found["accuracy"] == pytest.approx((decode(network, activity) == labels).mean())
    assert found["samples"] == 7
    assert found["steps_per_sample"] == STEPS
    assert found["synaptic_operations_per_inference"] == pytest.approx(activity.synaptic_operations())
    assert found["spikes_per_inference"]["pop"] == pytest.approx(activity.counts["pop"].sum() / 7)
    assert np.sum(found["confusion"]) == 7
    assert found["network_sha256"] == network.digest()
    assert f"accuracy {found['accuracy']:.2%}" in answer.output
    assert "synaptic events into it" in answer.output
    few = sdsnn(tmp_path / "network.nir", tmp_path / "data.npz", "--json", "--samples", 3, "--target", "reference")
    assert json.loads(few.output.splitlines()[-1])["predictions"] == found["predictions"][:3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["n.nir", "none.npz"], "no such file or folder"),
        (["n.nir", "n.nir"], r"expected an .npz or .npy .*, got a file that ends in .nir"),
        (["n.nir"], "data: expected .*, got none for"),
        (["n.txt", "good.npz"], "expected a file ending in .nir or .net, or a run folder"),
        (
            ["n.nir", "good.npz", "--target", "spinnaker"],
            "back end: expected one of engine, reference, .*, got spinnaker",
        ),
        (["n.nir", "wide.npz"], "input 'input': expected shape .*, got"),
        (["n.nir", "big.npz"], r"input 'input': expected integers 0..1, got 0..7"),
        (["n.nir", "half.npz"], r"expected integers 0..1, got 0.0..0.5"),
        (["n.nir", "text.npz"], "spikes: expected whole numbers .*, got <U1"),
        (["n.nir", "short.npz"], r"labels: expected integers \(7,\), got int64 \(2,\)"),
        (["n.nir", "damaged.npz"], "expected an undamaged .npz file"),
        (["n.nir", "other.npz"], "expected arrays spikes .*, got z"),
        (["n.nir", "noends.npz"], "events but no offsets"),
        (["n.nir", "badends.npz"], "expected offsets that rise from 0 to the"),
        (
            ["n.nir", "events.npy"],
            r"expected the duration of a step in the unit of the events' t \(bin_width, --bin-width\)",
        ),
        (["n.nir", "events.npy", "--bin-width", "-1"], "expected a positive bin width"),
        (["n.nir", "outside.npy", "--bin-width", "1000"], "field x: expected 0..2, got 0..9"),
        (["n.nir", "good.npz", "--sensor", "2,4"], "three numbers C,H,W"),
        (["n.nir", "empty"], "got no recordings"),
        (["n.nir", "mixed"], "files beside the folder 'a'"),
        (["n.nir", "cut", "--bin-width", "1000"], "expected whole events of 5 bytes, got 7"),
        (["n.nir", "good.npz", "--memory", "1", "--steps", "1000000"], "steps; record less"),
        (["empty", "good.npz"], "`sdsnn export` makes it"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: Network,
    spikes: np.ndarray,
    labels: np.ndarray,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nir(network, "n.nir")
    events = as_events(spikes[0])
    outside = events.copy()
    outside["x"][np.argmax(outside["x"])] = 9
    np.savez("good.npz", spikes=spikes, labels=labels)
    np.savez("wide.npz", spikes=spikes[:, :, :, :, :2])
    np.savez("big.npz", spikes=spikes * 7)
    np.savez("half.npz", spikes=spikes * 0.5)
    np.savez("text.npz", spikes=np.full((2, 3, 4), "a"))
    np.savez("short.npz", spikes=spikes, labels=labels[:2])
    np.savez("other.npz", z=labels)
    np.savez("noends.npz", events=events)
    np.savez("badends.npz", events=events, offsets=[0, 3])
    Path("damaged.npz").write_bytes(Path("good.npz").read_bytes()[:300])
    np.save("events.npy", events)
    np.save("outside.npy", outside)
    for folder in ("empty", "mixed/a", "cut/0"):
        Path(folder).mkdir(parents=True)
    np.save("mixed/1.npy", events)
    np.save("mixed/a/1.npy", events)
    Path("cut/0/1.bin").write_bytes(b"1234567")
    answer = sdsnn(*arguments)
    assert answer.exit_code == 2
    lines = answer.output.strip().splitlines()
    assert len(lines) == 1, answer.output
    assert lines[0].startswith("sdsnn: ")
    assert re.search(message, lines[0]), lines[0]


def test_an_archive_that_ends_too_early_says_so(tmp_path: Path, spikes: np.ndarray) -> None:
    path = tmp_path / "short.npz"
    np.savez(tmp_path / "whole.npz", spikes=spikes)
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(path, "w") as cut:
        cut.writestr("spikes.npy", whole.read("spikes.npy")[:-5])
    with pytest.raises(FileError, match=r"spikes is damaged \(it ends too early\)"):
        list(open_samples(path))


def test_a_damaged_archive_says_so(tmp_path: Path, spikes: np.ndarray) -> None:
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, spikes=spikes)
    raw = bytearray(path.read_bytes())
    raw[200:240] = b"?" * 40
    path.write_bytes(raw)
    with pytest.raises(FileError, match="spikes is damaged"):
        list(open_samples(path))


def test_a_run_folder_brings_its_network_and_its_test_split(tmp_path: Path) -> None:
    config = load_config("digits", ["seed=3", "data.n_steps=6"])
    folder = RunFolder.create(tmp_path / "run", config)
    weight = np.random.default_rng(0).integers(-60, 120, (10, 64)) * 2
    nodes = {"input": Input((64,)), "pop": Population((10,), 1024, 410, 300), "output": Output("pop")}
    network = Network(nodes, {"wire": Synapses.from_dense("input", "pop", weight)})
    write_nir(network, folder.network_file)
    test = load_data(config.data, 3).test
    answer = sdsnn(folder.path, "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.output.splitlines()[-1])
    predicted = decode(network, reference.run(network, np.asarray(test.spikes)))
    assert found["predictions"] == predicted.tolist()
    assert found["accuracy"] == pytest.approx((predicted == test.labels).mean())


@pytest.mark.parametrize("start", [0, 1_700_000_000_000_000])
@pytest.mark.parametrize("form", ["events.npz", "events.npy", "table.npy", "named", "a.bs2"])
def test_a_clock_that_does_not_start_at_0_counts_from_the_first_event(
    form: str, start: int, network: Network, spikes: np.ndarray, tmp_path: Path
) -> None:
    events = [as_events(sample) for sample in spikes]
    start = start if form != "a.bs2" else min(start, 70_000)
    for each in events:
        each["t"] += start
    path, n = tmp_path / form, 7
    if form == "events.npz":
        np.savez(path, events=np.concatenate(events), offsets=np.cumsum([0, *map(len, events)]))
    elif form == "named":
        path.mkdir()
        for index, each in enumerate(events):
            np.save(path / f"{index}.npy", each)
    else:
        n = 1
        if form == "a.bs2":
            path.write_bytes(packed(events[0]))
        else:
            np.save(path, events[0] if form == "events.npy" else np.stack([events[0][k] for k in "xytp"], 1))
    write_nir(network, tmp_path / "n.nir")
    answer = sdsnn(tmp_path / "n.nir", path, "--bin-width", 1000, "--steps", STEPS, "--json")
    assert answer.exit_code == 0, answer.output
    printed = json.loads(answer.output.splitlines()[-1])
    activity = reference.run(network, spikes[:n])
    assert printed["predictions"] == decode(network, activity).tolist()
    assert printed["spikes_per_inference"]["pop"] == pytest.approx(activity.counts["pop"].sum() / n)
    times = np.concatenate([each["t"] for each in events[:n]])
    assert printed["data"]["recordings"] == n
    assert (printed["data"]["first_us"], printed["data"]["last_us"]) == (times.min(), times.max())
    assert printed["data"]["kept"] == len(times)
    assert f"data: {n} recording" in answer.output
    assert f"{len(times):,} events (0 after the last step left out)" in answer.output


def test_times_in_another_unit_are_suspected_and_read(network: Network, spikes: np.ndarray, tmp_path: Path) -> None:
    write_nir(network, tmp_path / "n.nir")
    events = as_events(spikes[0])
    fields = {name: events[name].astype(float) for name in ("x", "y", "t", "p")}
    np.savez(tmp_path / "ms.npz", **{**fields, "t": fields["t"] / 1000 + 12.5})
    command = (tmp_path / "n.nir", tmp_path / "ms.npz", "--bin-width", 1000, "--steps", STEPS, "--json")
    plain = sdsnn(*command)
    assert f"note: all events of every recording fall into step 0 of {STEPS}; are the times in ms?" in plain.output
    right = sdsnn(*command, "--time-unit", "ms")
    assert "note:" not in right.output
    predictions = json.loads(right.output.splitlines()[-1])["predictions"]
    assert predictions == decode(network, reference.run(network, spikes[:1])).tolist()


def test_frames_of_recordings_that_count_events_are_cut_to_what_the_input_takes(
    network: Network, spikes: np.ndarray, tmp_path: Path
) -> None:
    """Events in one bin are one spike; counts in frames are the same, but arrays of spikes mean what they say."""
    write_nir(network, tmp_path / "n.nir")
    (tmp_path / "data").mkdir()
    for index, sample in enumerate(spikes):
        np.save(tmp_path / "data" / f"{index}.npy", sample.astype(np.int16) * 3)
    answer = sdsnn(tmp_path / "n.nir", tmp_path / "data", "--json")
    printed = json.loads(answer.output.splitlines()[-1])
    assert printed["predictions"] == decode(network, reference.run(network, spikes)).tolist()
    assert printed["data"]["largest_bin"] == 3
    np.save(tmp_path / "x.npy", spikes * 3)
    refused = sdsnn(tmp_path / "n.nir", tmp_path / "x.npy")
    assert refused.exit_code == 2
    assert "expected integers 0..1, got 0..3" in refused.output


def test_the_library_does_not_allocate_what_a_clock_asks_for(spikes: np.ndarray) -> None:
    """Events of a clock that counts from 1970: 3.3 PiB of bins of a millisecond, if nothing said how many steps."""
    events = as_events(spikes[0])
    events["t"] += 1_700_000_000_000_000
    with pytest.raises(NetworkError, match=r"expected at most .* steps of 24 channels, got 1,700,000,000,009 steps"):
        events_to_dense(events, SHAPE, 1000)
