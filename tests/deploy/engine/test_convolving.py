"""Convolutions in the engine: windows of weights add what the convolution's single synapses say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import random_network

from sdsnn.deploy.engine import Engine
from sdsnn.deploy.engine import tables as tb
from sdsnn.deploy.engine.geometry import geometry, reciprocal
from sdsnn_core.network import Convolution


@pytest.mark.parametrize("seed", range(12))
def test_windows_over_the_stored_kernel_are_the_synapses_of_a_convolution(seed: int) -> None:
    """What a window adds, weights of 0 left out, is what the convolution's single synapses say."""
    rng = np.random.default_rng([3, seed])
    groups = int(rng.choice([1, 1, 3]))
    kernel = rng.integers(1, 256, (groups * 2, 2, *rng.integers(1, 6, 2)))
    pairs = {name: rng.integers(low, low + 3, 2) for name, low in (("stride", 1), ("padding", 0), ("dilation", 1))}
    convolution = Convolution("a", "b", kernel, **pairs, groups=groups)
    shape = (2 * groups, *map(int, rng.integers(11, 15, 2)))
    c_out, height, width = convolution.output_shape(shape)
    tables = geometry(convolution, shape)
    place = np.arange(c_out * height * width).reshape(c_out, height, width).transpose(1, 2, 0).reshape(-1)
    sums = np.zeros((math.prod(shape), place.size), np.int64)
    for source in range(sums.shape[0]):
        channel, at = divmod(source, shape[1] * shape[2])
        own = tables.weights[channel].reshape(-1)
        runs, *numbers = tables.windows[at].tolist()
        for begin, to in zip(numbers[: 2 * runs : 2], numbers[1 : 2 * runs : 2], strict=True):
            to += channel // 2 * 2 if groups > 1 else 0
            assert to + tables.run <= place.size
            np.add.at(sums[source], place[to : to + tables.run], own[begin : begin + tables.run])
    wires, expected = convolution.synapses(shape), np.zeros_like(sums)
    np.add.at(expected, (wires.pre, wires.post), wires.weight)
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 34, 1156, 2**20 - 1, 2**20 + 1, 2**31 - 1])
def test_division_by_a_factor_and_a_shift_is_exact_for_every_index(divisor: int) -> None:
    factor, shift = reciprocal(divisor)
    edges = np.random.default_rng(0).integers(0, 2**31 // divisor + 1, 50_000) * divisor
    n = np.clip(np.concatenate([edges - 1, edges, edges + 1, [2**31 - 1]]), 0, 2**31 - 1)
    assert factor * (2**31 - 1) < 2**64
    got = (n.astype(np.uint64) * np.uint64(factor)) >> np.uint64(shift)
    np.testing.assert_array_equal(got.astype(np.int64), n // divisor)


def test_what_vectors_run_over_begins_at_lines_of_the_cache() -> None:
    engine = Engine(random_network(np.random.default_rng(0)))
    work = engine.workspace.take(1)[2]
    for array in (work.current, work.voltage, work.ring, tb.aligned(3, np.int16)):
        assert array.ctypes.data % tb.LINE == 0
