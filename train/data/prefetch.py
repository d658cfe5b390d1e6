"""Batches prepared ahead by threads, in order, and how long the trainer waited for them."""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, final

Item = TypeVar("Item")


@final
class Prefetcher(Generic[Item]):
    """Iterates over prepare(0), prepare(1), ..., computed by `workers` threads up to two per thread ahead.

    The order and the results do not depend on `workers`; 0 prepares in line. waited: seconds spent waiting so far.
    """

    def __init__(self, prepare: Callable[[int], Item], n_items: int, workers: int) -> None:
        self.prepare = prepare
        self.n_items = n_items
        self.workers = workers
        self.waited = 0.0

    def __iter__(self) -> Iterator[Item]:
        if self.workers == 0:
            for index in range(self.n_items):
                yield self._timed(functools.partial(self.prepare, index))
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="sdsnn-data")
        waiting: deque[Future[Item]] = deque()
        try:
            following = 0
            for _ in range(self.n_items):
                while following < self.n_items and len(waiting) < 2 * self.workers:
                    waiting.append(pool.submit(self.prepare, following))
                    following += 1
                yield self._timed(waiting.popleft().result)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, get: Callable[[], Item]) -> Item:
        started = time.perf_counter()
        item = get()
        self.waited += time.perf_counter() - started
        return item
