"""The fused recurrent loop against lava-dl's: the same spikes and states bit for bit, gradients to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.development.masks import attach_masks
from sdsnn.train.fused import fuse
from sdsnn.train.fused.kernels.loop import Feedback, Results, loop_backward, loop_forward
from sdsnn.train.fused.kernels.neuron import Constants, Keeps, States
from sdsnn_core.lava.compat import import_slayer

slayer = import_slayer()
cuba: Any = slayer.block.cuba
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")

# The gradient goes through the recurrent weights at every step; float32 sums in another order.
ROUNDING = 1e-5


def draw_block(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    params = {
        "threshold": float(rng.choice([0.5, 1.25, 80.0])),
        "current_decay": float(rng.choice([1, 0.5, 0.25])),
        "voltage_decay": float(rng.choice([1, 0.1, 0.03])),
        "tau_grad": float(rng.choice([0.03, 0.1, 1])),
        "scale_grad": float(rng.choice([1, 3])),
    }
    if rng.random() < 0.2:
        params |= {"shared_param": False, "current_decay": (0.1, 0.9), "voltage_decay": (0.0, 0.5)}
    if rng.random() < 0.2:
        params |= {"scale": int(rng.choice([100, 4096]))}
    if rng.random() < 0.1:
        params |= {"graded_spike": True}
    units, delay = int(rng.choice([1, 7, 40])), bool(rng.random() < 0.2)
    # No weight normalisation: SLAYER's loop leaves out the hook that makes the weight anew, and has no second gradient.
    return cuba.Recurrent(params, 12, units, weight_scale=float(rng.choice([1, 3, 30])), delay=delay)


def run(block: Any, x: torch.Tensor, seed: int) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    block.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)  # for delays and decays, which the first call draws
    out = block(x)
    torch.manual_seed(seed + 1)
    (out * torch.randn(out.shape)).sum().backward()
    return out.detach(), [x.grad, *(p.grad for p in block.parameters())]


@pytest.mark.parametrize("seed", range(40))
def test_equals_slayer(seed: int) -> None:
    """Four calls in a row, of other batch sizes and lengths: outputs, kept states and gradients."""
    rng = np.random.default_rng([seed, 1])
    stock, fused = draw_block(seed), draw_block(seed)
    fuse(fused)
    for call, (batch, steps) in enumerate([(2, 5), (2, 30), (3, 1), (3, 20)]):
        x = torch.from_numpy((rng.random((batch, 12, steps)) < 0.3).astype(np.float32))
        if rng.random() < 0.2:
            x = x * torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
        if rng.random() < 0.1:
            x = x * 30_000  # beyond the fast arithmetic
        expected, found = run(stock, x, call), run(fused, x, call)
        assert torch.equal(expected[0], found[0])
        for one, other in zip(stock.buffers(), fused.buffers(), strict=True):
            assert torch.equal(one, other)
        for one, other in zip(expected[1], found[1], strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert float((one - other).abs().max()) <= ROUNDING * float(one.abs().max()) + 1e-30


@pytest.mark.parametrize("closed", [False, True])
def test_masks_and_gates_hold(closed: bool) -> None:
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        block = cuba.Recurrent({"threshold": 0.5, "current_decay": 0.5, "voltage_decay": 0.1}, 12, 20, weight_scale=4)
        if fused:
            fuse(block)
        x = (torch.rand(3, 12, 25, generator=torch.Generator().manual_seed(1)) < 0.3).float()
        block(x[..., :1])
        (layer,) = attach_masks(block)
        generator = torch.Generator().manual_seed(2)
        masks = [torch.rand(synapse.mask.shape, generator=generator) < 0.5 for synapse in layer.synapses]
        for mask, synapse in zip(masks, layer.synapses, strict=True):
            synapse.hook.accumulates = True
            if closed:
                mask[::3] = False
        layer.set_masks(masks, None)
        out, gradients = run(block, x, 0)
        assert out.any()
        found.append((out, gradients, [synapse.hook.absent_gradient for synapse in layer.synapses]))
    assert bool(found[0][0][:, ::3].any()) != closed
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1] + found[0][2], found[1][1] + found[1][2], strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert float((one - other).abs().max()) <= ROUNDING * float(one.abs().max()) + 1e-30


def test_the_loop_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first call, which learns shapes, SLAYER's loop over steps is not called any more."""
    block, x = draw_block(0), torch.ones(2, 12, 4)
    fuse(block)
    block(x)
    monkeypatch.setattr(slayer.utils.recurrent, "CustomRecurrent", None)
    assert block(x).shape == (2, *block.neuron.shape, 4)


@pytest.mark.parametrize("wrong", ["z", "r", "spikes", "voltage", "states", "decays", "last"])
def test_kernels_check_their_arrays(wrong: str) -> None:
    """Arrays that do not fit together are an error, never an access beyond them."""
    shapes = dict.fromkeys(("z", "spikes", "voltage"), (4, 2, 6)) | {"r": (6, 6), "states": (2, 6), "decays": (6,)}
    if wrong in shapes:
        shapes[wrong] = tuple(size + 1 for size in shapes[wrong])
    last = 3 if wrong == "last" else 2
    z, spikes, voltage, r = (np.zeros(shapes[name], np.float32) for name in ("z", "spikes", "voltage", "r"))
    state, keep = np.zeros(shapes["states"], np.int32), np.zeros(shapes["decays"], np.int32)
    keeps, states, constants = Keeps(keep, keep), States(state, state), Constants.of(4096, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="fused kernel"):
        loop_forward(
            0, last, z, Feedback(r, np.ones(6, np.float32)), keeps, states, constants, Results(voltage, spikes)
        )
    if wrong not in ("states", "decays"):
        with pytest.raises(ValueError, match="fused kernel"):
            loop_backward(0, last, z, r, constants, voltage, spikes)
