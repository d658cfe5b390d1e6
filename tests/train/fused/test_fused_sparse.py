"""Products with few synapses: the same spikes as with all of a masked matrix, gradients to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_fused_blocks import assert_alike, run

from sdsnn.train.development.literal import SoftSynapse
from sdsnn.train.development.masks import attach_masks
from sdsnn.train.fused import fuse
from sdsnn.train.fused.sums import sparse
from sdsnn.train.fused.sums.currents import MatrixSums, add
from sdsnn.train.fused.sums.sparse import Pattern, SparseSums, add_products, add_weight_gradients
from sdsnn_core.lava.compat import import_slayer

cuba: Any = import_slayer().block.cuba
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small matrices go this way too."""
    monkeypatch.setattr(sparse, "SMALLEST", 1)
    monkeypatch.setattr(sparse, "SPARSE", 1.0)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_masked_matrix(seed: int, small_counts: None) -> None:
    """Sums of whole numbers are equal, gradients to rounding; units and inputs without synapses included."""
    rng = np.random.default_rng(seed)
    rows, inputs, units = (int(rng.choice([1, 15, 16, 17, 63, 64, 65, 200])) for _ in range(3))
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(units, inputs, generator=generator) < rng.choice([0, 0.01, 0.1, 1])
    pattern = Pattern.of(mask)
    assert pattern is not None
    weight = torch.randint(-128, 128, mask.shape, generator=generator).float() * mask
    listed = weight.flatten()[pattern.places].requires_grad_()
    whole = weight.requires_grad_()
    x = torch.randint(-3, 4, (rows, inputs), generator=generator).float().requires_grad_()
    gradient = torch.randn(rows, units, generator=generator)
    expected, found = add(x, whole, MatrixSums()), add(x, listed, SparseSums(pattern))
    assert torch.equal(expected, found)
    wanted = torch.autograd.grad(expected, (x, whole), gradient)
    got = torch.autograd.grad(found, (x, listed), gradient)
    assert_alike([wanted[0], wanted[1].flatten()[pattern.places]], list(got))


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.3])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_blocks_equal_slayers(
    image: bool, norm: bool, share: float, rate: float, small_counts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masked blocks go this way, and spike and learn as SLAYER's do."""
    calls: list[Pattern] = []
    forward = SparseSums.forward
    monkeypatch.setattr(
        SparseSums, "forward", lambda self, *given: (calls.append(self.pattern), forward(self, *given))[1]
    )
    found = []
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand((5, 2, 9, 11, 30) if image else (5, 198, 30), generator=generator) < rate).float()
    for fused in (False, True):
        torch.manual_seed(0)
        params = {"threshold": 0.25, "current_decay": 0.5, "voltage_decay": 0.1, "scale_grad": 3}
        model = torch.nn.Sequential(
            cuba.Dense(dict(params), (11, 9, 2) if image else 198, 70, weight_scale=9, weight_norm=norm),
            *([cuba.Flatten()] if image else []),
            cuba.Dense(dict(params), 70, 30, weight_scale=9, weight_norm=norm),
        )
        if fused:
            fuse(model)
        model(x)
        draws = torch.Generator().manual_seed(2)
        for layer in attach_masks(model):
            layer.set_mask(torch.rand(layer.mask.shape, generator=draws) < share)
        found.append(run(model, x, 1))
    assert len({id(pattern) for pattern in calls}) == 2  # one for each block, made once
    assert bool(found[0][0].any()) == (share > 0)
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


def test_a_new_mask_is_seen(small_counts: None) -> None:
    """Masks change in place, between epochs and when a checkpoint is read."""
    model = torch.nn.Sequential(cuba.Dense({"threshold": 0.25, "current_decay": 1, "voltage_decay": 0}, 40, 20))
    (layer,) = attach_masks(model)
    hook = layer.synapses[0].hook
    first = torch.rand(layer.mask.shape) < 0.5
    layer.set_mask(first)
    pattern = hook.pattern(False)
    assert pattern is not None
    assert pattern is hook.pattern(False)
    assert len(pattern.places) == int(first.sum())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    layer.set_mask(first & (torch.rand(layer.mask.shape) < 0.5))
    changed = hook.pattern(False)
    assert changed is not None
    assert len(changed.places) == int(layer.mask.sum()) < int(first.sum())
    model.load_state_dict(state)
    again = hook.pattern(False)
    assert again is not None
    assert torch.equal(again.places, pattern.places)


def test_where_absent_synapses_matter_all_are_multiplied(small_counts: None) -> None:
    """Gradients of masked weights, and soft masks, need the whole matrix; so do small and full matrices."""
    model = torch.nn.Sequential(cuba.Dense({"threshold": 0.25, "current_decay": 1, "voltage_decay": 0}, 40, 20))
    (layer,) = attach_masks(model)
    hook = layer.synapses[0].hook
    hook.accumulates = True
    assert hook.pattern(False) is None
    with torch.no_grad():
        assert hook.pattern(False) is not None
    soft = SoftSynapse(layer.synapses[0]).hook
    assert soft.pattern(False) is None
    assert soft.eval().pattern(False) is not None


def test_small_and_full_masks_have_no_pattern() -> None:
    assert Pattern.of(torch.zeros(10, 10, dtype=torch.bool)) is None
    mask = torch.zeros(200, 200, dtype=torch.bool)
    assert Pattern.of(mask) is not None
    mask[:, :20] = True
    assert Pattern.of(mask) is not None
    mask[0, 20] = True
    assert Pattern.of(mask) is None


@pytest.mark.parametrize("wrong", ["rows", "units", "weights", "bounds"])
def test_kernels_check_their_arrays(wrong: str, small_counts: None) -> None:
    pattern = Pattern.of(torch.ones(4, 6, dtype=torch.bool))
    assert pattern is not None
    x, sums, weights, last = np.zeros((3, 6), np.float32), np.zeros((3, 4), np.float32), np.zeros(24, np.float32), 3
    if wrong == "rows":
        sums = sums[:2]
    elif wrong == "units":
        sums = sums[:, :3]
    elif wrong == "weights":
        weights = weights[:5]
    else:
        last = 5
    with pytest.raises(ValueError, match="fused kernel"):
        add_products(0, last, x, pattern.offsets, pattern.indices, weights, sums)
    with pytest.raises(ValueError, match="fused kernel"):
        add_weight_gradients(0, max(last, 4), x, sums, pattern.offsets, pattern.indices, weights)
