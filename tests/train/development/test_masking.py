"""Masks hold through forward, weight normalisation, the 8-bit quantiser, the optimiser and checkpoints."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from sdsnn.train.development.developer import Developer
from sdsnn.train.development.layer_graph import trace_graph
from sdsnn.train.development.literal import OpenLayer
from sdsnn.train.development.masks import MaskedLayer, attach_masks
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.5, "scale_grad": 1.0}


class Chain(torch.nn.Module):
    """Blocks one after the other, listed in the order given by `listed`, which need not be that of the forward."""

    def __init__(self, blocks: list[Any], listed: list[int] | None = None) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks[i] for i in listed or range(len(blocks)))
        self.order = [(listed or list(range(len(blocks)))).index(i) for i in range(len(blocks))]

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        for place in self.order:
            spikes = self.blocks[place](spikes)
        return spikes


def build(kind: str, norm: bool = False) -> tuple[Chain, torch.Tensor]:
    """Return a network of one hidden kind before a dense one and a readout, and random input for it."""
    torch.manual_seed(0)
    cuba = import_slayer().block.cuba
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm")
        if kind == "conv":
            blocks = [
                cuba.Conv(dict(NEURON), 2, 6, 3, padding=1, weight_scale=3, weight_norm=norm),
                cuba.Pool(dict(NEURON), 2, weight_scale=2),
                cuba.Conv(dict(NEURON), 6, 4, 3, stride=2, groups=2, weight_scale=3, weight_norm=norm),
                cuba.Flatten(),
                cuba.Dense(dict(NEURON), 4, 8, weight_scale=4, weight_norm=norm),
            ]
            shape: tuple[int, ...] = (2, 8, 8)
        elif kind == "recurrent":
            blocks = [cuba.Recurrent(dict(NEURON), 12, 10, weight_scale=3, weight_norm=norm)]
            blocks.append(cuba.Dense(dict(NEURON), 10, 8, weight_scale=4, weight_norm=norm))
            shape = (12,)
        else:
            blocks = [cuba.Dense(dict(NEURON), 12, 10, weight_scale=4, weight_norm=norm)]
            blocks.append(cuba.Dense(dict(NEURON), 10, 8, weight_scale=4, weight_norm=norm))
            shape = (12,)
        blocks.append(cuba.Dense(dict(NEURON), 8, 3, weight_scale=4, weight_norm=norm))
    x = (torch.rand(4, *shape, 12) < 0.5).float()
    model = Chain(blocks)
    with torch.no_grad():
        model(x)
    return model, x


def step(model: torch.nn.Module, x: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
    reset_state(model)
    optimiser.zero_grad()
    torch.autograd.backward((model(x).mean(-1) - 0.5).square().sum())
    optimiser.step()


KINDS = [("dense", False), ("dense", True), ("conv", False), ("conv", True), ("recurrent", False)]


def thin(layers: list[MaskedLayer], optimiser: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(1)
    for layer in layers[:-1]:
        masks = [torch.rand(s.mask.shape, generator=generator) < 0.5 for s in layer.synapses]
        for mask in masks:
            mask[1] = False  # unit 1 is pruned
        layer.set_masks(masks, optimiser)


@pytest.mark.parametrize(("kind", "norm"), KINDS)
def test_masks_hold_while_the_optimiser_works(kind: str, norm: bool) -> None:
    model, x = build(kind, norm)
    layers = attach_masks(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(3):
        step(model, x, optimiser)
    thin(layers, optimiser)
    for _ in range(4):
        step(model, x, optimiser)
        for layer in layers:
            for synapse in layer.synapses:
                deployed = synapse.hook(synapse.float_weight)
                assert (deployed[~synapse.mask] == 0).all()
                assert torch.isfinite(synapse.float_weight).all()
                for parameter in synapse.parameters:
                    for value in optimiser.state[parameter].values():
                        if isinstance(value, torch.Tensor) and value.shape == synapse.mask.shape and not norm:
                            assert (value[~synapse.mask] == 0).all()
    spikes = {}
    for layer in layers[:-1]:
        layer.block.neuron.register_forward_hook(lambda _m, _i, out, name=layer.name: spikes.update({name: out}))
    reset_state(model)
    model(x)
    for layer in layers[:-1]:
        assert not layer.unit_gate[1]
        assert (spikes[layer.name][:, 1] == 0).all(), layer.name


def test_pruned_unit_with_a_bias_is_exactly_silent_and_b7_lets_it_fire() -> None:
    cuba, norm = import_slayer().block.cuba, import_slayer().neuron.norm.MeanOnlyBatchNorm
    block = cuba.Dense({**NEURON, "norm": norm}, 4, 3, weight_scale=4)
    x = torch.zeros(1, 4, 10)
    block(x)
    block.eval()
    block.neuron.norm.running_mean[:] = -2.0  # a bias of 2 for every unit
    (layer,) = attach_masks([block])
    assert block(x).sum(-1).min() > 0
    OpenLayer(layer.name, layer.block, layer.synapses).set_mask(torch.zeros_like(layer.mask))
    assert block(x).sum(-1).min() > 0  # B7: the released code leaves the bias
    layer.close_gates()
    assert block(x).sum() == 0


def test_regrown_synapses_start_at_zero_with_fresh_moments() -> None:
    model, x = build("dense")
    layers = attach_masks(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(3):
        step(model, x, optimiser)
    synapse = layers[0].synapses[0]
    mask = torch.ones_like(synapse.mask)
    mask[:, :5] = False
    layers[0].set_masks([mask], optimiser)
    with torch.no_grad():  # whatever the float weight became while it was absent
        synapse.synapse.weight[:, :5] = 3.0
    optimiser.state[synapse.parameters[0]]["exp_avg"][:, :5] = 7.0
    layers[0].set_masks([torch.ones_like(mask)], optimiser)
    assert (synapse.float_weight[:, :5] == 0).all()
    assert (optimiser.state[synapse.parameters[0]]["exp_avg"][:, :5] == 0).all()
    step(model, x, optimiser)
    assert (synapse.float_weight[:, :5] != 0).any()


def test_a_weight_that_quantises_to_zero_counts_as_absent() -> None:
    model, _ = build("dense")
    synapse = attach_masks(model)[0].synapses[0]
    with torch.no_grad():
        synapse.synapse.weight[:] = 0.5
        synapse.synapse.weight[0, 0] = 1e-4
    assert not synapse.present[0, 0]
    assert int(synapse.present.sum()) == synapse.mask.numel() - 1


def test_masks_and_gates_travel_in_the_state_dict() -> None:
    model, _ = build("conv")
    thin(attach_masks(model), torch.optim.AdamW(model.parameters()))
    other, x = build("conv")
    attach_masks(other)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), other.eval()(x))


@pytest.mark.parametrize("kind", ["dense", "conv", "recurrent"])
def test_neighbours_come_from_the_forward_pass_not_from_the_list(kind: str) -> None:
    model, x = build(kind)
    n_blocks = len(model.blocks)
    shuffled = Chain([model.blocks[i] for i in range(n_blocks)], listed=list(reversed(range(n_blocks))))
    layers = attach_masks(shuffled)
    graph = trace_graph(shuffled, layers, x[:1])
    assert graph.successors == ((), *((i,) for i in range(len(layers) - 1)))
    developer = Developer(shuffled, x[:1], 40, DevelopmentConfig())
    assert [developer.develops(i) for i in range(len(layers))] == [False, *[True] * (len(layers) - 2), False]


def test_recurrent_blocks_with_weight_normalisation_are_refused() -> None:
    chain, _ = build("recurrent", norm=True)
    with pytest.raises(UnsupportedNode, match="expected weight_norm = false in a Recurrent block, got true"):
        attach_masks(chain)
