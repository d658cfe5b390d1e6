"""Convolutions of few channels: the same spikes as with all of them, gradients to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_fused_blocks import assert_alike, run

from sdsnn.train.development.literal import SoftSynapse
from sdsnn.train.development.masks import MaskedLayer, attach_masks
from sdsnn.train.fused import fuse
from sdsnn.train.fused.kernels.channels import spread_channels, take_channels
from sdsnn.train.fused.sums import channels as sums_of_channels
from sdsnn.train.fused.sums.channels import Channels, Places
from sdsnn_core.lava.compat import import_slayer

cuba: Any = import_slayer().block.cuba
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")
NEURON = {"threshold": 0.25, "current_decay": 0.5, "voltage_decay": 0.1, "scale_grad": 3}


def remove_channels(layers: list[MaskedLayer], rng: np.random.Generator, share: float) -> None:
    """Mask some units of each layer but the last, what they reach or not, and some synapses of the others."""
    present = None
    for layer in layers:
        mask = layer.mask.clone()
        if present is not None and len(present) == mask.shape[1] and rng.random() < 0.5:
            mask[:, ~present] = False
        present = torch.from_numpy(rng.random(len(mask)) < share)
        present[int(rng.integers(len(mask)))] = True
        if layer is not layers[-1]:
            mask[~present] = False
        layer.set_mask(mask & (torch.from_numpy(rng.random(mask.shape)) < 0.8))
        layer.unit_gate.copy_(layer.mask.flatten(1).any(1) | (rng.random() < 0.5))
        layer.unit_gate[int(rng.integers(len(mask)))] &= rng.random() < 0.5  # a unit that has synapses, perhaps


def convolutions(rng: np.random.Generator) -> torch.nn.Module:
    """Draw two convolutions, a pool behind the first or not, and a readout."""
    sizes = [int(n) for n in rng.choice([1, 2, 5, 16, 33], 3)]
    kernels, strides, paddings = rng.choice([1, 3, 5], 2), rng.choice([1, 2], 2), rng.choice([0, 1, 2], 2)
    blocks: list[torch.nn.Module] = []
    for k in range(2):
        geometry = {"stride": int(strides[k]), "padding": int(paddings[k]), "weight_norm": bool(rng.integers(2))}
        delay = {"delay_shift": bool(rng.integers(2)), "weight_scale": 9}
        blocks.append(cuba.Conv(dict(NEURON), sizes[k], sizes[k + 1], int(kernels[k]), **geometry, **delay))
        if k == 0 and rng.integers(2):
            blocks.append(cuba.Pool(dict(NEURON), 2, delay_shift=False))
    return torch.nn.Sequential(*blocks, cuba.Flatten())


@pytest.mark.parametrize("seed", range(24))
def test_blocks_equal_slayers(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked convolutions spike and learn as SLAYER's do, with many spikes and with few, gates open and closed."""
    calls: list[Channels] = []
    between = Channels.between
    monkeypatch.setattr(Channels, "between", lambda self, weight: (calls.append(self), between(self, weight))[1])
    found = []
    for fused in (False, True):
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        model = convolutions(rng)
        if fused:
            fuse(model)
        size = (3, model[0].synapse.in_channels, *(int(n) for n in rng.integers(14, 20, 2)), 12)
        x = torch.from_numpy(rng.random(size) < rng.choice([0.02, 0.5])).float()
        model(x)
        layers = attach_masks(model)
        remove_channels(layers, rng, 0.3)
        found.append(run(model, x, seed))
    assert bool(calls) >= any(layer.synapses[0].hook.channels() is not None for layer in layers)
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


def test_decays_of_channels_go_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the whole convolution: SLAYER's own code for a CPU has no decays of channels."""
    found = []
    for few in (0.0, 1.0):
        monkeypatch.setattr(sums_of_channels, "FEW", few)
        torch.manual_seed(0)
        neuron = {**NEURON, "current_decay": (0.1, 0.9), "voltage_decay": (0.05, 0.5), "shared_param": False}
        model = torch.nn.Sequential(cuba.Conv(neuron, 2, 12, 3, weight_scale=9), cuba.Flatten())
        fuse(model)
        x = (torch.rand(3, 2, 9, 9, 12) < 0.5).float()
        model(x)
        (layer,) = attach_masks(model)
        layer.set_mask(layer.mask & (torch.rand(12) < 0.4).reshape(-1, 1, 1, 1, 1))
        found.append(run(model, x, 0))
    assert bool(found[0][0].any())
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


