"""Energy: cases small enough to check by hand, laws, exact active updates, and what the messages say."""

import json

import numpy as np
import pytest
from networks import random_network

from sdsnn.deploy.energy.active import active_updates
from sdsnn.deploy.energy.baselines import dense_events, dense_synapses
from sdsnn.deploy.energy.counts import count
from sdsnn.deploy.energy.energy import price
from sdsnn.deploy.energy.prices import (
    QUANTITIES,
    TERMS,
    PriceList,
    default_price_lists,
    load_price_list,
    price_list_names,
)
from sdsnn.deploy.energy.pricing import price_counts
from sdsnn.deploy.energy.text import energy_lines, energy_to_json
from sdsnn.deploy.energy.types import Span, format_joules
from sdsnn_core import reference
from sdsnn_core.activity import Activity, random_spikes
from sdsnn_core.errors import ConfigError, FileError, NetworkError
from sdsnn_core.network import Input, Network, Output, Population, Synapses


def tiny_network() -> Network:
    """2 inputs -> 3 neurons that forget at once -> 1 neuron; 4 synapses into the first, 3 into the second."""
    nodes = {
        "input": Input((2,)),
        "a": Population((3,), 4096, 4096, 1),
        "b": Population((1,), 4096, 4096, 1),
        "output": Output("b"),
    }
    wires = {
        "ia": Synapses.from_dense("input", "a", [[64, 0], [64, 64], [0, 64]]),
        "ab": Synapses.from_dense("a", "b", [[64, 64, 64]]),
    }
    return Network(nodes, wires)


def tiny_activity(record: bool = True) -> Activity:
    spikes = np.zeros((1, 4, 2), np.uint8)
    spikes[0, 0] = [1, 0]  # step 1: a0, a1 receive and fire; step 2: b receives two and fires
    return reference.run(tiny_network(), spikes, record=None if record else ())


def free_list(**terms: float) -> PriceList:
    return PriceList.model_validate(
        {
            "name": "mine",
            "title": "mine",
            "chip": "loihi2",
            "role": "chip",
            "year": 2026,
            "grade": "measured",
            "bound": "estimate",
            "source": "a test",
            "terms": {name: {"pj": value} for name, value in terms.items()},
        }
    )


def test_energy_of_known_counts() -> None:
    # events: input 0 has 2 synapses, a0 and a1 have 1 each: 4. Updates: 4 steps x 4 neurons = 16, of which active:
    # a0 and a1 in step 1, b in step 2. Spikes: a0, a1, b.
    report = price(tiny_activity(), tiny_network())
    counts = report.counts
    assert (counts.total_events, counts.total_updates, counts.population_spikes) == (4, 16, 3)
    assert counts.total_active == Span(3, 3)
    davies = report.by_list("davies2018")
    assert davies.total.low == davies.total.high == pytest.approx((4 * 23.6 + 3 * 81 + 13 * 52) * 1e-12, rel=1e-12)
    sanafe = report.by_list("sanafe2025").total
    rest = 3 * 72.8 + 13 * 51.2 + 3 * 69.3
    assert sanafe.low == pytest.approx((4 * 33.6 + rest) * 1e-12, rel=1e-12)
    assert sanafe.high == pytest.approx((4 * 35.5 + rest) * 1e-12, rel=1e-12)
    assert report.by_list("horowitz45nm").total.low == pytest.approx(4 * 0.9e-12, rel=1e-12)
    assert report.by_list("kerasspiking").total.low == pytest.approx((4 * 27.1 + 16 * 81) * 1e-12, rel=1e-12)
    assert report.range_j == Span(davies.total.low, sanafe.high)


def test_baselines_of_known_counts() -> None:
    unpruned, ann = price(tiny_activity(), tiny_network(), unpruned={"a": 5, "b": 2}).baselines
    # one input spike to 5 units, two spikes of `a` to 2 units
    assert unpruned.operations == 1 * 5 + 2 * 2
    extra = 2 + 1  # units that were removed, each updated in 4 steps, inactive
    assert unpruned.joules["davies2018"].low == pytest.approx(
        (9 * 23.6 + 3 * 81 + (13 + 4 * extra) * 52) * 1e-12, rel=1e-12
    )
    assert ann.operations == 2 * 5 + 5 * 2
    assert ann.joules["horowitz45nm"].high == pytest.approx(20 * 4.6e-12, rel=1e-12)
    assert ann.joules["horowitz45nm"].low == pytest.approx(20 * 0.23e-12, rel=1e-12)


def test_unpruned_network_with_its_own_activity() -> None:
    network, activity = tiny_network(), tiny_activity()
    unpruned = price(activity, network, unpruned=network, unpruned_activity=activity).baselines[0]
    assert unpruned.operations == 4
    assert unpruned.joules["davies2018"] == price(activity, network).by_list("davies2018").total


