"""Raising is the exact inverse of lowering: the model lowers to the same digest, and spikes as the network does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from networks import random_network
from slayer_graphs import draw_graph
from slayer_models import draw_model

from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.graph.merging import expressible
from sdsnn.train.slayer.lowering import lower
from sdsnn.train.slayer.raising import raise_
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Convolution, CubaLif, Input, Network, Output, RefractoryLif, Synapses

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")


def spikes_alike(network: Network, rng: np.random.Generator) -> None:
    """Fail unless the raised model lowers to the network and returns the spikes of its outputs."""
    model = raise_(network)
    lowered = lower(model, provenance=network.provenance, dt_s=network.dt_s)
    assert lowered.digest() == expressible(network).digest()
    inputs = random_spikes(rng, network, 2, 24)
    activity = reference.run(network, inputs, record_state=network.populations)
    states = (*activity.current.values(), *activity.voltage.values())
    if max(int(np.abs(state).max()) for state in states) >= STATE_LIMIT // 2:
        return  # the chip's registers wrap and saturate, SLAYER's do not
    shaped = [inputs[name].reshape(2, 24, *port.shape) for name, port in network.inputs.items()]
    reset_state(model)
    with torch.no_grad():
        result = model(*(torch.from_numpy(np.moveaxis(x, 1, -1).astype(np.float32)) for x in shaped))
    results = result if isinstance(result, tuple) else (result,)
    for port, value in zip(network.outputs.values(), results, strict=True):
        if port.signal == "spikes":
            expected = np.moveaxis(activity.spikes[port.source], 1, -1)
            np.testing.assert_array_equal(value.numpy().reshape(expected.shape), expected)


@pytest.mark.parametrize("seed", range(8))
def test_lowered_chains_are_raised(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_model(rng, ends=True)
    spikes_alike(lower(blocks, shape), rng)


@pytest.mark.parametrize("seed", [0, 2, 6, 8])
def test_lowered_graphs_are_raised(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model, shapes = draw_graph(rng)
    spikes_alike(lower(model, shapes), rng)


def one_threshold(network: Network) -> Network:
    """Return the network with a threshold for all neurons of a population."""
    nodes: dict[str, Any] = {
        name: replace(node, threshold=int(node.threshold.flat[0]) % 200) if isinstance(node, CubaLif) else node
        for name, node in network.nodes.items()
    }
    return Network(nodes, network.projections)


def test_random_networks_are_raised_or_refused_by_name() -> None:
    """Odd weights, delays of single synapses, exponents, several projections between two populations."""
    raised, refusals = 0, []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        drawn = random_network(rng, bias=False, wild=False, recurrent=seed % 2 == 0, convolution=seed % 4 == 0)
        network = one_threshold(drawn)
        try:
            spikes_alike(network, rng)
            raised += 1
        except UnsupportedNode as error:
            refusals.append(str(error))
    assert raised >= 15
    assert all(": expected" in each and "\n" not in each for each in refusals)


NEURON = {"current_decay": 2048, "voltage_decay": 128}


def chain(*synapses: Synapses | Convolution, **more: Any) -> Network:
    population = CubaLif((2,), **{**NEURON, "threshold": 15, **more})
    nodes = {"input": Input((2,)), "a": population, "b": population, "output": Output("b")}
    return Network(nodes, {f"w{n}": each for n, each in enumerate(synapses)})


def refractory() -> Network:
    population = RefractoryLif((2,), **NEURON, threshold=15, refractory=3)
    return Network({"input": Input((2,)), "a": population, "output": Output("a")}, {"w": FIRST})


FIRST = Synapses.from_dense("input", "a", [[30, 2], [0, 50]])
SECOND = Synapses.from_dense("a", "b", [[30, -2], [11, 50]])


def test_what_slayer_cannot_hold_is_named() -> None:
    for network, message in (
        (chain(FIRST, SECOND, threshold=[15, 16]), "population 'a': expected one threshold for all neurons"),
        (chain(FIRST, SECOND, bias=3, bias_exp=2), "population 'a': expected .*initial voltage|bias_exp 6"),
        (refractory(), "population 'a': expected no refractory period"),
        (chain(FIRST, SECOND, initial_voltage=7), "expected the initial voltage that cancels the bias"),
        (
            chain(FIRST, SECOND, Synapses.from_dense("b", "a", [[1, 0], [0, 0]])),
            "the loop over a, b: expected populations that no output reads, got b read by one",
        ),
        (chain(FIRST), "population 'b': expected a projection from another node, got none"),
        (
            chain(FIRST, SECOND, Synapses.from_dense("input", "b", [[1, 0], [0, 0]], weight_exp=2)),
            "population 'b': expected projections of one weight_exp, got 0, 2",
        ),
        (
            chain(FIRST, SECOND, Synapses.from_dense("b", "b", [[1, 0], [0, 0]], 3)),
            "population 'b': expected one loop of synapses without delays",
        ),
    ):
        with pytest.raises(UnsupportedNode, match=message):
            raise_(network)


def wired(rng: np.random.Generator) -> Network:
    """Draw a network with a loop over two or three populations, and with a convolution beside other projections."""
    size = [4, 5, 3]
    decays = {"current_decay": rng.choice([4096, 1000, 200]), "voltage_decay": rng.choice([4096, 400, 0])}
    nodes: dict[str, Any] = {"input": Input((2, 4, 4))}
    nodes.update({f"p{n}": CubaLif((size[n],), threshold=30, **decays) for n in range(3)})
    image = {**decays, "voltage_decay": [[[400]], [[900]]]} if rng.random() < 0.5 else decays
    nodes.update({"image": CubaLif((2, 4, 4), threshold=25, **image), "last": CubaLif((3,), threshold=20, **decays)})
    nodes["output"] = Output("last")

    def synapses(source: str, target: str, density: float = 0.5, **more: Any) -> Synapses:
        shape = (nodes[target].size, nodes[source].size)
        return Synapses.from_dense(
            source, target, rng.integers(-60, 120, shape) * (rng.random(shape) < density), **more
        )

    kernel = rng.integers(-60, 120, (2, 2, 3, 3))
    projections: dict[str, Any] = {
        "in0": synapses("input", "p0"),
        "in_image": Convolution("input", "image", kernel, padding=(1, 1)),
        **({"to_image": synapses("p0", "image", delay=int(rng.integers(0, 3)))} if rng.random() < 0.7 else {}),
        "p0p1": synapses("p0", "p1"),
        "p1p0": synapses("p1", "p0"),
        "to_p2": synapses("p1", "p2"),
        **({"p2p0": synapses("p2", "p0")} if rng.random() < 0.6 else {}),
        **({"own": synapses("p1", "p1")} if rng.random() < 0.5 else {}),
        "p2last": synapses("p2", "last"),
        "p1last": synapses("p1", "last", delay=int(rng.integers(0, 3))),
        "imagelast": synapses("image", "last", 0.2),
        **({"again": Convolution("image", "image", kernel[:, :, :1, :1])} if rng.random() < 0.5 else {}),
    }  # fmt: skip
    return Network(nodes, projections)


def test_loops_and_mixed_projections_are_rewritten_with_the_same_spikes() -> None:
    spikes_seen = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        network = wired(rng)
        rewritten = expressible(network)
        inputs = random_spikes(rng, network, 2, 24)
        before, after = (reference.run(each, inputs).spikes for each in (network, rewritten))
        for name in set(before) & set(after):
            np.testing.assert_array_equal(after[name], before[name], err_msg=f"seed {seed}, {name}")
        (merged,) = set(rewritten.populations) - set(network.populations)
        members = [name for name in network.populations if name not in rewritten.populations]
        assert members in (["p0", "p1"], ["p0", "p1", "p2"])
        np.testing.assert_array_equal(after[merged], np.concatenate([before[name] for name in members], axis=2))
        spikes_alike(rewritten, rng)
        spikes_seen += int(before["last"].sum())
    assert spikes_seen > 50


def test_a_network_that_blocks_hold_is_not_rewritten() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        model, shapes = draw_graph(rng)
        network = lower(model, shapes)
        assert expressible(network) is network


def test_two_projections_between_two_populations_stay_two(tmp_path: Any) -> None:
    other = Synapses.from_dense("a", "b", [[3, 0], [0, 0]], 5)
    spikes_alike(chain(FIRST, SECOND, other), np.random.default_rng(0))


def test_a_raised_model_trains() -> None:
    network = chain(FIRST, SECOND)
    model = raise_(network).train()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    loss = model(torch.ones(3, 2, 20)).mean()
    torch.autograd.backward(loss)
    optimiser.step()
    assert lower(model).digest() != network.digest()
