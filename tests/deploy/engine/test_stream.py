"""A stream in chunks is one long run; resets within a run are those of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import assert_same_activity, random_network

from sdsnn.deploy import engine
from sdsnn.deploy.engine import Engine
from sdsnn.deploy.engine.stream import Stream
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import CubaLif, Input, Network, Output, Synapses


def drawn(number: int, n_steps: int = 40) -> tuple[Network, dict[str, np.ndarray]]:
    rng = np.random.default_rng([7, number])
    network = random_network(rng, models=number % 3 > 0, graded=True)
    return network, random_spikes(rng, network, 2, n_steps)


@pytest.mark.parametrize("number", range(12))
def test_chunks_of_any_length_are_one_long_run(number: int) -> None:
    network, spikes = drawn(number)
    names = [*network.inputs, *network.populations]
    whole = Engine(network).run(spikes)
    stream = engine.open(network, 2, record=names)
    ends = np.sort(np.random.default_rng(number).integers(0, 40, 5)).tolist()
    trains: dict[str, list[np.ndarray]] = {name: [] for name in names}
    events: dict[str, list[np.ndarray]] = {name: [] for name in network.projections}
    saved = None
    for begin, end in zip([0, *ends], [*ends, 40], strict=True):
        if begin == end:
            continue
        if begin > 20 and saved is None:  # another process goes on
            saved = stream.save()
            stream = Stream(Engine(network), 2, record=names)
            stream.load(saved)
        got = stream.push({name: train[:, begin:end] for name, train in spikes.items()})
        for name in names:
            trains[name].append(got.spikes[name])
        for name in events:
            events[name].append(got.events[name])
    for name in names:
        np.testing.assert_array_equal(np.concatenate(trains[name], axis=1), whole.spikes[name])
    for name, parts in events.items():
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.events[name])


@pytest.mark.parametrize("number", range(4))
def test_a_state_goes_through_a_file_and_a_chunk_may_be_empty(number: int, tmp_path: Path) -> None:
    network, spikes = drawn(number)
    names = list(network.populations)
    whole = engine.open(network, 2, record=names).push(spikes)
    stream = engine.open(network, 2, record=names)
    n_steps = next(iter(spikes.values())).shape[1]
    parts = []
    for begin, end in ((0, 0), (0, 5), (5, 5), (5, n_steps)):
        chunk = {name: train[:, begin:end] for name, train in spikes.items()}
        parts.append(stream.push(chunk))
        assert parts[-1].n_steps == end - begin
        np.savez(tmp_path / "state.npz", **stream.save())
        stream = engine.open(network, 2, record=names)
        with np.load(tmp_path / "state.npz") as state:
            stream.load(state)
    for name in names:
        np.testing.assert_array_equal(np.concatenate([p.spikes[name] for p in parts], 1), whole.spikes[name])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"voltage": None}, "got one without voltage"),
        (
            {"voltage": np.zeros((1, 3), np.int32)},
            r"expected a state whose voltage is int32 \(2, \d+\), got int32 \(1, 3\)",
        ),
        ({"ring": np.zeros((2, 3))}, r"expected a state whose ring is int32 .*, got float64 \(2, 3\)"),
        ({"steps": [3]}, "expected a state of 2 streams, got 1"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: dict[str, Any], words: str) -> None:
    stream = engine.open(one(), 2)
    stream.push(np.ones((2, 3, 1), np.uint8))
    before = stream.save()
    state = {name: value for name, value in {**before, **change}.items() if value is not None}
    with pytest.raises(NetworkError, match=f"stream: .*{words}"):
        stream.load(state)
    after = stream.save()
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_streams_are_reset_one_by_one() -> None:
    network, spikes = drawn(1)
    chunk = {name: train[:, :10] for name, train in spikes.items()}
    stream = engine.open(network, 2)
    first = stream.push(chunk)
    stream.push(chunk)
    stream.reset([1])
    assert stream.steps == [20, 0]
    (name, again), *_ = stream.push(chunk).spikes.items()
    np.testing.assert_array_equal(again[1], first.spikes[name][1])


def one() -> Network:
    nodes = {"in": Input((1,)), "a": CubaLif((1,), 4096, 0, 2), "out": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("in", "a", [[1]])})


def events(*times: int) -> np.ndarray:
    return np.array([(t, 0) for t in times], [("t", np.int64), ("x", np.int64)])


def test_events_go_on_in_time() -> None:
    stream = engine.open(one(), bin_width=10)
    stream.push(events(0, 15), n_steps=4)
    assert stream.push(events(40, 55), n_steps=3).spikes["a"].reshape(-1).tolist() == [0, 1, 0]
    with pytest.raises(NetworkError, match=r"stream: expected events from step 7 on, got one of step 6, which has run"):
        stream.push(events(69), n_steps=3)


def test_what_a_stream_refuses() -> None:
    stream = engine.open(one(), 2)
    with pytest.raises(NetworkError, match="stream: expected a chunk for each of 2 streams, got 1"):
        stream.push(np.ones((3, 1)))
    with pytest.raises(NetworkError, match="stream: expected a state of this network, got one of another"):
        stream.load({**stream.save(), "network": "0"})
    with pytest.raises(NetworkError, match=r"stream: expected numbers 0..1, got 2, -1"):
        stream.reset([0, 2, -1])
    with pytest.raises(NetworkError, match="stream: expected at least one, got 0"):
        engine.open(one(), 0)
    with pytest.raises(NetworkError, match=r"input 'in': expected integers 0..1, got 0..2"):
        stream.push(np.full((2, 3, 1), 2) * np.arange(3)[:, None] // 2)


@pytest.mark.parametrize("number", range(9))
def test_resets_within_a_run(number: int) -> None:
    network, spikes = drawn(number)
    every, offset = 1 + number * 2, number % 3
    names = list(network.populations)
    expected = reference.run(network, spikes, record_state=names, reset_every=every, reset_offset=offset)
    got = Engine(network).run(spikes, record_state=names, reset_every=every, reset_offset=offset)
    assert_same_activity(got, expected, states=True)


def test_a_reset_follows_the_input_through_the_layers() -> None:
    """Two samples in one run are the two alone, as long as each one's tail is not counted: netx's reset_interval."""
    rng = np.random.default_rng(3)
    nodes = {
        "in": Input((6,)),
        "a": CubaLif((5,), 1000, 100, 300),
        "b": CubaLif((3,), 500, 50, 300),
        "out": Output("b"),
    }
    wires = {
        "w": Synapses.from_dense("in", "a", rng.integers(-9, 40, (5, 6))),
        "v": Synapses.from_dense("a", "b", rng.integers(-9, 40, (3, 5))),
    }
    network = Network(nodes, wires)
    x = (rng.random((2, 30, 6)) < 0.4).astype(np.uint8)
    alone = reference.run(network, x).spikes["b"]
    together = reference.run(network, x.reshape(1, 60, 6), reset_every=30).spikes["b"].reshape(2, 30, 3)
    assert alone.any()
    np.testing.assert_array_equal(together[:, 2:], alone[:, 2:])
    without = reference.run(network, x.reshape(1, 60, 6)).spikes["b"].reshape(2, 30, 3)
    assert (without[1, 2:] != alone[1, 2:]).any()
    with pytest.raises(NetworkError, match="reset_every: expected 0"):
        reference.run(network, x, reset_every=-1)
