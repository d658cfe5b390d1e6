"""Run a kernel on all cores."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

SHARE = 64  # rows: a thread takes a multiple of it
SMALLEST = 50_000  # operations that pay for a thread
_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _pool() -> ThreadPoolExecutor:
    """Return this process' pool: after a fork the parent's threads do not exist."""
    with _lock:
        pid = os.getpid()
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sdsnn-rows")
        return _pools[pid]


def run_rows(kernel: Callable[..., Any], n_rows: int, work: int, *arguments: Any, share: int = SHARE) -> list[Any]:
    """Call kernel(first, last, *arguments) so that every row of range(n_rows) is covered once; return all results.

    Uses as many threads as torch does, unless `work`, the number of operations, is too small; each takes a multiple of
    `share` rows. They are our own: two threads at once must not enter numba's default layer, nor GNU OpenMP after a
    fork.
    """
    threads = min(torch.get_num_threads(), -(-n_rows // share), 1 + work // SMALLEST)
    if threads <= 1:
        return [kernel(0, n_rows, *arguments)]
    size = -(-n_rows // (threads * share)) * share
    bounds = [(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]
    others = [_pool().submit(kernel, first, last, *arguments) for first, last in bounds[1:]]
    own = kernel(*bounds[0], *arguments)
    return [own, *(other.result() for other in others)]
