"""The reference: hand-computed steps, and laws that hold whatever the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import assert_same_activity, random_network

from sdsnn_core import reference
from sdsnn_core.activity import prepare_inputs, random_spikes
from sdsnn_core.arithmetic import STATE_LIMIT, decay, wrap_current
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses


def one_neuron(population: Population, weight: int, delay: int = 0, weight_exp: int = 0) -> Network:
    return Network(
        {"input": Input((1,), 255), "a": population, "output": Output("a")},
        {"w": Synapses("input", "a", [0], [0], [weight], delay, weight_exp)},
    )


def states(net: Network, train: list[int]) -> tuple[list[int], list[int], list[int]]:
    activity = reference.run(net, np.array(train)[:, None], record_state=["a"])
    return tuple(x["a"][0, :, 0].tolist() for x in (activity.current, activity.voltage, activity.spikes))  # type: ignore[return-value]


def test_impulse_decays_as_measured_on_lava() -> None:
    # current decay 1024/4096, one spike of weight 1: 64 48 36 27 20 15 11, one step after the spike, and so for -64.
    for sign in (1, -1):
        net = one_neuron(Population((1,), 1024, 4096, NEVER_FIRES), sign)
        current, _, _ = states(net, [1, 0, 0, 0, 0, 0, 0, 0])
        assert current == [0, *(sign * value for value in (64, 48, 36, 27, 20, 15, 11))]


def test_threshold_is_strict_and_reset_is_to_zero() -> None:
    for weight, fires in ((10, 0), (11, 1)):
        net = one_neuron(Population((1,), 4096, 0, 10), weight)
        _, voltage, spikes = states(net, [1, 0, 0])
        assert spikes == [0, fires, 0]
        assert voltage == [0, 0 if fires else 640, 0 if fires else 640]


def test_delay_adds_to_the_step_of_transport() -> None:
    for delay in (0, 1, 3, 62):
        net = one_neuron(Population((1,), 4096, 4096, 1), 10, delay)
        _, _, spikes = states(net, [1] + [0] * 70)
        assert np.flatnonzero(spikes).tolist() == [1 + delay]


def test_current_wraps_and_voltage_saturates() -> None:
    net = one_neuron(Population((1,), 0, 0, NEVER_FIRES), 255, weight_exp=7)
    current, voltage, _ = states(net, [1] * 6 + [0] * 3)
    step = 255 * 2**7 * 64
    expected, u = [0], 0
    for _ in range(6):
        u += step
        u -= 2**24 if u > 2**23 else 0
        expected.append(u)
    assert current == [*expected, u, u]
    assert max(voltage) <= 2**23 - 1
    negative = one_neuron(Population((1,), 4096, 0, 1), -256, weight_exp=7)
    assert min(states(negative, [1] * 20)[1]) == -(2**23) + 1


def test_bias_acts_from_the_first_step_and_initial_voltage_before_it() -> None:
    net = one_neuron(Population((1,), 4096, 0, NEVER_FIRES, bias=3, bias_exp=2, initial_voltage=100), 2)
    assert states(net, [0, 0])[1] == [112, 124]


def test_graded_events_multiply_and_count_once() -> None:
    net = one_neuron(Population((1,), 4096, 4096, NEVER_FIRES), 2)
    activity = reference.run(net, np.array([[5], [0]]), record_state=["a"])
    assert activity.current["a"][0, :, 0].tolist() == [0, 640]
    assert activity.events["w"].tolist() == [[1, 0]]
    assert activity.counts["input"].tolist() == [[1]]


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(0, 4096))
def test_decay_rounds_towards_zero(state: int, rate: int) -> None:
    product = abs(state) * (4096 - rate) // 4096
    result = int(decay(np.array([state]), np.array([rate]))[0])
    assert result == (product if state >= 0 else -product)


@given(st.integers(-(2**24), 2**24))
def test_wrap_keeps_the_residue_and_the_range(value: int) -> None:
    wrapped = int(wrap_current(np.array([value]))[0])
    assert (wrapped - value) % 2**24 == 0
    if -3 * STATE_LIMIT < value <= 3 * STATE_LIMIT:
        assert -STATE_LIMIT < wrapped <= STATE_LIMIT


@pytest.mark.parametrize("seed", range(30))
def test_samples_do_not_know_of_each_other_and_runs_can_be_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_network(rng, graded=True)
    spikes = random_spikes(rng, net, 3, 25)
    together = reference.run(net, spikes)
    for sample in range(3):
        alone = reference.run(net, {name: train[sample] for name, train in spikes.items()})
        for name in net.populations:
            np.testing.assert_array_equal(alone.spikes[name][0], together.spikes[name][sample])
    shorter = reference.run(net, spikes, 10)
    for name in net.populations:
        np.testing.assert_array_equal(shorter.spikes[name], together.spikes[name][:, :10])


@pytest.mark.parametrize("seed", range(30))
def test_events_are_spikes_times_stored_fan_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_network(rng, convolution=False)
    activity = reference.run(net, random_spikes(rng, net, 2, 20))
    for name, p in net.projections.items():
        fan_out = np.bincount(p.pre, minlength=net.size_of(p.source))
        np.testing.assert_array_equal(activity.events[name], (activity.spikes[p.source] != 0) @ fan_out)


@pytest.mark.parametrize("seed", range(20))
def test_a_convolution_means_its_expansion(seed: int) -> None:

    rng = np.random.default_rng(seed)
    net = random_network(rng)
    plain = {
        name: p.synapses(net.nodes[p.source].shape) if isinstance(p, Convolution) else p
        for name, p in net.projections.items()
    }
    spikes = random_spikes(rng, net, 2, 20)
    bins = assert_same_activity(
        reference.run(net, spikes, record_state=list(net.populations)),
        reference.run(Network(net.nodes, plain), spikes, record_state=list(net.populations)),
        states=True,
    )
    assert bins > 0


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (np.zeros((5, 4)), r"input 'input': expected shape \(steps, 3\) or \(samples, steps, 3\), got \(5, 4\)"),
        (np.full((5, 3), 2), r"input 'input': expected integers 0..1, got 2..2"),
        (np.full((5, 3), 0.5), "expected integers 0..1"),
        ({"other": np.zeros((5, 3))}, "input: expected input, got other"),
        (np.zeros((0, 3)), "expected at least one sample of one step"),
    ],
)
def test_data_that_do_not_match_are_refused(spikes: object, message: str) -> None:
    net = Network(
        {"input": Input((3,)), "a": Population((2,), 0, 0, 1), "output": Output("a")},
        {"w": Synapses("input", "a", [0], [0], [2])},
    )
    with pytest.raises(NetworkError, match=message):
        prepare_inputs(net, spikes)  # type: ignore[arg-type]
