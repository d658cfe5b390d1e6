"""What a network does on data or on random spikes: the activity of some samples, and the classes of all."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.recordings import from_first
from sdsnn.train.data.spike_files import Samples
from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from ..engine import run
from ..engine.inputs import as_numpy, gather, is_events
from .samples import open_samples
from .simulation import Options, simulate_data

RECORDED = 256 * 2**20  # bytes of recorded spikes, where the number of samples is not set
RANDOM_SAMPLES, RANDOM_STEPS = 16, 64  # where they are not set


class Measured(NamedTuple):
    """Activity of samples spread over the data, spikes recorded, and what the whole data gave.

    confusion: (classes, classes) int64, true class by row; None without labels. silent: samples without a class.
    scores: metrics of a task other than one label per sample.
    """

    activity: Activity
    confusion: npt.NDArray[np.int64] | None
    silent: int
    scores: Mapping[str, float] = MappingProxyType({})


def measure(
    network: Network,
    data: Any = None,
    rate: float | None = None,
    *,
    samples: int | None = None,
    options: Options | None = None,
    seed: int = 0,
) -> Measured:
    """Run a network on data, or on random spikes, with the event engine.

    data: a file or folder that `samples.open_samples` takes, or an array (samples, steps, *shape). rate: share of the
    input's bins that hold a spike, in every step and sample. samples: how many to record; default: as many as fit in
    256 MiB, of random spikes 16. options: steps of every sample (of random spikes 64), and how events become bins.
    Raises NetworkError unless one of data and rate is given, FileError where the data cannot be read.
    """
    options = options or Options()
    if (data is None) == (rate is None):
        raise NetworkError(f"activity: expected data or a rate, got {'neither' if data is None else 'both'}")
    if rate is not None:
        return Measured(run(network, spikes_at(network, rate, samples, options.n_steps, seed)), None, 0)
    opened = open_samples(data) if isinstance(data, str | Path) else Samples(data, len(data))
    settings = replace(options, cut=opened.counted)
    most_in_bin = next(iter(network.inputs.values())).max_value

    def binned(sample: Any) -> npt.NDArray[np.uint8]:
        """Return (1, steps, size) what `simulate_data` runs."""
        values = as_numpy(sample)
        values = (
            from_first(values) if is_events(values) else np.minimum(values, most_in_bin) if settings.cut else values
        )
        arrays, *_ = gather(network, values, options.n_steps, options.bin_width, options.sensor_shape)
        return next(iter(arrays.values()))

    steps = binned(next(iter(opened))).shape[1]
    size = sum(network.size_of(name) for name in (*network.inputs, *network.populations))
    most = samples or max(1, RECORDED // (size * (options.n_steps or steps)))
    # A spread over the data rather than its head, in case it is sorted.
    chosen = set(np.linspace(0, len(opened) - 1, min(most, len(opened))).astype(np.int64).tolist())
    recorded: list[npt.NDArray[np.uint8]] = []

    def passing() -> Iterator[Any]:
        for number, sample in enumerate(opened):
            if number in chosen:
                recorded.append(binned(sample))
            yield sample

    whole = simulate_data(network, passing(), opened.labels, options=settings)
    padded = np.zeros((len(recorded), max(array.shape[1] for array in recorded), recorded[0].shape[2]), np.uint8)
    for row, array in zip(padded, recorded, strict=True):
        row[: array.shape[1]] = array[0]
    return Measured(run(network, padded, options.n_steps), whole.confusion, whole.silent, whole.scores)


def spikes_at(
    network: Network, rate: float, samples: int | None = None, steps: int | None = None, seed: int = 0
) -> dict[str, npt.NDArray[np.uint8]]:
    """Draw (samples, steps, size) uint8 for every input: a share `rate` of the bins holds a spike, or a count."""
    if not 0 <= rate <= 1:
        raise NetworkError(f"rate: expected a share of 0 to 1, got {rate:g}")
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, node in network.inputs.items():
        size = (samples or RANDOM_SAMPLES, steps or RANDOM_STEPS, node.size)
        drawn[name] = ((rng.random(size) < rate) * rng.integers(1, node.max_value + 1, size)).astype(np.uint8)
    return drawn
