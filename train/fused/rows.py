"""Compiling a kernel, and running it on all cores, each with its share of the rows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import torch

LANES = 64  # rows that a kernel takes together
_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` with numba, without the GIL; the code is kept on disk where a place can be written."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no directory for its cache: neither next to the source nor the user's
        return numba.njit(nogil=True, error_model="numpy")(function)


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
