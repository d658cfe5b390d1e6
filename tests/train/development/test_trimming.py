"""Trimming takes what cannot matter, and nothing else: the spikes that leave the network stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from developing_runs import chain_graph
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from slayer_models import draw_model

from sdsnn.train.development.layer_graph import trace_graph
from sdsnn.train.development.masks import MaskedLayer, attach_masks
from sdsnn.train.development.reachability import reaching_units, trim
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}


def dense(inputs: int, units: int) -> Any:
    return import_slayer().block.cuba.Dense(dict(NEURON), inputs, units, weight_scale=4)


class Joined(torch.nn.Module):
    """Two layers and what stands between them. outer: the spikes of the first leave the network too."""

    def __init__(self, join: Callable[[Any, torch.Tensor], torch.Tensor], inputs: int, outer: bool = False) -> None:
        super().__init__()
        self.hidden, self.readout, self.join, self.outer = dense(8, 8), dense(inputs, 8), join, outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.readout(self.join(self.hidden, x))
        return spikes + self.hidden(x) if self.outer else spikes


JOINS: dict[str, tuple[Callable[[Any, torch.Tensor], torch.Tensor], int, bool]] = {
    "beside the input": (lambda hidden, x: torch.cat([hidden(x), x], 1), 16, False),
    "added to the input": (lambda hidden, x: hidden(x) + x, 8, False),
    "twice": (lambda hidden, x: torch.cat([hidden(x)] * 2, 1), 16, False),
    "turned": (lambda hidden, x: hidden(x).flip(1), 8, False),
    "every other": (lambda hidden, x: hidden(x)[:, ::2], 4, False),
    "leaves the network too": (lambda hidden, x: hidden(x), 8, True),
}


def run(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    reset_state(model)
    with torch.no_grad():
        return model(x).clone()


def thin(rng: np.random.Generator, layers: list[MaskedLayer]) -> None:
    for layer in layers:
        masks = []
        silent = torch.from_numpy(rng.random(layer.n_units) < rng.choice([0.0, 0.3, 0.7]))
        for synapse in layer.synapses:
            keep = torch.from_numpy(rng.random(tuple(synapse.mask.shape)) < rng.choice([0.05, 0.2, 0.5]))
            keep[silent] = False
            masks.append(keep)
        layer.set_masks(masks, None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_a_trimmed_chain_spikes_at_its_end_as_the_untrimmed_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_model(rng)
    model = torch.nn.Sequential(*blocks)
    layers = attach_masks(model)
    # Biased units without synapses are silenced; normalised weights are made anew, to rounding.
    assume(not any(synapse.normalised for layer in layers for synapse in layer.synapses))
    assume(not any(getattr(layer.block.neuron, "norm", None) for layer in layers))
    thin(rng, layers)
    x = torch.from_numpy((rng.random((3, *shape, 25)) < rng.choice([0.2, 0.6])).astype(np.float32))
    graph = trace_graph(model, layers, x[:1])
    assert graph == chain_graph(len(layers))
    before = run(model, x)
    trim(layers, graph, None)
    torch.testing.assert_close(run(model, x), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", JOINS)
def test_where_inputs_cannot_be_told_apart_nothing_that_matters_goes(name: str) -> None:
    torch.manual_seed(0)
    join, inputs, outer = JOINS[name]
    model = Joined(join, inputs, outer).eval()
    x = (torch.rand(10, 8, 30) < 0.5).float()
    model(x)
    layers = attach_masks(model)
    graph = trace_graph(model, layers, x[:1])
    assert graph.successors == ((1,), ())
    silent, unheard = torch.ones_like(layers[0].mask), torch.ones_like(layers[1].mask)
    silent[:3] = False
    unheard[:, 3:5] = False
    layers[0].set_mask(silent)
    layers[1].set_mask(unheard)
    before = run(model, x)
    trim(layers, graph, None)
    torch.testing.assert_close(run(model, x), before, rtol=0, atol=0)
    assert before.any(), "a silent network shows nothing"


def test_a_unit_that_reaches_the_readout_through_the_loop_alone_stays() -> None:
    cuba = import_slayer().block.cuba
    model = torch.nn.Sequential(cuba.Recurrent(dict(NEURON), 2, 4), dense(4, 1))
    model(torch.zeros(1, 2, 2))
    layers = attach_masks(model)
    used = torch.zeros_like(layers[1].mask)
    used[0, 3] = True
    loop = torch.zeros_like(layers[0].synapses[1].mask)
    loop[3, 2] = loop[2, 1] = loop[0, 0] = True  # 1 -> 2 -> 3 -> readout; 0 feeds only itself
    layers[0].set_masks([torch.ones_like(layers[0].mask), loop], None)
    layers[1].set_mask(used)
    graph = chain_graph(2)
    assert reaching_units(layers, graph, 0).tolist() == [False, True, True, True]
    trim(layers, graph, None)
    assert layers[0].unit_gate.tolist() == [False, True, True, True]


def test_units_and_inputs_of_a_chain_with_pool_and_flatten_go_with_their_channels() -> None:
    cuba = import_slayer().block.cuba
    model = torch.nn.Sequential(
        cuba.Conv(dict(NEURON), 1, 3, 3, padding=1),
        cuba.Pool(dict(NEURON), 2),
        cuba.Flatten(),
        dense(12, 5),
        dense(5, 2),
    )
    x = torch.zeros(1, 1, 4, 4, 3)
    model(x)
    layers = attach_masks(model)
    graph = trace_graph(model, layers, x)
    assert graph == chain_graph(3)
    masks = [torch.ones_like(layer.mask) for layer in layers]
    masks[0][1] = False  # a channel falls silent
    masks[1][:, 8:] = False  # nobody hears the last channel
    masks[2][:, 4] = False  # nor the last unit
    for layer, mask in zip(layers, masks, strict=True):
        layer.set_mask(mask)
    trim(layers, graph, None)
    assert layers[0].unit_gate.tolist() == [True, False, False]
    assert layers[1].mask.flatten(1).any(0).tolist() == [True] * 4 + [False] * 8
    assert layers[1].unit_gate.tolist() == [True] * 4 + [False]