def test_active_updates_follow_the_definition() -> None:
    # The reference keeps the current and the events are recounted one by one here, with python loops.
    for seed in range(40):
        rng = np.random.default_rng(seed)
        network = random_network(rng, wild=seed % 2 == 0, graded=True, max_size=8)
        given = random_spikes(rng, network, 2, 12)
        activity = reference.run(network, given, record_state=list(network.populations))
        for name, population in network.populations.items():
            awake = activity.current[name] != 0
            awake |= activity.spikes[name] != 0
            awake |= population.per_neuron("bias") != 0
            for _, projection in network.incoming(name):
                wires = (
                    projection
                    if isinstance(projection, Synapses)
                    else projection.synapses(network.nodes[projection.source].shape)
                )
                delays = np.broadcast_to(wires.delay, wires.weight.shape)
                for pre, post, delay in zip(wires.pre, wires.post, delays, strict=True):
                    for sample, t in np.argwhere(activity.spikes[projection.source][:, :, pre]):
                        if t + 1 + delay < 12:
                            awake[sample, t + 1 + delay, post] = True
            low, high = active_updates(network, activity, name)
            np.testing.assert_array_equal(low, awake.sum(axis=(0, 1)), err_msg=f"seed {seed} {name}")
            np.testing.assert_array_equal(high, low)


def test_without_recorded_spikes_the_bounds_hold_the_exact_number() -> None:
    bounds = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        network = random_network(rng, wild=False, max_size=8)
        given = random_spikes(rng, network, 2, 10)
        exact = price(reference.run(network, given), network)
        loose = price(reference.run(network, given, record=()), network)
        for one, two in zip(exact.priced, loose.priced, strict=True):
            assert two.total.low <= one.total.low * (1 + 1e-12)
            assert one.total.high <= two.total.high * (1 + 1e-12)
            bounds += two.total.low < two.total.high
        some = loose.counts.total_active
        assert some.low <= exact.counts.total_active.low <= some.high
        assert any("bounds" in note for note in loose.notes) == (not some.exact)
    assert bounds > 20


def test_a_silent_network_costs_only_its_idle_updates() -> None:
    activity = reference.run(tiny_network(), np.zeros((3, 7, 2), np.uint8))
    report = price(activity, tiny_network())
    assert report.counts.total_events == report.counts.population_spikes == 0
    assert report.by_list("davies2018").total.high == pytest.approx(7 * 4 * 52e-12, rel=1e-12)
    assert report.by_list("horowitz45nm").total == Span(0, 0)
    free = free_list(synaptic_event=20.0, spike_sent=5.0)
    assert price(activity, tiny_network(), [free]).priced[0].total == Span(0, 0)


def test_energy_is_linear_in_prices_and_additive_over_terms() -> None:
    rng = np.random.default_rng(3)
    network = random_network(rng, wild=False)
    activity = reference.run(network, random_spikes(rng, network, 3, 15))
    prices = {"synaptic_event": 20.0, "neuron_update_active": 7.0, "neuron_update_inactive": 2.0, "spike_sent": 5.0}
    counts = count(network, activity)
    whole = price_counts(counts, free_list(**prices)).total.high
    assert whole > 0
    tripled = price_counts(counts, free_list(**{name: 3 * value for name, value in prices.items()})).total.high
    assert tripled == pytest.approx(3 * whole, rel=1e-12)
    neuron = ("neuron_update_active", "neuron_update_inactive")
    groups = [("synaptic_event",), ("spike_sent",), neuron]
    parts = [price_counts(counts, free_list(**{n: prices[n] for n in group})).total.high for group in groups]
    assert sum(parts) == pytest.approx(whole, rel=1e-12)


def test_mean_over_samples() -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng, wild=False)
    given = random_spikes(rng, network, 4, 10)
    once = price(reference.run(network, given), network)
    twice = price(reference.run(network, {n: np.concatenate([s, s]) for n, s in given.items()}), network)
    for a, b in zip(once.priced, twice.priced, strict=True):
        assert a.total.high == pytest.approx(b.total.high, rel=1e-12)


def test_dense_counts_bound_sparse_ones() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network = random_network(rng, wild=False)
        activity = reference.run(network, random_spikes(rng, network, 2, 8))
        dense = dense_events(network, activity)
        full = dense_synapses(network)
        for name, projection in network.projections.items():
            assert activity.events[name].sum() / 2 <= dense[name]
            assert projection.n_weights <= full[name] or not isinstance(projection, Synapses)


