"""Lava's CPU runtime in fixed point against the reference and the NIR file read back: zero mismatching bins."""

import numpy as np
import pytest
from networks import assert_same_activity, random_network

from sdsnn.export.lava.processes import process_kind
from sdsnn.export.lava.run import run_lava, run_lava_many
from sdsnn.export.nir_format.reader import from_nir
from sdsnn.export.nir_format.writer import to_nir
from sdsnn_core import reference
from sdsnn_core.activity import events_from_spikes, random_spikes
from sdsnn_core.errors import BackendError, NetworkError
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")


def compare(seeds, storage="auto", *, n_samples=3, n_steps=14):
    """Return (networks, bins) compared among reference, Lava and NIR."""
    jobs = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        network = random_network(rng, graded=True)
        jobs.append((network, random_spikes(rng, network, n_samples, n_steps)))
    bins = 0
    for seed, (network, spikes), lava in zip(seeds, jobs, run_lava_many(jobs, storage=storage), strict=True):
        expected = reference.run(network, spikes)
        try:
            bins += assert_same_activity(expected, lava)
            bins += assert_same_activity(expected, reference.run(from_nir(to_nir(network)), spikes))
        except AssertionError as error:
            raise AssertionError(f"network of seed {seed}: {error}") from error
    return len(jobs), bins


@needs_lava
@pytest.mark.parametrize(("storage", "first", "count"), [("auto", 0, 24), ("sparse", 24, 12)])
def test_random_networks_spike_the_same_on_reference_lava_and_nir(storage, first, count):
    networks, bins = compare(range(first, first + count), storage)
    assert networks == count
    assert bins > 40_000


@needs_lava
@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_a_thousand_networks(block):
    networks, bins = compare(range(1000 + 50 * block, 1050 + 50 * block), ["auto", "sparse"][block % 2])
    assert networks == 50
    assert bins > 100_000


@needs_lava
def test_states_are_those_of_the_reference_in_every_step_and_sample():
    jobs = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        network = random_network(rng, max_layers=1, convolution=seed % 2 == 0)
        jobs.append((network, random_spikes(rng, network, 2, 10)))
    for (network, spikes), lava in zip(jobs, run_lava_many(jobs, record_state=["layer0"]), strict=True):
        assert_same_activity(reference.run(network, spikes, record_state=["layer0"]), lava, states=True)


def line(delay=0, **parameters):
    """A single neuron behind a single input."""
    population = Population((1,), **{"current_decay": 0, "voltage_decay": 0, "threshold": 500, **parameters})
    nodes = {"in": Input((1,)), "p": population, "out": Output("p")}
    return Network(nodes, {"w": Synapses.from_dense("in", "p", [[100]], delay)})


@needs_lava
@pytest.mark.parametrize("delay", [0, 5])
def test_nothing_leaks_from_one_sample_to_the_next(delay):
    # The first sample ends with a charged neuron and with spikes under way; the second has no input at all.
    network = line(delay)
    spikes = np.zeros((3, 8, 1), np.uint8)
    spikes[0] = 1
    got = run_lava(network, spikes, record_state=["p"])
    assert got.voltage["p"][0].any()
    assert not got.voltage["p"][1:].any()
    assert not got.current["p"][1:].any()
    assert_same_activity(reference.run(network, spikes, record_state=["p"]), got, states=True)


@needs_lava
def test_what_has_no_path_to_the_rest_runs_too():
    def alone():
        return Population((3,), 4096, 100, 40, bias=[1, 7, -2], initial_voltage=[0, 0, 5000])

    nodes = {"a": Input((2,)), "b": Input((4,)), "idle": Input((1,)), "p": alone(), "q": alone(), "r": alone()}
    nodes |= {"first": Output("q"), "second": Output("p")}
    rng = np.random.default_rng(0)
    projections = {
        "bq": Synapses.from_dense("b", "q", rng.integers(-256, 256, (3, 4))),
        "none": Synapses.from_dense("a", "q", np.zeros((3, 2), int), np.zeros((3, 2), int)),
        "rr": Synapses.from_dense("r", "r", rng.integers(-256, 256, (3, 3)), 3),
    }
    network = Network(nodes, projections)
    spikes = random_spikes(rng, network, 2, 20)
    got = run_lava(network, spikes)
    assert assert_same_activity(reference.run(network, spikes), got) == 2 * 20 * (2 + 4 + 1 + 9)
    assert got.counts["p"].any()
    assert got.counts["r"].any()


