"""Compaction: a masked network and its compacted twin spike alike in every bin."""

from __future__ import annotations

import numpy as np
import pytest
from networks import random_network

from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.compaction import compact
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses


def kill_some(rng: np.random.Generator, network: Network) -> Network:
    """Return the network with some units masked: without incoming or outgoing synapses, or out of reach."""
    projections = {}
    for name, p in network.projections.items():
        if isinstance(p, Synapses):
            dead_pre = rng.random(network.size_of(p.source)) < 0.4
            dead_post = rng.random(network.size_of(p.target)) < 0.4
            stay = ~(dead_pre[p.pre] | dead_post[p.post])
            delay = p.delay if p.delay.ndim == 0 else p.delay[stay]
            p = Synapses(p.source, p.target, p.pre[stay], p.post[stay], p.weight[stay], delay, p.weight_exp)
        else:
            kernel = np.array(p.kernel)
            kernel[rng.random(kernel.shape[0]) < 0.4] = 0
            kernel[:, rng.random(kernel.shape[1]) < 0.2] = 0
            p = Convolution(
                p.source, p.target, kernel, p.stride, p.padding, p.dilation, p.groups, p.delay, p.weight_exp
            )
        projections[name] = p
    return Network(network.nodes, projections)


@pytest.mark.parametrize("block", range(6))
def test_masked_and_compacted_networks_spike_alike(block: int) -> None:
    removed = bins = 0
    for seed in range(block * 50, block * 50 + 50):
        rng = np.random.default_rng(seed)
        masked = kill_some(rng, random_network(rng, graded=True, wild=seed % 2 == 0))
        result = compact(masked)
        spikes = random_spikes(rng, masked, 3, 40)
        before = reference.run(masked, spikes)
        after = reference.run(result.network, spikes)
        for name, kept in result.kept.items():
            if not kept.any():
                removed += kept.size
                continue
            np.testing.assert_array_equal(before.spikes[name][..., kept], after.spikes[name], err_msg=f"{seed} {name}")
            removed += int((~kept).sum())
            bins += after.spikes[name].size
        assert after.synaptic_operations() <= before.synaptic_operations()
        twice = compact(result.network)
        assert twice.network.digest() == result.network.digest(), f"seed {seed}: compaction is not a fixed point"
    assert removed > 100
    assert bins > 10_000


def chain(*weights: np.ndarray, **parameters: int) -> Network:
    """Return input -> p0 -> p1 ... with integer matrices (n_post, n_pre)."""
    nodes: dict = {"input": Input((weights[0].shape[1],))}
    projections = {}
    source = "input"
    for index, weight in enumerate(weights):
        name = f"p{index}"
        nodes[name] = Population(
            (weight.shape[0],), 4096, 410, parameters.get("threshold", 10), parameters.get("bias", 0)
        )
        projections[f"w{index}"] = Synapses.from_dense(source, name, weight)
        source = name
    nodes["output"] = Output(source)
    return Network(nodes, projections)


def test_unit_without_input_goes_with_what_it_fed() -> None:
    result = compact(
        chain(np.array([[20, 0], [0, 0], [0, 20]]), np.array([[20, 20, 0], [0, 20, 0]]), np.array([[20, 20]]))
    )
    np.testing.assert_array_equal(result.kept["p0"], [True, False, False])  # no input; no path to the output
    np.testing.assert_array_equal(result.kept["p1"], [True, False])  # only fed by the dead one
    assert result.synapses == {"w0": (2, 1), "w1": (3, 1), "w2": (2, 1)}
    assert result.counts() == {
        "units_masked": 6, "units_compacted": 3, "synapses_masked": 7, "synapses_compacted": 3,
        "bytes_masked": 4 + 6 + 2, "bytes_compacted": 2 + 1 + 1,
    }  # fmt: skip


def test_bound_on_the_drive_decides_exactly_at_the_threshold() -> None:
    # current decay 4096 and voltage decay 4096: v never exceeds 64 * weight, and firing needs strictly more.
    for weight, fires in ((10, False), (11, True)):
        nodes = {
            "input": Input((1,)),
            "a": Population((2,), 4096, 4096, 10),
            "b": Population((1,), 4096, 4096, 10),
            "output": Output("b"),
        }
        net = Network(
            nodes,
            {
                "w": Synapses.from_dense("input", "a", [[weight], [30]]),
                "x": Synapses.from_dense("a", "b", [[20, 20]]),
            },
        )
        np.testing.assert_array_equal(compact(net).kept["a"], [fires, True])


def test_unit_that_fires_from_bias_alone_stays() -> None:
    result = compact(chain(np.array([[20], [0]]), np.array([[20, 20]]), bias=30))
    assert result.kept["p0"].all()


def test_output_units_stay_even_if_silent() -> None:
    result = compact(chain(np.array([[20]]), np.array([[20], [0], [-20]])))
    assert result.network.populations["p1"].shape == (3,)


def test_negative_drive_that_can_wrap_keeps_the_unit() -> None:
    # A current that falls without decay leaves 24 bits and comes back positive, so the unit does fire.
    nodes = {
        "input": Input((1,)),
        "a": Population((2,), 0, 0, 5000),
        "b": Population((1,), 4096, 4096, 10),
        "output": Output("b"),
    }
    net = Network(
        nodes,
        {
            "w": Synapses.from_dense("input", "a", [[-256], [-256]], weight_exp=7),
            "x": Synapses.from_dense("a", "b", [[20, 20]]),
        },
    )
    assert reference.run(net, np.ones((200, 1))).counts["a"].sum() > 0
    assert compact(net).kept["a"].all()


def test_readout_that_only_integrates_stays() -> None:
    nodes = {"input": Input((1,)), "a": Population((1,), 4096, 0, NEVER_FIRES), "output": Output("a", "voltage")}
    net = Network(nodes, {"w": Synapses.from_dense("input", "a", [[20]])})
    assert compact(net).network.populations["a"].shape == (1,)


def test_channels_go_and_flatten_follows() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.integers(1, 60, (4, 1, 3, 3)) * 2
    kernel[2] = 0
    nodes = {
        "input": Input((1, 6, 6)),
        "a": Population((4, 4, 4), 4096, 410, 64),
        "b": Population((5,), 4096, 410, 64),
        "output": Output("b"),
    }
    net = Network(
        nodes,
        {
            "c": Convolution("input", "a", kernel),
            "d": Synapses.from_dense("a", "b", rng.integers(1, 20, (5, 64)) * 2),
        },
    )
    result = compact(net)
    assert result.network.populations["a"].shape == (3, 4, 4)
    assert result.network.projections["c"].kernel.shape == (3, 1, 3, 3)
    assert result.synapses["d"] == (320, 240)