@pytest.mark.parametrize("watched", [False, True])
def test_inputs_of_removed_units_are_left_out(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synapses from a removed unit are not masked; they stay in only where the gradient of its spikes is watched."""
    inputs: list[int] = []
    between = Channels.between
    monkeypatch.setattr(
        Channels, "between", lambda self, weight: (inputs.append(len(self.inputs.indices)), between(self, weight))[1]
    )
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            cuba.Conv(dict(NEURON), 3, 8, 3, weight_scale=9), cuba.Conv(dict(NEURON), 8, 6, 3, weight_scale=9),
        )  # fmt: skip
        if fused:
            fuse(model)
        x = (torch.rand(3, 3, 9, 9, 12) < 0.5).float()
        model(x)
        first, _ = attach_masks(model)
        first.set_mask(first.mask & (torch.arange(8) % 4 == 0).reshape(-1, 1, 1, 1, 1))
        kept: list[torch.Tensor] = []
        if watched:
            model[0].register_forward_hook(
                lambda _block, _inputs, spikes, kept=kept: (spikes.retain_grad(), kept.append(spikes))[1]
            )
        out, gradients = run(model, x, 0)
        found.append((out, [*gradients, *(spikes.grad for spikes in kept)]))
    assert inputs == ([3] if watched else [3, 2])
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


class Turned(torch.nn.Module):
    """A module of a user: reorders the axes of what its blocks pass on."""

    def __init__(self, first: torch.nn.Module, second: torch.nn.Module, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.second, self.axes = first, second, axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes: torch.Tensor = self.second(self.first(x).permute(self.axes))
        return spikes


@pytest.mark.parametrize("kind", ["conv", "pool"])
@pytest.mark.parametrize("axes", [(0, 2, 1, 3, 4), (0, 3, 2, 1, 4), (0, 1, 3, 2, 4), (0, 1, 2, 4, 3)])
def test_axes_may_be_reordered_between_blocks(kind: str, axes: tuple[int, ...]) -> None:
    """All axes have the same size, so that only their order in memory tells them apart."""
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        second = cuba.Conv(dict(NEURON), 8, 4, 3, weight_scale=9) if kind == "conv" else cuba.Pool(dict(NEURON), 2)
        model = Turned(cuba.Conv(dict(NEURON), 2, 8, 3, padding=1, weight_scale=9), second, axes)
        if fused:
            fuse(model)
        x = (torch.rand(3, 2, 8, 8, 8) < 0.5).float()
        model(x)
        if kind == "conv":
            layer = attach_masks(model)[0]
            layer.set_mask(layer.mask & (torch.arange(8) < 3).reshape(-1, 1, 1, 1, 1))
        found.append(run(model, x, 0))
    assert bool(found[0][0].any())
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


def test_units_that_spike_at_rest_are_not_left_out() -> None:
    """A threshold below zero makes units without synapses spike."""
    model = torch.nn.Sequential(cuba.Conv({**NEURON, "threshold": -0.25}, 2, 8, 3))
    fuse(model)
    x = torch.zeros(1, 2, 5, 5, 4)
    model(x)
    (layer,) = attach_masks(model)
    layer.set_mask(layer.mask & (torch.arange(8) < 2).reshape(-1, 1, 1, 1, 1))
    layer.unit_gate.fill_(True)
    assert bool((model(x)[..., 1:] == 1).all())  # a step late


def masked_convolution() -> tuple[MaskedLayer, Any]:
    model = torch.nn.Sequential(cuba.Conv({"threshold": 0.25, "current_decay": 1, "voltage_decay": 0}, 6, 8, 3))
    (layer,) = attach_masks(model)
    return layer, layer.synapses[0].hook


def test_channels_follow_the_mask() -> None:
    """Channels without any synapse are left out, once they are half of the pairs; a new mask is seen."""
    layer, hook = masked_convolution()
    assert hook.channels() is None
    mask = torch.zeros_like(layer.mask)
    mask[[1, 3, 6], :, 0, 0] = True
    layer.set_mask(mask)
    channels = hook.channels()
    assert channels.units.indices.tolist() == [1, 3, 6]
    assert channels.inputs.indices.tolist() == [0, 1, 2, 3, 4, 5]
    assert channels is hook.channels()
    mask[:, [0, 5]] = False
    layer.set_mask(mask)
    assert hook.channels().inputs.indices.tolist() == [1, 2, 3, 4]
    layer.set_mask(torch.zeros_like(mask))  # nothing to convolve
    assert hook.channels() is None


def test_where_absent_synapses_matter_all_channels_are_convolved() -> None:
    """Gradients of masked weights, and soft masks, need the whole convolution."""
    layer, hook = masked_convolution()
    layer.set_mask(torch.zeros_like(layer.mask).index_fill_(0, torch.tensor([2]), True))
    hook.accumulates = True
    assert hook.channels() is None
    with torch.no_grad():
        assert hook.channels() is not None
    soft = SoftSynapse(layer.synapses[0]).hook
    assert soft.channels() is None  # type: ignore[attr-defined]
    assert soft.eval().channels() is not None


def test_places_take_and_spread() -> None:
    places = Places.of(torch.tensor([False, True, True, False]))
    x = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(places.take(x), x[..., 1:3])
    assert torch.equal(places.spread(x[..., 1:3].contiguous()), x * torch.tensor([0.0, 1, 1, 0]))


@pytest.mark.parametrize("kernel", [take_channels, spread_channels])
@pytest.mark.parametrize(("last", "places"), [(3, [0, 1]), (2, [0, 4]), (2, [-1, 1]), (2, [0])])
def test_arrays_that_do_not_fit_are_refused(kernel: Any, last: int, places: list[int]) -> None:
    few, every = np.zeros((2, 2), np.float32), np.zeros((2, 4), np.float32)
    source, out = (every, few) if kernel is take_channels else (few, every)
    with pytest.raises(ValueError, match="do not fit together"):
        kernel(0, last, source, np.array(places, np.int32), out)
