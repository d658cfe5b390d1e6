"""The trainer's Adam is torch's, fused where torch can."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdsnn.train.run.parts.optimiser import adam


def walk(make: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(50, 20, generator=generator))
    optimiser = make([weight])
    for _ in range(20):
        weight.grad = torch.randn(50, 20, generator=generator)
        optimiser.step()
    return weight.detach()


def test_it_walks_where_torchs_adamw_walks() -> None:
    plain = walk(lambda weights: torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1))
    torch.testing.assert_close(walk(lambda weights: adam(weights, 0.01, 0.1)), plain, rtol=1e-5, atol=1e-6)


def test_it_falls_back_where_torch_has_no_fused_step(monkeypatch: pytest.MonkeyPatch) -> None:
    made = torch.optim.AdamW

    def old(weights: Any, fused: bool = False, **keys: Any) -> torch.optim.Optimizer:
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be on a GPU")
        return made(weights, **keys)

    monkeypatch.setattr(torch.optim, "AdamW", old)
    assert adam([torch.nn.Parameter(torch.zeros(2))], 0.01).defaults["lr"] == 0.01
