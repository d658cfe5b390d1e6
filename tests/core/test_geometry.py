"""Geometry of convolutions against loops over every place and against torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import Window, axis_taps, connections, fan_out, output_shape, padding_pair, pair

SEEDS = range(150)


def draw(seed: int) -> tuple[tuple[int, int, int], np.ndarray, Window]:
    """Draw a source shape, a kernel with zeros and a window that fit each other."""
    rng = np.random.default_rng(seed)
    groups, per_group = (int(n) for n in rng.integers(1, 4, 2))
    window = Window(*((int(a), int(b)) for a, b in rng.integers([[1], [0], [1]], [[4], [4], [4]], (3, 2))), groups)
    kernel = rng.integers(-3, 4, (groups * int(rng.integers(1, 4)), per_group, *rng.integers(1, 4, 2)))
    least = [d * (k - 1) + 1 for d, k in zip(window.dilation, kernel.shape[2:], strict=True)]
    height, width = (int(n + rng.integers(0, 5)) for n in least)
    return (groups * per_group, height, width), kernel, window


def by_loops(shape: tuple[int, int, int], kernel: np.ndarray, window: Window) -> dict[tuple[int, int], int]:
    """Return {(source, target): weight} by the definition of a cross-correlation, one target place at a time."""
    result = {}
    c_out, per_group, kh, kw = kernel.shape
    padded = [size + 2 * pad for size, pad in zip(shape[1:], window.padding, strict=True)]
    tops = range(0, padded[0] - window.dilation[0] * (kh - 1), window.stride[0])
    lefts = range(0, padded[1] - window.dilation[1] * (kw - 1), window.stride[1])
    for target, (out, top, left) in enumerate(itertools.product(range(c_out), tops, lefts)):
        for inside, ky, kx in np.ndindex(per_group, kh, kw):
            channel = out // (c_out // window.groups) * per_group + inside
            y = top + ky * window.dilation[0] - window.padding[0]
            x = left + kx * window.dilation[1] - window.padding[1]
            if 0 <= y < shape[1] and 0 <= x < shape[2] and kernel[out, inside, ky, kx]:
                result[(channel * shape[1] + y) * shape[2] + x, target] = int(kernel[out, inside, ky, kx])
    return result


@pytest.mark.parametrize("seed", SEEDS)
def test_connections_are_those_of_the_definition(seed: int) -> None:
    shape, kernel, window = draw(seed)
    pre, post, entry = connections(shape, kernel, window)
    ours = dict(zip(zip(pre.tolist(), post.tolist(), strict=True), kernel[entry].tolist(), strict=True))
    assert len(ours) == len(pre)
    assert ours == by_loops(shape, kernel, window)


@pytest.mark.parametrize("seed", SEEDS)
def test_shape_and_sums_are_those_of_torch(seed: int) -> None:
    shape, kernel, window = draw(seed)
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 9, shape)).double()
    expected = torch.nn.functional.conv2d(x[None], torch.from_numpy(kernel).double(), None, *window)[0]
    assert output_shape(shape, kernel.shape, window) == tuple(expected.shape)
    pre, post, entry = connections(shape, kernel, window)
    sums = np.bincount(post, kernel[entry] * x.numpy().reshape(-1)[pre], expected.numel())
    np.testing.assert_array_equal(sums, expected.numpy().reshape(-1))


@pytest.mark.parametrize("seed", SEEDS)
def test_fan_out_counts_the_connections(seed: int) -> None:
    shape, kernel, window = draw(seed)
    counts = np.zeros(int(np.prod(shape)), np.int64)
    for source, _ in by_loops(shape, kernel, window):
        counts[source] += 1
    np.testing.assert_array_equal(fan_out(shape, kernel, window).reshape(-1), counts)


def test_taps_of_an_axis() -> None:
    assert axis_taps(4, 3, 2, 1, 1).tolist() == [[-1, 1], [0, 2], [1, 3]]
    assert axis_taps(2, 3, 1, 0, 1).shape == (3, 0)


def test_padding_by_name() -> None:
    assert padding_pair("same", (3, 5), (1, 1), (2, 1), "node") == (2, 2)
    assert padding_pair("valid", (3, 5), (2, 1), (1, 1), "node") == (0, 0)
    assert padding_pair(np.array([3]), (3, 5), (1, 1), (1, 1), "node") == (3, 3)
    for given, kernel, stride in (("same", (2, 3), (1, 1)), ("same", (3, 3), (2, 1)), ("full", (3, 3), (1, 1))):
        with pytest.raises(NetworkError, match="node padding: expected integers, 'valid', or 'same' with stride 1"):
            padding_pair(given, kernel, stride, (1, 1), "node")


@pytest.mark.parametrize("values", [1.5, (1, 2, 3), "x"])
def test_what_is_no_pair(values: object) -> None:
    with pytest.raises(NetworkError, match="stride: expected one or two integers, got "):
        pair(values, "stride")


def test_sources_that_do_not_fit() -> None:
    with pytest.raises(NetworkError, match="expected 4 channels of rows and columns, got shape"):
        output_shape((3, 5, 5), (2, 2, 3, 3), Window(groups=2))
    with pytest.raises(NetworkError, match="expected places for a kernel"):
        output_shape((1, 2, 5), (2, 1, 3, 3), Window())
