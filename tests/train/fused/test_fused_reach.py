"""Convolutions of sparse spikes against torch's in float64, and what is kept and skipped for the way back."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from sdsnn.train.fused import fuse
from sdsnn.train.fused.kernels.reach import gather_gradients, spread_spikes
from sdsnn.train.fused.sums import reach
from sdsnn.train.fused.sums.currents import ConvSums
from sdsnn.train.fused.sums.events import look_at
from sdsnn.train.fused.sums.reach import Axis, Reach, ReachSums
from sdsnn.train.fused.sums.whole import WholeWeights, usable
from sdsnn_core.lava.compat import import_slayer

cuba: Any = import_slayer().block.cuba


def draw(rng: np.random.Generator) -> tuple[ReachSums, torch.Tensor, torch.Tensor]:
    """Draw a convolution of spikes (images, height, width, channels) with weights that are whole numbers."""
    kernel = tuple(int(n) for n in rng.integers(1, 6, 2))
    padding = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    size = tuple(int(k + rng.integers(0, 9)) for k in kernel)
    stride = tuple(int(n) for n in rng.choice([1, 1, 2, 3, 7], 2))
    channels, units, images = int(rng.integers(1, 5)), int(rng.choice([1, 3, 4, 16, 23, 48])), int(rng.choice([1, 40]))
    x = torch.from_numpy(rng.random((images, *size, channels)) < rng.choice([0, 0.02, 0.1, 1])).float()
    weight = torch.from_numpy(rng.integers(-128, 128, (units, channels, *kernel))).float()
    events = look_at(x.flatten(1), 1.0).events
    assert events is not None
    return ReachSums(ConvSums(stride, padding, (1, 1), 1), events, x.shape, weight), x, weight


@pytest.mark.parametrize("seed", range(60))
def test_equals_convolution(seed: int) -> None:
    """Any geometry: the currents are exact; the gradients agree to rounding; the number of threads changes no bit."""
    rng = np.random.default_rng(seed)
    sums, x, weight = draw(rng)
    expected_x, expected_weight = x.double().requires_grad_(), weight.double().requires_grad_()
    out = conv2d(expected_x.permute(0, 3, 1, 2), expected_weight, None, sums.conv.stride, sums.conv.padding).permute(
        0, 2, 3, 1
    )
    gradient = torch.from_numpy(rng.normal(size=out.shape)).float()
    out.backward(gradient.double())
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            to_x = torch.empty_like(x)
            found.append((sums.forward(x, weight), sums.backward(x, weight, gradient, to_x, to_weight=True), to_x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0][0].double(), out)
    for mine, theirs in zip(found[0][1:], (expected_weight.grad, expected_x.grad), strict=True):
        assert mine is not None
        assert theirs is not None
        assert mine.shape == theirs.shape
        assert float((mine - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])  # type: ignore[arg-type]


def test_some_images_at_a_time() -> None:
    """Chunks take their own images' spikes."""
    seeds = (np.random.default_rng(seed) for seed in range(100))
    sums, x, weight = next(drawn for drawn in map(draw, seeds) if len(drawn[1]) == 40 and 0 < drawn[1].mean() < 1)
    gradient = torch.randn(sums.forward(x, weight).shape)
    parts = [slice(0, 7), slice(7, 30), slice(30, 40)]
    out = torch.cat([sums.forward(x[part], weight, part.start) for part in parts])
    assert torch.equal(out, sums.forward(x, weight))
    whole = sums.backward(x, weight, gradient, None, to_weight=True)
    assert whole is not None
    for _ in range(2):  # a graph that is kept goes back again
        gradients = [sums.backward(x[p], weight, gradient[p], None, True, p.start) for p in reversed(parts)]
        assert gradients[:-1] == [None, None]
        assert gradients[-1] is not None
        assert torch.allclose(gradients[-1], whole, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("wrong", ["last", "reach", "lines", "weights", "parts", "entries"])
def test_kernels_check_their_arrays(wrong: str) -> None:
    """Arrays that do not fit together are an error, never an access beyond them."""
    table, lines = Reach(Axis(5, 5, 3, 1, 1), Axis(4, 4, 3, 1, 1), 2, 6).tables
    offsets, indices = np.array([0, 1, 2]), np.array([0, 39], np.int32)
    images, weights, parts, last = np.zeros((2, 120), np.float32), np.zeros(108, np.float32), 1, 2
    if wrong == "last":
        last = 3
    elif wrong == "reach":
        images = images[:, :114].copy()
    elif wrong == "lines":
        lines = (lines[0] + 1, lines[1])
    elif wrong == "weights":
        weights = weights[:-1]
    elif wrong == "parts":
        parts = 0
    else:
        table = np.ascontiguousarray(table[:, :3])
    if wrong != "parts":
        with pytest.raises(ValueError, match="fused kernel"):
            spread_spikes(0, last, offsets, indices, table, lines, weights, images)
    out = np.zeros((parts, weights.size), np.float32)
    with pytest.raises(ValueError, match="fused kernel"):
        gather_gradients(0, last if wrong == "last" else 1, offsets, indices, table, lines, images, out)


def conv_and_pool(**more: Any) -> torch.nn.Sequential:
    """Return a convolution and a pooling block; they go back together when fused."""
    torch.manual_seed(0)
    params = {"threshold": 0.5, "current_decay": 0.5, "voltage_decay": 0.1, "tau_grad": 0.03, "scale_grad": 3} | more
    return torch.nn.Sequential(
        cuba.Conv(dict(params), 2, 5, 3, padding=1, weight_scale=3), cuba.Pool(dict(params), 2, weight_scale=1.4)
    )


def spikes(rate: float = 0.1) -> torch.Tensor:
    return (torch.rand(3, 2, 8, 6, 20, generator=torch.Generator().manual_seed(0)) < rate).float()


@pytest.mark.parametrize("watched", ["nothing", "hook", "retained", "used twice", "changed"])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_pooling_goes_back_with_the_block_before(watched: str, rate: float) -> None:
    """Gradients are SLAYER's whoever else uses the spikes between the two; who looks at their gradient sees it."""
    assert (rate > reach.SPARSE) == (rate == 0.5)
    results = []
    for fused in (False, True):
        model, x, seen = conv_and_pool(), spikes(rate).requires_grad_(), []
        model(x)
        if fused:
            fuse(model)
        between = model[0](x)
        if watched == "hook":
            between.register_hook(lambda gradient, seen=seen: seen.append(gradient.clone()))
        elif watched == "retained":
            between.retain_grad()
        elif watched == "changed":
            between = between * 0.5
        out = model[1](between)
        if fused:
            node = out.grad_fn
            while "Pass" not in node.name():
                node = node.next_functions[0][0]
            assert (node.name() == "_PooledPassBackward") == (watched in ("nothing", "used twice"))
        torch.manual_seed(1)
        loss = (out * torch.randn(out.shape)).sum() + (between.square().sum() if watched == "used twice" else 0)
        loss.backward()
        seen += [between.grad] if watched == "retained" else []
        results.append([out.detach(), model[0].synapse.weight.grad, x.grad, *seen])
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].any()
    for theirs, mine in zip(results[0][1:], results[1][1:], strict=True):
        assert float((mine - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


def test_pooling_after_the_way_back() -> None:
    """Spikes whose own graph a backward pass freed still go through a pooling block; only a second way back fails."""
    model, x = conv_and_pool(), spikes()
    expected = model(x)
    fuse(model)
    between = model[0](x)
    between.sum().backward()
    out = model[1](between)
    assert torch.equal(out, expected)
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


def test_the_way_back_frees_the_voltages() -> None:
    """After a backward pass a graph that somebody still holds keeps no tensor of the two blocks alive."""
    model, x = conv_and_pool(), spikes()
    model(x)
    fuse(model)
    between = model[0](x)
    node = between.grad_fn
    while node.name() != "_PassBackward":
        node = node.next_functions[0][0]
    voltage = weakref.ref(node.saved_tensors[2])
    node_itself = weakref.ref(node)
    loss = model[1](between).sum()
    del between, node
    loss.backward()
    gc.collect()
    assert voltage() is None
    assert node_itself() is None
    assert loss.grad_fn is not None


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_whole_numbers(seed: int) -> None:
    """Weights of 8 bits at any power of two, as a matrix and as a convolution: the sums are exact."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2]))
    weight = torch.from_numpy(rng.integers(-128, 128, (64, 32 // groups, 3, 3)) * 2.0 ** rng.integers(-20, 20)).float()
    weight *= rng.choice([1, -1, 0.5]) if not bool((weight == weight.min()).all()) else 1
    x = (torch.rand(3, 32, 9, 7, generator=torch.Generator().manual_seed(seed)) < 0.5).float()
    whole = WholeWeights.of(weight)
    assert (whole is None) == (not usable() or float((weight / whole_unit(weight)).max()) > 127)
    if whole is not None:
        stride, padding, dilation = rng.integers(1, 3, 2), rng.integers(0, 3, 2), rng.integers(1, 3, 2)
        geometry = tuple(tuple(int(n) for n in pair) for pair in (stride, padding, dilation))
        expected = conv2d(x.double(), weight.double(), None, *geometry, groups=groups)
        assert torch.equal(whole.convolution(x, geometry, groups).double(), expected)
        matrix = WholeWeights.of(weight.flatten(1))
        assert matrix is not None
        spikes = x.flatten()[: 20 * weight[0].numel()].view(-1, weight[0].numel())
        assert torch.equal(matrix.product(spikes).double(), spikes.double() @ weight.flatten(1).double().t())


def whole_unit(weight: torch.Tensor) -> float:
    """Return the largest power of two of which all weights are multiples."""
    unit = 2.0**40
    while not bool((weight / unit == (weight / unit).round()).all()):
        unit /= 2
    return unit


@pytest.mark.parametrize("changed", ["finer", "larger", "nan", "zero", "many inputs"])
def test_other_weights_stay_float32(changed: str) -> None:
    weight = torch.randint(-127, 128, (8, 2**17 if changed == "many inputs" else 600)).float()
    weight[0, :2] = torch.tensor([127.0, 1.0])
    if changed in ("finer", "larger", "nan"):
        weight[3, 5] = {"finer": 1.5, "larger": 128.0, "nan": float("nan")}[changed]
    assert WholeWeights.of(weight * (changed != "zero")) is None
