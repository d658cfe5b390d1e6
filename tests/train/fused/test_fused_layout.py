"""Moving axes against NumPy's, short runs, and kernels that check their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.fused.kernels.neuron import Constants, Keeps, States
from sdsnn.train.fused.kernels.pooling import Layer, back_through_pool
from sdsnn.train.fused.kernels.transpose import steps_outermost, transpose_images
from sdsnn.train.fused.kernels.vectors import add_run, copy_run
from sdsnn.train.fused.layout import flatten, time_last, time_major


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (3, 2, 5, 7, 4), (2, 17, 3, 1, 33), (130, 1, 2, 2, 1)])
def test_axes(shape: tuple[int, ...]) -> None:
    """Steps go outermost and channels innermost; flattened neurons are in SLAYER's order; and back for gradients."""
    x = torch.randn(shape)
    memory = time_major(x)
    assert memory.is_contiguous()
    assert torch.equal(memory, x.permute(4, 0, 2, 3, 1))
    source = time_last(memory.clone()).requires_grad_()
    flat = flatten(source)
    assert torch.equal(flat, x.flatten(1, 3))
    assert time_major(flat).data_ptr() == flat.data_ptr()
    weights = torch.randn(flat.shape)
    flat.backward(weights)
    assert source.grad is not None
    assert torch.equal(source.grad, weights.view(shape))


@pytest.mark.parametrize("n", [0, 1, 3, 4, 15, 16, 23, 48, 61])
def test_runs(n: int) -> None:
    """Runs of any length, anywhere: nothing beside them changes."""
    rng = np.random.default_rng(n)
    source, target = (rng.normal(size=80).astype(np.float32) for _ in range(2))
    for kernel, expected in ((add_run, target[5 : 5 + n] + source[9 : 9 + n]), (copy_run, source[9 : 9 + n])):
        out = target.copy()
        kernel(out, 5, source, 9, n)
        np.testing.assert_array_equal(out, np.concatenate([target[:5], expected, target[5 + n :]]))


def test_moves_check_their_arrays() -> None:
    x, out = np.zeros((2, 3, 4), np.float32), np.zeros((2, 4, 3), np.float32)
    for last, target in ((3, out), (2, x)):
        with pytest.raises(ValueError, match="fused kernel"):
            transpose_images(0, last, x, target)
        with pytest.raises(ValueError, match="fused kernel"):
            steps_outermost(0, last, x[..., None].copy(), target[None])


@pytest.mark.parametrize(
    "wrong", ["last", "gradient", "voltage", "carries", "out", "keeps", "channels", "kernel", "steps"]
)
def test_way_back_through_pooling_checks_its_arrays(wrong: str) -> None:
    """Arrays that do not fit together are an error, never an access beyond them."""
    large, small, last, kernel, channels = (3, 2, 4, 8), (3, 2, 2, 4), 2, (2, 2), 2
    arrays: dict[str, Any] = {"gradient": small, "out": large, "voltage": large, "pooled": small, "carries": large[1:]}
    if wrong in arrays:
        arrays[wrong] = (*arrays[wrong][:-1], arrays[wrong][-1] - 2)
    if wrong == "steps":
        arrays |= dict.fromkeys(("gradient", "pooled"), (4, *small[1:]))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in arrays.items()}
    last = 3 if wrong == "last" else last
    channels = 3 if wrong == "channels" else channels
    kernel = (0, 2) if wrong == "kernel" else kernel
    keep, constants = np.ones(4 if wrong == "keeps" else 1, np.float32), Constants.of(64, 1.0, 1.0, 1.0)
    pooled_carries = np.zeros(small[1:], np.float32)
    layer = Layer(arrays["voltage"], Keeps(keep, keep), States(arrays["carries"], arrays["carries"]), constants)
    pooling = Layer(arrays["pooled"], Keeps(keep, keep), States(pooled_carries, pooled_carries), constants)
    with pytest.raises(ValueError, match="fused kernel"):
        back_through_pool(0, last, arrays["gradient"], pooling, layer, kernel, channels, np.float32(1), arrays["out"])