@needs_lava
def test_a_readout_that_never_fires_shows_its_voltage():
    network = line(threshold=NEVER_FIRES, current_decay=4096)
    got = run_lava(network, np.ones((1, 30, 1), np.uint8), record_state=["p"])
    assert not got.counts["p"].any()
    np.testing.assert_array_equal(got.voltage["p"][0, :, 0], 6400 * np.arange(30))


@needs_lava
def test_wide_images_many_groups_and_sums_beyond_24_bits():
    rng = np.random.default_rng(0)
    jobs = []
    for shape, kernel, groups, largest, exponent in [
        ((1, 140, 130), (2, 1, 3, 3), 1, 1, 0),  # padding + size overflows Lava's 8-bit parameters
        ((128, 3, 3), (128, 1, 2, 2), 128, 1, 0),  # groups wrap to a negative number there
        ((3, 9, 9), (2, 3, 9, 9), 1, 255, 7),  # the Conv process wraps sums that a Network does not
    ]:
        projection = Convolution("in", "p", rng.integers(100, 256, kernel), groups=groups, weight_exp=exponent)
        population = Population(projection.output_shape(shape), 4096, 100, 2000)
        nodes = {"in": Input(shape, largest), "p": population, "out": Output("p")}
        network = Network(nodes, {"k": projection})
        jobs.append((network, random_spikes(rng, network, 1, 4)))
    kinds = [process_kind(network, "k") for network, _ in jobs]
    assert kinds == ["Conv", "Conv", "Sparse"]
    for (network, spikes), lava in zip(jobs, run_lava_many(jobs), strict=True):
        assert_same_activity(reference.run(network, spikes), lava)
        assert lava.counts["in"].any()


def test_which_process_a_projection_becomes():
    nodes = {"in": Input((1, 4, 4)), "p": Population((1, 3, 3), 0, 0, 0), "out": Output("p")}
    kernel = np.ones((1, 1, 2, 2), int)
    dense = np.eye(9, dtype=int)
    projections = {
        "conv": Convolution("in", "p", kernel),
        "late": Convolution("in", "p", kernel, delay=3),
        "syn": Synapses.from_dense("p", "p", dense),
        "slow": Synapses.from_dense("p", "p", dense, 2 * dense),
    }
    network = Network(nodes, projections)
    kinds = {name: process_kind(network, name) for name in projections}
    assert kinds == {"conv": "Conv", "late": "DelaySparse", "syn": "Dense", "slow": "DelayDense"}
    assert process_kind(network, "syn", "sparse") == "Sparse"
    assert process_kind(network, "slow", "sparse") == "DelaySparse"
    big = Network(
        {"in": Input((5000,)), "p": Population((1000,), 0, 0, 0), "out": Output("p")},
        {"few": Synapses("in", "p", [0], [0], [1])},
    )
    assert process_kind(big, "few") == "Sparse"


def test_events_follow_from_spikes():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        network = random_network(rng, graded=True)
        activity = reference.run(network, random_spikes(rng, network, 2, 10))
        events = events_from_spikes(network, activity.spikes)
        assert set(events) == set(activity.events)
        for name, expected in activity.events.items():
            np.testing.assert_array_equal(events[name], expected)
            assert events[name].dtype == np.int64


def test_wrong_input_is_refused_before_lava_starts():
    with pytest.raises(NetworkError, match=r"record_state: expected p, got x"):
        run_lava(line(), np.ones((1, 3, 1), np.uint8), record_state=["x"])
    with pytest.raises(NetworkError, match=r"input 'in': expected shape .*, got \(1, 3, 2\)"):
        run_lava(line(), np.ones((1, 3, 2), np.uint8))


@needs_lava
def test_a_run_past_its_time_is_ended():
    with pytest.raises(BackendError, match=r"(?i)time"):
        run_lava(line(), np.ones((1, 3, 1), np.uint8), timeout_s=0.2)
