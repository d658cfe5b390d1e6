"""The parts of the fused blocks: when sums are exact, products of matrices, and kernels that check their arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdsnn.train.fused.kernels import threads
from sdsnn.train.fused.kernels.neuron import Constants, Keeps, States, chunk_backward, chunk_forward
from sdsnn.train.fused.kernels.pooling import pool_backward, pool_forward
from sdsnn.train.fused.sums.currents import MatrixSums, add, product
from sdsnn.train.fused.sums.event_sums import add_gradient, add_sources, by_input, sums_of, tiled
from sdsnn.train.fused.sums.events import count_events, list_events, look_at
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


@pytest.mark.parametrize("wrong", ["counts", "offsets", "events", "tiles", "rows", "bounds"])
def test_event_kernels_check_their_arrays(wrong: str) -> None:
    bits = np.zeros((3, 20), np.int32)
    bits[1, 4] = 1
    offsets, indices, counts, last = np.array([0, 0, 1, 1]), np.zeros(1, np.int32), np.zeros(3, np.int64), 3
    tiles, sums = np.zeros((2, 20, 4), np.float32), np.zeros((3, 5), np.float32)
    begins, rows = np.zeros(21, np.int64), np.zeros(1, np.int32)
    if wrong == "counts":
        counts = counts[:2]
    elif wrong == "offsets":
        offsets = offsets[:3]
    elif wrong == "events":
        indices = indices[:0]
    elif wrong == "tiles":
        tiles = tiles[:1]
    elif wrong == "rows":
        rows = rows[:0]
    else:
        last = 21
    if wrong in ("counts", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            count_events(0, last, bits, counts)
    if wrong in ("offsets", "events", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            list_events(0, last, bits, offsets, indices)
    if wrong in ("offsets", "events", "tiles", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            add_sources(0, last, offsets, indices, tiles, sums)
    if wrong in ("offsets", "events", "rows", "bounds"):
        with pytest.raises(ValueError, match="fused kernel"):
            by_input(0, last, offsets, indices, begins, rows)


@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (3, 16), (40, 17), (50, 160), (20, 161), (30, 200), (512, 500)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_sums_of_events_are_those_of_matrices(
    inputs: int, units: int, rate: float, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any sizes of tiles and chunks: NumPy's products of whole numbers, both ways; gradients are added."""
    monkeypatch.setattr(threads, "SMALLEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    rng = np.random.default_rng([inputs, units, int(10 * rate)])
    x = torch.from_numpy((rng.random((150, inputs)) < rate).astype(np.float32))
    weight, gradient = (torch.from_numpy(rng.integers(-99, 99, (n, units)).astype(np.float32)) for n in (inputs, 150))
    events = look_at(x, 1.0).events
    assert events is not None
    total = torch.ones(inputs, units)
    for first, last in ((20, 150), (0, 20)):
        sums = sums_of(events, first, last - first, tiled(weight), units)
        assert np.array_equal(sums.numpy(), x[first:last].numpy() @ weight.numpy())
        add_gradient(events, first, gradient[first:last], total)
    assert np.array_equal(total.numpy(), 1 + x.numpy().T @ gradient.numpy())


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
