"""Energy of a placed network by hand: packets, hops, the busiest core, and the static share."""

from typing import Any

import numpy as np
import pytest
from placement_recount import layers, small_chip

from sdsnn.deploy.energy.energy import price
from sdsnn.deploy.energy.prices import PriceList, load_price_list
from sdsnn.deploy.energy.text import energy_lines, energy_to_json
from sdsnn.deploy.placement.chip import Chip
from sdsnn.deploy.placement.place import place
from sdsnn_core import reference
from sdsnn_core.network import Input, Network, Output, Population, Synapses


def test_energy_with_a_placement_by_hand() -> None:
    # Two neurons on one core feed two on another one: chip with two neurons per core, one core per tile.
    chip = small_chip(neurons=2)
    data = chip.model_dump()
    data["layout"].update(cores_per_tile=1)
    chip = Chip.model_validate(data)
    network = layers(1, 2, 2, weight=254)
    spikes = np.zeros((1, 5, 1), np.uint8)
    spikes[0, 0] = 1
    activity = reference.run(network, spikes)
    placement = place(network, chip)
    assert placement.n_cores == 2
    fired = activity.counts["l0"].sum()
    assert fired > 0
    report = price(activity, network, placement=placement, chip="loihi1")
    counts = report.counts
    assert counts.packets_from_input == 1
    assert counts.packets == 1 + fired  # both targets are on one core
    assert (counts.hops_east_west, counts.hops_north_south) == (fired, 0)
    assert counts.load is not None
    assert counts.load.events.tolist() == [2 / 5, 2 * fired / 5]
    davies = report.by_list("davies2018")
    active, idle = counts.total_active.low, counts.total_updates - counts.total_active.low
    events = 2 + 2 * fired
    by_hand = events * 23.6 + active * 81 + idle * 52 + (1 + fired) * 1.7 + fired * 3.0
    assert davies.total.low == pytest.approx(by_hand * 1e-12, rel=1e-12)
    assert "hop" not in davies.unpriced
    assert davies.wording == "priced for Loihi-1"
    busiest = max(
        float(e) * 3.5 + float(a) * 8.4 + (float(n) - float(a)) * 5.3
        for e, a, n in zip(counts.load.events, counts.load.active, counts.load.neurons, strict=True)
    )
    time_by_davies = next(t for t in report.step_times if t.list == "davies2018")
    assert time_by_davies.busiest_core_s >= busiest * 1e-9 * (1 - 1e-12)
    assert time_by_davies.step_s.low == pytest.approx(time_by_davies.busiest_core_s + 113e-9)
    real = report.static[-1]
    assert real.joules.low == pytest.approx(0.104 * 5 * 1e-3)
    assert "Frady 2020" in real.source


def test_zeros_stored_in_gaps_are_a_bound_by_hand() -> None:
    # Targets 0 and 2 of three: one word holds the list dense or sparse, so it is dense and stores a zero between them.
    network = Network(
        {"input": Input((1,)), "a": Population((3,), 4096, 4096, 100), "output": Output("a")},
        {"w": Synapses.from_dense("input", "a", [[2], [0], [2]])},
    )
    spikes = np.zeros((1, 6, 1), np.uint8)
    spikes[0, [0, 2]] = 1
    activity = reference.run(network, spikes)
    placement = place(network, "loihi1")
    assert (placement.axons["w"].synapses.tolist(), placement.axons["w"].stored.tolist()) == ([2], [3])
    report = price(activity, network, placement=placement, chip="loihi1")
    assert report.counts.total_events == 2 * 2
    assert report.counts.zeros_by_kind == {"dense": 2 * 1}
    davies = report.by_list("davies2018").total
    assert davies.high - davies.low == pytest.approx(2 * 23.6e-12, rel=1e-9)
    assert price(activity, network).counts.zeros_by_kind == {}  # nobody decided how the lists are stored


def test_full_matrices_store_no_zeros() -> None:
    network = layers(8, 20, 6, weight=254)
    activity = reference.run(network, np.ones((1, 4, 8), np.uint8))
    report = price(activity, network, placement=place(network, "loihi2"))
    assert report.counts.total_zeros == 0
    assert report.by_list("davies2018").total.exact


def two_chips(**changes: Any) -> Chip:
    """Return chips of two cores, two neurons each."""
    data = small_chip(neurons=2).model_dump()
    data["layout"].update(cores_per_tile=1, cores_per_chip=2)
    return Chip.model_validate({**data, **changes})


def test_packets_between_chips_by_hand() -> None:
    network = layers(1, 2, 2, 2, weight=254)  # the third layer is on the second chip
    spikes = np.ones((1, 6, 1), np.uint8)
    activity = reference.run(network, spikes)
    chip = two_chips()
    placement = place(network, chip)
    assert placement.n_chips == 2
    crossing = float(activity.counts["l1"].sum())
    assert crossing > 0
    report = price(activity, network, placement=placement, chip="loihi1")
    assert report.counts.packets_between_chips == crossing
    assert report.link is not None
    rate = chip.constants["link_packets_per_second"]
    assert report.link.seconds == pytest.approx(crossing / 6 / 1.15e8)
    assert rate.grade == "inferred"
    assert "Davies 2021" in report.link.source
    assert all("link" in item.unpriced for item in report.priced)
    lines = "\n".join(energy_lines(report))
    assert "links between chips: " in lines
    assert "barrier of several chips: 1.43e-05 s (Frady 2020" in lines
    assert energy_to_json(report)["link"]["packets"] == pytest.approx(crossing / 6)
    mine = load_price_list("davies2018").model_dump()
    mine["terms"]["packet_between_chips"] = {"pj": 1000.0}
    del mine["unpriced"]["link"]
    priced = price(activity, network, [PriceList.model_validate(mine)], placement=placement).priced[0]
    before = report.by_list("davies2018").total.low
    assert priced.total.low == pytest.approx(before + crossing * 1e-9)


def test_one_chip_needs_no_price_of_links() -> None:
    network = layers(1, 2, 2, weight=254)
    report = price(reference.run(network, np.ones((1, 6, 1), np.uint8)), network, placement=place(network, "loihi1"))
    assert report.link is None
    assert all(item.included["link"] == "no packet goes to another chip" for item in report.priced)
