"""SLAYER's batch norms: what a chip can hold of them is lowered exactly, the rest is refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower, lowering_problems
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer


def learned(kind: Any, params: dict[str, Any], seed: int) -> torch.nn.Sequential:
    """Return a chain of two blocks with norms that have learned from a few runs."""
    cuba, rng = import_slayer().block.cuba, np.random.default_rng(seed)
    torch.manual_seed(seed)
    scale = float(rng.choice([0.3, 1, 3]))
    chain = torch.nn.Sequential(kind(params, 6, 8, weight_scale=scale), cuba.Dense(dict(params), 8, 4, weight_scale=2))
    with torch.no_grad():
        for _ in range(int(rng.integers(1, 12))):
            chain(torch.from_numpy((rng.random((4, 6, 12)) < 0.4).astype(np.float32)))
    return chain.eval()


def test_a_weight_scale_norm_is_an_exponent_or_refused(rng: np.random.Generator) -> None:
    """SLAYER's WgtScaleBatchNorm against the reference: the power of two goes into weights, exponents and biases."""
    slayer, scales, refused = import_slayer(), set(), 0
    for seed in range(13):
        kind = slayer.block.cuba.Recurrent if seed % 4 == 3 else slayer.block.cuba.Dense
        params = {
            "threshold": float(rng.choice([0.5, 1, 2])), "voltage_decay": float(rng.choice([0.03, 0.3])),
            "current_decay": float(seed % 3 > 0 or seed % 4 == 3), "norm": slayer.neuron.norm.WgtScaleBatchNorm,
        }  # fmt: skip
        chain = learned(kind, params, seed)
        if problems := lowering_problems(chain, (6,)):
            assert all("expected weights that stay integers times 2**-" in problem for problem in problems)
            refused += 1
            continue
        network = lower(chain, (6,))
        norms = [block.neuron.norm for block in chain]  # type: ignore[union-attr]
        scales |= {float(norm.std(norm.running_var)) for norm in norms}  # type: ignore[union-attr, operator]
        spikes = (rng.random((2, 25, 6)) < 0.4).astype(np.uint8)
        activity = reference.run(network, spikes)
        for name, expected in trace(chain, spikes).items():
            np.testing.assert_array_equal(activity.spikes[name], expected, err_msg=f"seed {seed}, {name}")
    assert scales >= {0.125, 0.5, 1.0, 2.0}
    assert refused >= 1


def test_norms_without_an_exact_form_are_refused_with_the_reason() -> None:
    slayer = import_slayer()
    cuba, params = slayer.block.cuba, {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1}
    norms = slayer.neuron.norm
    for block, message in (
        (
            cuba.Dense({**params, "norm": lambda **_: torch.nn.LayerNorm([2, 4])}, 4, 2),
            "expected MeanOnlyBatchNorm or WgtScaleBatchNorm, got LayerNorm",
        ),
        (
            cuba.Dense({**params, "norm": norms.WgtScaleBatchNorm}, 4, 2),
            r"expected current_decay 1 or 0 with WgtScaleBatchNorm, .* got 0\.25",
        ),
        *(
            (
                cuba.Recurrent({**params, "norm": norm}, 4, 2),
                "expected current_decay 1 on a Recurrent block with a norm",
            )
            for norm in (norms.MeanOnlyBatchNorm, norms.WgtScaleBatchNorm)
        ),
    ):
        with pytest.raises(UnsupportedNode, match=message):
            lower([block], (4,))
