"""The parts of the fused blocks: when sums are exact, products of matrices, and kernels that check their arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdsnn.train.fused.kernels.neuron import Constants, Keeps, States, chunk_backward, chunk_forward
from sdsnn.train.fused.kernels.pooling import pool_backward, pool_forward
from sdsnn.train.fused.sums.currents import MatrixSums, add, product
from sdsnn.train.fused.sums.events import add_gradients, add_rows, count_events, list_events
from sdsnn.train.fused.sums.exactness import input_bound, sums_are_exact


@pytest.mark.parametrize(
    ("weights", "bound", "exact"),
    [
        ([[1.0, -0.5, 3.96875]], 1, True),
        ([[1.0, -0.5, 3.96875]], -1, False),
        ([[0.0, 0.0]], 1, True),
        ([[0.1, 0.2]], 1, False),
        ([[2.0, 2.0**-24]], 1, False),
        ([[2.0, 2.0**-22]], 1, True),
        ([[float("nan"), 1.0]], 1, False),
        ([[float("inf"), 1.0]], 1, False),
        ([[4.0] * 1000], 100, True),
        ([[4.0] * 1000], 10000, False),
    ],
)
def test_when_sums_are_exact(weights: list[list[float]], bound: int, exact: bool) -> None:
    assert sums_are_exact(torch.tensor(weights), bound) is exact


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([0, 1, 0], 1, 1), ([0, 0], 0, 0), ([-3, 2], 3, 5), ([0.5], -1, -1), ([float("nan")], -1, -1), ([2**20], -1, -1)],
)
def test_bound_of_an_input(values: list[float], low: int, high: int) -> None:
    assert low <= input_bound(torch.tensor(values, dtype=torch.float32)) <= high


@pytest.mark.parametrize("sizes", [(3, 5, 4), (200, 300, 100)])
def test_matrix(sizes: tuple[int, int, int]) -> None:
    """The product and its gradients, through whatever library does them."""
    rows, inner, columns = sizes
    x, w = torch.randn(rows, inner).requires_grad_(), torch.randn(columns, inner).requires_grad_()
    weights = torch.randn(rows, columns)
    mine = torch.autograd.grad((add(x, w, MatrixSums()) * weights).sum(), (x, w))
    theirs = torch.autograd.grad((x @ w.t() * weights).sum(), (x, w))
    for expected, found in zip(theirs, mine, strict=True):
        assert float((expected - found).abs().max()) <= 1e-5 * float(expected.abs().max())  # sums in another order
    whole = torch.randint(-100, 100, (rows, inner)).float(), torch.randint(-100, 100, (columns, inner)).float()
    assert torch.equal(product(*whole), whole[0] @ whole[1].t())


@pytest.mark.parametrize("wrong", ["z", "voltage", "spikes", "states", "decays", "last"])
def test_passes_check_their_arrays(wrong: str) -> None:
    """The kernels that run some steps of a block: arrays that do not fit together are an error."""
    arrays = {name: np.zeros((4, 6), np.float32) for name in ("z", "voltage", "spikes")}
    sizes = {"states": 6, "last": 6}
    if wrong in arrays:
        arrays[wrong] = np.zeros((5, 7), np.float32)
    elif wrong in sizes:
        sizes[wrong] = 7
    z, voltage, spikes = arrays.values()
    state, one = np.zeros(sizes["states"], np.int32), np.zeros(6, np.int32)
    constants = Constants.of(64, 1.0, 1.0, 1.0)
    keep = np.full(0 if wrong == "decays" else 1, 4000, np.int32)
    keeps, keeps32 = Keeps(keep, keep), Keeps(*(each.astype(np.float32) for each in (keep, keep)))
    with pytest.raises(ValueError, match="fused kernel"):
        chunk_forward(0, sizes["last"], z, keeps, States(state, one), constants, voltage, spikes)
    carries = States(state.astype(np.float32), one.astype(np.float32))
    with pytest.raises(ValueError, match="fused kernel"):
        chunk_backward(0, sizes["last"], z, voltage, keeps32, carries, constants, spikes)


@pytest.mark.parametrize("wrong", ["counts", "offsets", "events", "widths", "bounds"])
def test_event_kernels_check_their_arrays(wrong: str) -> None:
    bits = np.zeros((3, 20), np.int32)
    bits[1, 4] = 1
    offsets, indices = np.array([0, 0, 1, 1]), np.zeros(1, np.int32)
    weights, sums, counts, last = np.zeros((20, 5), np.float32), np.zeros((3, 5), np.float32), np.zeros(3, np.int64), 3
    if wrong == "counts":
        counts = counts[:2]
    elif wrong == "offsets":
        offsets = offsets[:3]
    elif wrong == "events":
        offsets = np.array([0, 0, 0, 0])
    elif wrong == "widths":
        sums = np.zeros((3, 6), np.float32)
    else:
        last = 21
    if wrong in ("counts", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            count_events(0, last, bits, counts)
    if wrong in ("offsets", "events", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            list_events(0, last, bits, offsets, indices)
    if wrong in ("offsets", "widths", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            add_rows(0, last, offsets, indices, weights, sums)
        with pytest.raises(ValueError, match="fused kernel"):
            add_gradients(0, last if wrong == "bounds" else 5, offsets, indices, sums, weights)


@pytest.mark.parametrize("wrong", ["images", "rows", "width", "channels", "kernel", "sizes", "bounds"])
def test_pooling_checks_its_arrays(wrong: str) -> None:
    """Arrays that do not fit together are an error, never an access beyond them."""
    large, small, sizes = np.zeros((2, 4, 8), np.float32), np.zeros((2, 2, 4), np.float32), np.zeros(2, np.int32)
    kernel, channels, last = (2, 2), 2, 2
    if wrong == "images":
        small = small[:1]
    elif wrong == "rows":
        small = np.zeros((2, 1, 4), np.float32)
    elif wrong == "width":
        small = np.zeros((2, 2, 2), np.float32)
    elif wrong == "channels":
        channels = 3
    elif wrong == "kernel":
        kernel = (0, 2)
    elif wrong == "sizes":
        sizes = sizes[:1]
    else:
        last = 3
    with pytest.raises(ValueError, match="fused kernel"):
        pool_forward(0, last, large, kernel, channels, np.float32(1), small, sizes)
    if wrong != "sizes":
        with pytest.raises(ValueError, match="fused kernel"):
            pool_backward(0, last, small, kernel, channels, np.float32(1), large)
