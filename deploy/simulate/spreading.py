"""A data set on the workers of a Dask cluster, in the portions and the order in which one process runs it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from ..engine import Engine
from .backends import find_backend

if TYPE_CHECKING:
    from distributed import Client, Future

MESSAGE: Final = 2**23  # bytes of spikes of one task; Dask warns of tasks above 10 MB


def spread(
    client: Client,
    backend: str,
    network: Network,
    portions: Iterable[npt.NDArray[Any]],
    settings: Mapping[str, Any],
) -> Iterator[Activity]:
    """Run portions of samples on the workers and yield their Activity in order.

    portions: (samples, steps, size); each is cut between samples, so that every worker has some of it. Its samples are
    as long as in one process, and so are the results. settings: arguments of the back end. At most two tasks wait for
    each thread of the workers, so that memory stays bounded.
    """
    threads = sum(client.nthreads().values())
    (shared,) = client.scatter([network], broadcast=True)
    waiting: deque[Future] = deque()
    for portion in portions:
        each = max(1, min(-(-len(portion) // threads), MESSAGE * len(portion) // max(portion.nbytes, 1)))
        for start in range(0, len(portion), each):
            while len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
            part = np.ascontiguousarray(portion[start : start + each])
            waiting.append(client.submit(run_part, shared, backend, part, dict(settings), pure=False))
    while waiting:
        yield waiting.popleft().result()


def run_part(network: Network, backend: str, spikes: npt.NDArray[Any], settings: Mapping[str, Any]) -> Activity:
    """Run some samples on a worker, whose other threads run others."""
    if backend == "engine":
        return _engine(network).run(spikes, n_threads=1, **{**settings, "record": settings["record"] or "counts"})
    return find_backend(backend)(network, spikes, **settings)


@functools.lru_cache(maxsize=2)
def _engine(network: Network) -> Engine:
    """Return the compiled network; a worker keeps it for its next task."""
    return Engine(network)
