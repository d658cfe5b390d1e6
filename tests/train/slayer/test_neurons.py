"""Adaptive, resonating and sigma-delta blocks: their populations send what SLAYER's own forward pass sends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from slayer_neurons import draw_chain

from sdsnn.train.development.masks import attach_masks
from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower
from sdsnn.train.slayer.raising import raise_
from sdsnn_core import reference
from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.compaction import compact
from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Network, Sigma, SigmaDelta

STEPS = 16
EXACT = 2**24  # largest sum that float32 holds exactly, in the units of SLAYER's weights times messages


def compare(model: Any, shape: tuple[int, ...], x: np.ndarray) -> tuple[Network, dict[str, int], int]:
    """Compare every bin; return the network, the spikes of each type of neurons, and the bins."""
    network = lower(model, shape, input_max=3)
    activity = reference.run(network, x, record_state=network.populations)
    for name, population in network.populations.items():
        limit = 2 * EXACT if isinstance(population, (SigmaDelta, Sigma)) else STATE_LIMIT
        states = max(int(np.abs(s[name]).max(initial=0)) for s in (activity.current, activity.voltage))
        if states >= limit:
            pytest.skip("registers overflow, where SLAYER's longer integers do not")
    sent: dict[str, int] = {}
    bins = 0
    for name, values in trace(model, x).items():
        np.testing.assert_array_equal(activity.spikes[name], values, err_msg=name)
        kind = type(network.nodes[name]).__name__
        sent[kind] = sent.get(kind, 0) + int((values != 0).sum())
        bins += values.size
    return network, sent, bins


def inputs(rng: np.random.Generator, shape: tuple[int, ...], largest: int) -> np.ndarray:
    return (rng.integers(1, largest + 1, (2, STEPS, *shape)) * (rng.random((2, STEPS, *shape)) < 0.4)).astype(np.uint8)


def drawn(seed: int, graded: bool) -> tuple[Any, tuple[int, ...], np.ndarray]:
    rng = np.random.default_rng([seed, graded])
    torch.manual_seed(seed)
    blocks, shape = draw_chain(rng, graded=graded)
    return blocks, shape, inputs(rng, shape, 3 if graded else 1)


@pytest.mark.parametrize("graded", [False, True])
def test_random_chains_send_alike_and_are_raised(graded: bool) -> None:
    total: dict[str, int] = {}
    bins = raised = 0
    for seed in range(6):
        blocks, shape, x = drawn(seed, graded)
        network, sent, n = compare(blocks, shape, x)
        bins += n
        total = {kind: total.get(kind, 0) + sent.get(kind, 0) for kind in total | sent}
        try:
            again = raise_(network)
        except UnsupportedNode:
            continue
        raised += 1
        assert lower(again).digest() == network.digest()
        for name, values in trace(again, x).items():
            np.testing.assert_array_equal(values, reference.run(network, x).spikes[name], err_msg=name)
    wanted = {"SigmaDelta", "Delta", "Sigma"} if graded else {"AdaptiveLif", "Resonator", "CubaLif"}
    assert set(total) == wanted
    assert min(total.values()) > 0
    assert sum(total.values()) > 1_000
    assert bins > 5_000
    assert raised >= 4


@pytest.mark.slow
@pytest.mark.parametrize("graded", [False, True])
def test_many_random_chains_send_alike(graded: bool) -> None:
    done = 0
    for seed in range(1_000, 1_300):
        try:
            compare(*drawn(seed, graded))
            done += 1
        except pytest.skip.Exception:
            pass
    assert done > 200


def sigma_delta(**changes: Any) -> dict[str, Any]:
    return {"threshold": 0.25, "activation": torch.relu, **changes}


def biased() -> Any:
    norm = import_slayer().neuron.norm.MeanOnlyBatchNorm
    block = import_slayer().block.sigma_delta.Dense(sigma_delta(norm=norm), 4, 3).eval()
    block.neuron.norm.running_mean = torch.tensor([-0.5, 0.0, 0.1])
    return block


def learned() -> Any:
    block = import_slayer().block.sigma_delta.Dense(sigma_delta(), 4, 3)
    block.neuron.delta.threshold.data = torch.tensor([0.1])
    return block


ALIF = {"threshold": 1.0, "threshold_step": 0.5, "current_decay": 0.5, "voltage_decay": 0.1, "threshold_decay": 0.2,
        "refractory_decay": 0.3}  # fmt: skip
RF = {"threshold": 1.0, "period": 10, "decay": 0.1}
REFUSED: list[tuple[Any, str]] = [
    (lambda b: [b.alif.Dense({**ALIF, "threshold": 0.0}, 4, 3)], "threshold of at least 1/64, got 0/64"),
    (lambda b: [b.rf_iz.Dense({**RF, "threshold": 0.0}, 4, 3)], "threshold of at least 1/64, got 0/64"),
    (lambda b: [b.alif.Dense(ALIF, 4, 3, delay_shift=False)], "expected delay_shift=True"),
    (lambda b: [b.rf.Dense({**RF, "graded_spike": True}, 4, 3)], "expected graded_spike=False"),
    (
        lambda b: [b.alif.Dense({**ALIF, "norm": import_slayer().neuron.norm.MeanOnlyBatchNorm}, 4, 3)],
        "without norm and bias",
    ),
    (
        lambda b: [b.adrf.Dense({**RF, "threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1}, 4, 3)],
        "netx takes them for RF",
    ),
    (lambda b: [b.sigma_delta.Dense(sigma_delta(activation=torch.tanh), 4, 3)], "torch.nn.Identity, as Lava's"),
    (lambda b: [learned()], "thresholds: expected multiples of 1/4096, got 0.1"),
    (lambda b: [biased()], "biases below the threshold"),
    (
        lambda b: [b.sigma_delta.Dense(sigma_delta(), 4, 3), b.cuba.Dense(CUBA, 3, 2)],
        "expected spikes or events as input, got messages of sigma-delta neurons, which count in 1/4096",
    ),
    (lambda b: [b.sigma_delta.Output(sigma_delta(), 4, 3), b.cuba.Dense(CUBA, 3, 2)], "as the last block, got a block"),
]
CUBA = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1}


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[text[:30] for _, text in REFUSED])
def test_what_a_chip_computes_differently_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UnsupportedNode, match=message) as caught:
        lower(make(import_slayer().block), (4,))
    assert "\n" not in str(caught.value)


def test_a_delay_into_a_resonator_is_refused() -> None:
    block = import_slayer().block
    blocks = [block.alif.Dense(ALIF, 4, 3, delay=True), block.rf.Dense(RF, 3, 2)]
    with torch.no_grad():
        blocks[0](torch.zeros(1, 4, 3))
    blocks[0].delay.delay.data = torch.full((3,), 2.0)
    with pytest.raises(NetworkError, match="expected none into a Resonator, for which no process has delays"):
        lower(blocks, (4,))


def test_paths_of_different_lengths_are_aligned() -> None:
    """A sum of two sigma-delta blocks, one of them a step later on a chip."""
    kinds = import_slayer().block.sigma_delta
    torch.manual_seed(1)

    class Skip(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = kinds.Dense(sigma_delta(), 5, 6), kinds.Dense(sigma_delta(), 6, 6)
            self.last = kinds.Output(sigma_delta(), 6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = self.first(x)
            return self.last(first + self.second(first))

    network, sent, _ = compare(Skip(), (5,), inputs(np.random.default_rng(0), (5,), 3))
    assert sent["Sigma"] > 20
    assert network.projections["dense0-output2"].delay.max() == 1
    assert lower(raise_(network)).digest() == network.digest()


def masked(blocks: list[Any], rng: np.random.Generator) -> list[Any]:
    """Mask a half of the synapses, and all of some units."""
    with torch.no_grad():
        x = torch.ones(1, 2, 6, 6, 2)
        for block in blocks:
            x = block(x)
    for layer in attach_masks(torch.nn.Sequential(*blocks)):
        masks = [torch.from_numpy(rng.random(tuple(s.mask.shape)) < 0.5) for s in layer.synapses]
        if layer.spikes:
            silent = torch.from_numpy(rng.random(layer.n_units) < 0.3)
            for mask in masks:
                mask[silent] = False
        layer.set_masks(masks, None)
    return blocks


def test_masked_blocks_send_alike_and_masked_units_are_compacted() -> None:
    rng, block = np.random.default_rng(3), import_slayer().block
    torch.manual_seed(3)
    graded = block.sigma_delta
    chains = [
        [
            graded.Conv(sigma_delta(), 2, 8, 3), graded.Flatten(), graded.Dense(sigma_delta(), 128, 20),
            graded.Output(sigma_delta(), 20, 3),
        ],
        [
            block.alif.Conv(ALIF, 2, 8, 3, weight_scale=3), block.alif.Flatten(),
            block.alif.Dense(ALIF, 128, 20, weight_scale=3), block.alif.Recurrent(dict(ALIF), 20, 20, weight_scale=3),
        ],
    ]  # fmt: skip
    for blocks in chains:
        x = inputs(rng, (2, 6, 6), 1)
        network, sent, _ = compare(masked(blocks, rng), (2, 6, 6), x)
        assert min(sent.values()) > 50
        small = compact(network)
        units = small.counts()
        assert units["units_compacted"] < units["units_masked"]
        output = network.outputs["output"].source
        whole, left = (reference.run(each, x).spikes[output] for each in (network, small.network))
        np.testing.assert_array_equal(whole, left)


def test_complex_synapses_do_not_develop() -> None:
    with pytest.raises(UnsupportedNode, match="got a complex one, which cannot develop"):
        attach_masks(torch.nn.Sequential(import_slayer().block.rf.Dense(RF, 4, 3)))