def test_totals_say_what_they_lack() -> None:
    report = price(tiny_activity(), tiny_network())
    assert report.label == "partial"
    assert "partial" in report.headline()
    assert "Loihi-1-priced" in report.headline()
    davies = report.by_list("davies2018")
    assert {"packet", "hop"} < set(davies.unpriced)
    assert "placement" in davies.unpriced["hop"]
    for item in report.priced:
        named = {row.term for row in item.rows} | set(item.unpriced) | set(item.included)
        assert named == set(TERMS)
    everything = {name: 1.0 for name in QUANTITIES if not name.startswith("synaptic_event_")}
    del everything["packet"], everything["hop_east_west"], everything["hop_north_south"]
    mine = free_list(**everything).model_copy(
        update={"included": dict.fromkeys(("packet", "hop", "static", "state_reset", "host_io"), "in the events")}
    )
    assert price(tiny_activity(), tiny_network(), [mine]).label == "complete"


def test_graded_events_are_multiply_accumulates() -> None:
    network = tiny_network()
    graded = Network({**network.nodes, "input": Input((2,), 8)}, network.projections)
    spikes = np.zeros((1, 4, 2), np.uint8)
    spikes[0, 0] = [5, 0]
    report = price(reference.run(graded, spikes), graded)
    assert report.by_list("horowitz45nm").total.low == pytest.approx((2 * 4.6 + 2 * 0.9) * 1e-12, rel=1e-12)


def test_every_shipped_price_is_cited() -> None:
    assert price_list_names()[:2] == ["davies2018", "sanafe2025"]
    for table in default_price_lists():
        assert str(table.year) in table.citation
        assert table.grade in table.citation
        assert table.source
        assert {QUANTITIES[q] for q in table.terms} | set(table.unpriced) | set(table.included) == set(TERMS)
    davies = load_price_list("davies2018")
    assert davies.grade == "simulated"
    assert davies.bound == "lower bound"


def test_report_is_json_and_its_lines_cite() -> None:
    report = price(tiny_activity(), tiny_network())
    data = json.loads(json.dumps(energy_to_json(report)))
    assert data["counts"]["syn_ops"] == 4
    assert data["counts"]["dendrite_updates"] == 16
    assert data["range_j"] == {"low": report.range_j.low, "high": report.range_j.high}  # type: ignore[union-attr]
    text = "\n".join(energy_lines(report))
    for table in default_price_lists():
        assert table.source in text
    assert text.count("unpriced:") == sum(len(item.unpriced) for item in report.priced)


@pytest.mark.parametrize(
    ("joules", "shown"),
    [
        (Span(0, 0), "0 pJ"),
        (Span(2e-12, 2e-12), "2 pJ"),
        (Span(1.5e-9, 2.25e-9), "1.5 to 2.25 nJ"),
        (Span(3e-4, 3e-3), "0.3 to 3 mJ"),
    ],
)
def test_joules_carry_a_fitting_unit(joules: Span, shown: str) -> None:
    assert format_joules(joules) == shown


def test_messages(tmp_path) -> None:
    with pytest.raises(FileError, match=r"price list: expected one of davies2018, .* or a .toml file, got nothing"):
        load_price_list("nothing")
    with pytest.raises(FileError, match=r"absent.toml: cannot be read"):
        load_price_list(tmp_path / "absent.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("name = [")
    with pytest.raises(FileError, match=r"bad.toml: is not valid TOML"):
        load_price_list(bad)
    bad.write_text('name = "x"\ntitle = "x"\nchip = "x"\nrole = "chip"\nyear = 3\ngrade = "guess"\n')
    with pytest.raises(ConfigError) as caught:
        load_price_list(bad)
    message = str(caught.value)
    assert "year: expected a number greater than or equal to 1950, got 3" in message
    assert "grade" in message
    assert 'got "guess"' in message
    assert "source: Field required" in message
    with pytest.raises(
        ValueError, match="expected both neuron_update_active and neuron_update_inactive, got one of them"
    ):
        free_list(neuron_update_active=1.0)
    with pytest.raises(ValueError, match=r"terms: expected synaptic_event, .*, got hop"):
        free_list(hop=1.0)
    with pytest.raises(NetworkError, match=r"unpruned size of 'a': expected at least 3, as it has now, got 2"):
        price(tiny_activity(), tiny_network(), unpruned={"a": 2})
    with pytest.raises(NetworkError, match=r"unpruned size: expected one of a, .*, got 'zz'"):
        price(tiny_activity(), tiny_network(), unpruned={"zz": 2})
    other = random_network(np.random.default_rng(0))
    with pytest.raises(NetworkError, match=r"activity of node '(layer0|input)'"):
        price(tiny_activity(), other)
