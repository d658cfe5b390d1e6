"""The workers: a Dask cluster of processes on this machine, or one that runs already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sdsnn_core.errors import BackendError, ConfigError, MissingDependency, one_line

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connect(scheduler: str | None, n_workers: int) -> Iterator[Client]:
    """Yield a client of the scheduler at an address, or of a new local cluster of `n_workers` processes.

    Raises:
        MissingDependency: the package `distributed` is not installed.
        BackendError: no scheduler answers at the address, or it has no workers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDependency(
            "cluster: expected the package distributed, got none; pip install 'sdsnn[sweep]'"
        ) from None
    if scheduler is None:
        if n_workers < 1:
            raise ConfigError([f"--workers: expected 1 or more, got {n_workers}"])
        # One task at a time in a process: a training takes its threads itself.
        options: dict[str, Any] = {"n_workers": n_workers, "threads_per_worker": 1, "processes": True}
        with (
            LocalCluster(**options, silence_logs=logging.ERROR, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise BackendError(
            f"--scheduler {scheduler}: expected a Dask scheduler, got none ({one_line(error)})"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise BackendError(f"--scheduler {scheduler}: expected a worker, got none; start one with `dask worker`")
        yield client
