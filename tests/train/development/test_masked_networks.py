"""A masked SLAYER model, the Network it is and the compacted one: the same spikes in every bin, the same events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slayer_models import draw_model

from sdsnn.train.development.developer import Developer
from sdsnn.train.development.masks import MaskedLayer, attach_masks
from sdsnn.train.slayer.block_spikes import reset_state, trace
from sdsnn.train.slayer.lowering import lower
from sdsnn.train.slayer.operations import arrivals, synaptic_operations
from sdsnn.train.slayer.tracing import random_example, read_graph
from sdsnn_core import reference
from sdsnn_core.compaction import Compaction, compact
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Network

# SLAYER still uses the old form of weight normalisation.
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")
STEPS = 30
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}


def thin(rng: np.random.Generator, layers: list[MaskedLayer], last_too: bool) -> None:
    """Mask random synapses and whole units, more in some layers than in others."""
    for layer in layers[: len(layers) if last_too else -1]:
        masks = []
        for synapse in layer.synapses:
            keep = torch.from_numpy(rng.random(synapse.mask.shape) < rng.choice([0.1, 0.5, 0.9]))
            keep[torch.from_numpy(rng.random(layer.n_units) < rng.choice([0.0, 0.3, 0.7]))] = False
            masks.append(keep)
        layer.set_masks(masks, None)


def compare(blocks: list[Any], masked: Network, spikes: np.ndarray) -> tuple[Compaction, int]:
    """Return the compaction and the bins compared; fails where SLAYER, masked or compacted network part."""
    result = compact(masked)
    before, after = reference.run(masked, spikes), reference.run(result.network, spikes)
    slayer = trace(blocks, spikes)
    bins = 0
    for name, kept in result.kept.items():
        if name in slayer:
            np.testing.assert_array_equal(before.spikes[name], slayer[name], err_msg=f"SLAYER {name}")
        if name in result.network.populations:
            np.testing.assert_array_equal(before.spikes[name][..., kept], after.spikes[name], err_msg=name)
            bins += after.spikes[name].size
    assert compact(result.network).network.digest() == result.network.digest(), "not a fixed point"
    return result, bins


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_masked_chains_of_blocks_and_their_compacted_networks_spike_alike(seed: int, last_too: bool) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_model(rng)
    layers = attach_masks(torch.nn.ModuleList(blocks))
    thin(rng, layers, last_too)
    reset_state(torch.nn.ModuleList(blocks))
    spikes = (rng.random((2, STEPS, *shape)) < rng.choice([0.1, 0.4])).astype(np.uint8)
    compare(blocks, lower(blocks, shape), spikes)


@pytest.mark.parametrize("seed", range(6))
def test_chains_that_developed_in_training_compact_exactly_and_get_smaller(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_model(np.random.default_rng(200 + seed))
    model = torch.nn.Sequential(*blocks)
    keys: dict[str, Any] = {"synapse_stage": True, "synapse_target": 0.85, "protect_first": False}
    config = DevelopmentConfig(persistence=1, pruning_gain=10.0, synapse_begin=0.2, **keys)
    x = torch.from_numpy((rng.random((4, *shape, 12)) < 0.4).astype(np.float32))
    developer = Developer(model, x[:1], 12, config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(12):
        model.train()
        reset_state(model)
        optimiser.zero_grad()
        output = model(x)
        torch.autograd.backward((output.mean(-1) - 0.5).square().sum())
        optimiser.step()
        developer.epoch_end(optimiser)
    model.eval()
    reset_state(model)
    result, _ = compare(blocks, lower(blocks, shape), (rng.random((3, STEPS, *shape)) < 0.4).astype(np.uint8))
    before, after = (sum(pair[i] for pair in result.synapses.values()) for i in (0, 1))
    assert after <= before
    masked = sum(int(s.mask.sum()) for layer in developer.layers for s in layer.synapses)
    assert masked < 0.5 * sum(s.mask.numel() for layer in developer.layers for s in layer.synapses)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_operations_from_masks_are_the_events_of_the_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_model(rng)
    for block in blocks:  # a delayed spike may leave SLAYER's window, and not the count of the network
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data.zero_()
    layers = attach_masks(torch.nn.ModuleList(blocks))
    thin(rng, layers, last_too=True)
    spikes = (rng.random((2, STEPS, *shape)) < 0.3).astype(np.uint8)
    network = lower(blocks, shape)
    activity = reference.run(network, spikes)
    expected = {
        name: sum(int(activity.events[key].sum()) for key, p in network.projections.items() if p.target == name)
        for name in network.populations
    }
    values = torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))
    sent = [arrivals(values)]
    reset_state(torch.nn.ModuleList(blocks))
    with torch.no_grad():
        for block in blocks:
            values = block.eval()(values)
            sent.append(arrivals(values))
    found = synaptic_operations(read_graph(torch.nn.Sequential(*blocks), random_example(shape)), layers, sent)
    wanted = iter(expected.values())
    assert found == [0.0 if type(block).__name__ == "Flatten" else float(next(wanted)) for block in blocks]


def test_a_pool_whose_weight_quantises_to_zero_makes_no_operations() -> None:
    pool = import_slayer().block.cuba.Pool(dict(NEURON), 2, weight_scale=0.001)
    pool(torch.zeros(1, 2, 4, 4, 3))
    sent = [torch.ones(2, 4, 4, dtype=torch.float64), torch.zeros(2, 2, 2, dtype=torch.float64)]
    assert synaptic_operations(read_graph(pool, random_example((2, 4, 4))), [], sent) == [0.0]
