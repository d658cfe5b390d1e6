"""SANA-FE: what is sent to it, the check of its spikes, and its figures against a hand count where it is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

import numpy as np
import pytest
from networks import random_network
from placement_recount import layers, small_chip

from sdsnn.deploy.energy.counts import count
from sdsnn.deploy.energy.prices import load_price_list
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.types import Placement
from sdsnn.deploy.report.pricing import price_network
from sdsnn.deploy.sanafe import replay as module
from sdsnn.deploy.sanafe.compare import compare
from sdsnn.deploy.sanafe.replay import Payload, replay
from sdsnn_core import reference
from sdsnn_core.activity import Activity, random_spikes
from sdsnn_core.errors import BackendError, ConfigError, MissingDependency, UnsupportedNode
from sdsnn_core.network import Convolution, Network, Synapses

installed = pytest.mark.skipif(importlib.util.find_spec("sanafe") is None, reason="SANA-FE is not installed here")
PRICES = load_price_list("sanafe2025")


def case(seed: int, n_steps: int = 7) -> tuple[Network, Activity, Placement]:
    rng = np.random.default_rng(seed)
    network = random_network(rng, wild=False)
    activity = reference.run(network, random_spikes(rng, network, 2, n_steps))
    chip = small_chip(neurons=int(rng.choice([6, 20, 100])), input_axons=4096, synapse_bits=2**20)
    return network, activity, place(network, chip, objective="balance", activity=activity)


def one_chip(seeds: range) -> list[tuple[Network, Activity, Placement]]:
    cases = [case(seed) for seed in seeds]
    return [each for each in cases if each[2].n_chips == 1]


def updated(network: Network, activity: Activity) -> int:
    """Return the updates of neurons that a spike reached in the step before, samples one after the other."""
    steps = activity.n_samples * activity.n_steps
    total = 0
    for name, population in network.populations.items():
        reached = np.zeros((steps, population.size), np.bool_)
        for _, p in network.incoming(name):
            wires = p.synapses(network.shape_of(p.source))
            fired = activity.spikes[p.source].reshape(steps, -1) != 0
            for pre, post in zip(wires.pre.tolist(), wires.post.tolist(), strict=True):
                reached[1:, post] |= fired[:-1, pre]
        total += int(reached.sum())
    return total


def test_every_synapse_packet_and_spike_is_in_what_is_sent() -> None:
    cores = 0
    for network, activity, placement in one_chip(range(12)):
        data = Payload(network, activity, placement).data(PRICES, "simple")
        counts = count(network, activity, placement)
        trains = data["trains"].sum(axis=1)
        events = {kind: int(trains[source].sum()) for kind, (source, _) in data["edges"].items()}
        by_kind = {kind: round(amount * 2) for kind, amount in counts.events_by_kind.items() if amount}
        by_kind["dense"] = by_kind.pop("graded", 0) + by_kind.pop("message", 0) + by_kind.pop("dense", 0)
        assert sum(events.values()) == sum(by_kind.values())
        if not any(node.max_value > 1 for node in network.inputs.values()):
            assert events == {kind: amount for kind, amount in by_kind.items() if amount}
        pairs = {
            (one, int(data["receivers"][other]))
            for source, target in data["edges"].values()
            for one, other in zip(source.tolist(), target.tolist(), strict=True)
        }
        mixed = {p.source for p in network.projections.values() if isinstance(p, Convolution)} & {
            p.source for p in network.projections.values() if isinstance(p, Synapses)
        }
        if not mixed:
            assert sum(int(trains[one]) for one, _ in pairs) == round((counts.packets or 0) * 2)
        somas = list(zip(data["senders"].tolist(), data["soma"].tolist(), strict=True))
        assert len(set(somas)) == len(somas)  # a train each
        assert sorted(data["order"].tolist()) == list(range(len(data["receivers"]) + len(somas)))
        assert all(f"sender{soma}'" in data["architecture"] for _, soma in somas)
        cores += placement.n_cores
    assert cores > 20


def test_a_spike_that_it_did_not_see_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    network, activity, placement = one_chip(range(12))[0]

    def lossy(function: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        return {"spikes": np.argwhere(payload["trains"])[1:]}

    monkeypatch.setattr(module, "require_sanafe", lambda: "2.2.9")
    monkeypatch.setattr(module, "run_in_child", lossy)
    with pytest.raises(BackendError, match=r"target sanafe: expected the [\d,]+ spikes .*; 1 bins differ"):
        replay(network, activity, placement)


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network, activity, placement = one_chip(range(12))[0]

    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    with pytest.raises(MissingDependency, match=r"target sanafe: expected the package sanafe, got none \(pip install"):
        replay(network, activity, placement)
    with pytest.raises(MissingDependency, match="target sanafe"):
        price_network(network, rate=0.1, target="sanafe")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.0")
    with pytest.raises(MissingDependency, match=r"target sanafe: expected sanafe 2.2.9 or newer, got 2.1.0"):
        replay(network, activity, placement)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.2.9")
    with pytest.raises(ConfigError, match="target: expected one of sanafe, got booksim"):
        price_network(network, rate=0.1, target="booksim")
    with pytest.raises(ConfigError, match=r"price list davies2018: expected prices .*, got no spike_sent, synaptic_"):
        replay(network, activity, placement, prices="davies2018")
    many = place(network, small_chip(neurons=6, input_axons=60), activity=activity)
    far = Placement(**{**many.__dict__, "n_cores": 200})
    with pytest.raises(UnsupportedNode, match="target sanafe: expected a placement on one chip, got 2"):
        replay(network, activity, far)


@installed
def test_its_figures_are_those_of_a_count_by_hand() -> None:
    for network, activity, placement in one_chip(range(4)):
        simple = replay(network, activity, placement, timing="simple")
        counts = count(network, activity, placement)
        assert placement.work is not None
        neurons = sum(p.size for p in network.populations.values())
        spikes = sum(int(activity.counts[name].sum()) for name in network.populations)
        soma = neurons * 14 * 51.2 + updated(network, activity) * 21.6 + spikes * 69.3
        assert simple.joules["soma"] * 2e12 == pytest.approx(soma, rel=1e-9)
        assert simple.events == pytest.approx(counts.total_events)
        assert counts.hops_east_west is not None
        assert counts.hops_north_south is not None
        assert simple.hops == pytest.approx(counts.hops_east_west + counts.hops_north_south)
        network_j = simple.packets * 111 + counts.hops_east_west * 3.0 + counts.hops_north_south * 4.2
        assert simple.joules["network"] * 1e12 == pytest.approx(network_j)
        # The times differ by the updates of neurons that no event reached, 3.7 ns each.
        most = 3.7e-9 * placement.use["neurons"].max() + 1e-12
        assert float(simple.step_s.mean()) == pytest.approx(placement.work.step, abs=most)


@installed
def test_cores_hold_more_neurons_than_one_of_its_units() -> None:
    network = layers(4, 1500, 3, weight=254, sparse=0.05)
    activity = reference.run(network, np.ones((1, 3, 4), np.uint8))
    placement = place(network, "loihi2", activity=activity)
    assert placement.n_cores == 1
    cost = replay(network, activity, placement, timing="simple")
    assert placement.use["neurons"][0] > 1024
    assert cost.events == pytest.approx(sum(int(events.sum()) for events in activity.events.values()))


@installed
def test_the_comparison_explains_every_term() -> None:
    network, activity, placement = one_chip(range(4))[0]
    beside = compare(network, activity, placement, count(network, activity, placement))
    by_unit = {term.unit: term for term in beside.terms}
    assert by_unit["synapse"].sanafe_j == pytest.approx(by_unit["synapse"].ours_j)
    assert by_unit["network"].sanafe_j == pytest.approx(by_unit["network"].ours_j, rel=0.2)
    assert beside.to_json()["bins_different"] == 0
    assert len(beside.lines()) == 4
