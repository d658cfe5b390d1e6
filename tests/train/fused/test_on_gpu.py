"""The synapses that run on GPUs against SLAYER's, on this machine's CPU: torch's operators are the same there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.fused.synapses import SYNAPSES
from sdsnn_core.lava.compat import import_slayer

synapse: Any = import_slayer().synapse


def draw(rng: np.random.Generator, kind: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """Return one of SLAYER's synapses, and the shape of an input."""
    batch, steps = int(rng.integers(1, 4)), int(rng.choice([1, 2, 9]))
    if kind == "dense":
        units = int(rng.integers(1, 9))
        return synapse.Dense(units, int(rng.integers(1, 9)), weight_scale=2), (batch, units, steps)
    height, width = (int(n) for n in rng.integers(5, 9, 2))
    if kind == "dense over images":
        shape = (3, height, width)
        return synapse.Dense((width, height, 3), int(rng.integers(1, 9)), weight_scale=2), (batch, *shape, steps)
    if kind == "pool":
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        height, width = height - height % kernel[0], width - width % kernel[1]
        return synapse.Pool(kernel, weight_scale=1.4), (batch, 3, height, width, steps)
    groups = int(rng.choice([1, 2]))
    stride, padding, dilation = (tuple(int(n) for n in rng.integers(low, 3, 2)) for low in (1, 0, 1))
    kernel = tuple(int(n) for n in rng.integers(1, 3, 2))
    conv = synapse.Conv(
        4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, weight_scale=2
    )  # fmt: skip
    return conv, (batch, 4, height, width, steps)


@pytest.mark.parametrize("kind", ["dense", "dense over images", "pool", "conv"])
@pytest.mark.parametrize("seed", range(12))
def test_currents_and_gradients_are_slayers(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([seed, len(kind)])
    torch.manual_seed(seed)
    module, shape = draw(rng, kind)
    with torch.no_grad():
        module.weight.copy_((module.weight * 16).round() / 64)
    x = torch.from_numpy((rng.random(shape) < 0.3).astype(np.float32))
    results = []
    for ours in (False, True):
        if ours:
            module.__class__ = SYNAPSES[type(module)]
            assert module._fits(x, module.weight)
            monkeypatch.setattr(type(module), "forward", lambda self, x: self._on_gpu(x, self.quantised()))
        given = x.clone().requires_grad_()
        module.weight.grad = None
        currents = module(given)
        size = torch.Generator().manual_seed(1)
        (currents * torch.randn(currents.shape, generator=size)).sum().backward()
        results.append((currents.detach(), given.grad, module.weight.grad))
    (stock, *slopes), (found, *ours_slopes) = results
    assert torch.equal(stock, found)
    for expected, gradient in zip(slopes, ours_slopes, strict=True):
        if expected is None or gradient is None:
            assert expected is gradient
        else:
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
