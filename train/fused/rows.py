"""What the CPU kernels share: compiling them, running them on all cores, transposing buffers, checks of shapes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import torch

LANES = (
    64  # neurons at a time where steps are neighbours in memory: a cache line of 16 steps is used up while it is hot
)
CHUNK = 64  # steps at a time there: a transposed buffer of LANES x CHUNK floats is 16 KiB
BLOCK = 2048  # neurons at a time where neurons are neighbours in memory: a step's values are 8 KiB per array
_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` with numba, without the GIL; the code is kept on disk where a place can be written.

    numba looks for changes in the file of `function` only: whoever edits a kernel that other files call must remove
    what is kept (__pycache__/*.nb*).
    """
    return _compile(function, False)


def contracted(function: Callable[..., Any]) -> Any:
    """Compile `function`, with products and sums contracted to one rounding: for gradients."""
    return _compile(function, {"contract"})


def reassociated(function: Callable[..., Any]) -> Any:
    """Compile `function`, with products contracted and sums taken in any order: for gradients that are sums of rows."""
    return _compile(function, {"contract", "reassoc"})


def _compile(function: Callable[..., Any], fastmath: bool | set[str]) -> Any:
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
    except RuntimeError:  # numba found no directory for its cache: neither next to the source nor the user's
        return numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)


@compiled
def load(x: Any, by_step: bool, first: int, n: int, t0: int, t1: int, out: Any) -> None:
    """out[t - t0, lane] = x at step t of neuron first + lane."""
    if by_step:
        for t in range(t0, t1):
            for lane in range(n):
                out[t - t0, lane] = x[t, first + lane]
    else:
        for lane in range(n):
            for t in range(t0, t1):
                out[t - t0, lane] = x[first + lane, t]


@compiled
def store(values: Any, by_step: bool, first: int, n: int, t0: int, t1: int, out: Any) -> None:
    """Undo `load`: write values[t - t0, lane] to step t of neuron first + lane."""
    if by_step:
        for t in range(t0, t1):
            for lane in range(n):
                out[t, first + lane] = values[t - t0, lane]
    else:
        for lane in range(n):
            for t in range(t0, t1):
                out[first + lane, t] = values[t - t0, lane]


@compiled
def check(first: int, last: int, neurons: int, steps: int, shape: Any, a: Any, b: Any, c: Any) -> None:
    """Raise ValueError unless first..last are neurons and a, b, c are `shape` or empty: no access goes astray."""
    if not (0 <= first <= last <= neurons) or steps < 1:
        raise ValueError("fused kernel: these neurons or steps do not exist")
    for other in (a, b, c):
        if other[0] * other[1] and not (other[0] == shape[0] and other[1] == shape[1]):
            raise ValueError("fused kernel: arrays differ in shape")


@compiled
def check_decays(size: int, rows: Any) -> None:
    """Raise ValueError unless (stride, count) points into `size` decays."""
    if size and (rows[0] < 1 or rows[1] < 1 or rows[1] > size):
        raise ValueError("fused kernel: decays are fewer than the neurons ask for")


def _pool() -> ThreadPoolExecutor:
    """Return this process' pool: after a fork the parent's threads do not exist."""
    with _lock:
        pid = os.getpid()
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sdsnn-rows")
        return _pools[pid]


def run_rows(kernel: Callable[..., Any], n_rows: int, work: int, *arguments: Any) -> None:
    """Call kernel(first, last, *arguments) so that every row of range(n_rows) is covered once.

    Uses as many threads as torch does; own threads, because numba's default layer must not be entered by two threads
    at once, and GNU OpenMP not after a fork. work: row steps, for not starting threads that cost more than they save.
    """
    threads = min(torch.get_num_threads(), -(-n_rows // LANES), 1 + work // 50_000)
    if threads <= 1:
        kernel(0, n_rows, *arguments)
        return
    share = -(-n_rows // (threads * LANES)) * LANES
    bounds = [(first, min(first + share, n_rows)) for first in range(0, n_rows, share)]
    others = [_pool().submit(kernel, first, last, *arguments) for first, last in bounds[1:]]
    kernel(*bounds[0], *arguments)
    for other in others:
        other.result()
