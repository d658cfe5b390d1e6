"""The test split of a run, and what the exported network does on it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import SdsnnError, one_line
from sdsnn_core.network import Network

if TYPE_CHECKING:
    from sdsnn.train.data.load import Split

CHUNK = 64  # samples that a data set makes at once
RECORDED = 256 * 2**20  # bytes of recorded spikes, where the number of samples is not given


def read_test_split(folder: Path) -> Split:
    """Load the test split of a run. Raises ConfigError and FileError of its configuration and data."""
    from sdsnn.train.data.load import load_data
    from sdsnn.train.run.config import load_config

    resolved = load_config(folder / "config.toml", [])
    return load_data(resolved.data, resolved.seed).test


def simulated(
    folder: Path, network: Network | None, config: str | None, samples: int | None, absent: dict[str, str]
) -> tuple[Activity | None, npt.NDArray[np.int64] | None]:
    """Return (activity of some samples, confusion of all); a reason goes to `absent` where that cannot be done."""
    if network is None or config is None or samples == 0:
        lacks = "no network.nir" if network is None else "no config.toml" if config is None else "--samples 0"
        absent["activity"] = f"not simulated: {lacks}"
        return None, None
    try:
        from ..engine import run
        from ..simulate.simulation import simulate_data

        test = read_test_split(folder)
        size = sum(network.size_of(name) for name in (*network.inputs, *network.populations))
        most = samples or max(1, RECORDED // (size * test.spikes.shape[1]))
        # A spread over the split rather than its head, in case it is sorted.
        chosen = np.unique(np.linspace(0, len(test) - 1, min(most, len(test))).astype(np.int64))
        chunks = (test.spikes[start : start + CHUNK] for start in range(0, len(test), CHUNK))
        whole = simulate_data(network, itertools.chain.from_iterable(chunks), test.labels)
        return run(network, test.spikes[chosen]), whole.confusion
    except (SdsnnError, ImportError) as error:
        absent["activity"] = f"not simulated: {one_line(error)}"
        return None, None
