"""Run a Network on Lava's CPU runtime in fixed point, in a child process with a time limit."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, events_from_spikes, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from .processes import Storage

Spikes = npt.ArrayLike | Mapping[str, npt.ArrayLike]
Records = dict[str, dict[str, Path]]  # population -> {"spikes" | "current" | "voltage": .npy file}


def run_lava(network: Network, spikes: Spikes, n_steps: int | None = None, **options: Any) -> Activity:
    """Simulate `network` with Lava's bit-accurate processes, all samples from the initial state.

    Parameters and result are those of `reference.run`; `options` may hold `timeout_s` and `storage` too, see
    `run_lava_many`. Raises NetworkError where data do not match the network, MissingDependency without Lava,
    BackendError if the run fails or takes too long.
    """
    return run_lava_many([(network, spikes)], n_steps, **options)[0]


def run_lava_many(
    jobs: Sequence[tuple[Network, Spikes]], n_steps: int | None = None, *, storage: Storage = "auto", **options: Any
) -> list[Activity]:
    """Simulate several networks, each with its own input, one after the other in one child process.

    Starting Lava takes seconds, so many small networks are cheaper this way. storage: 'dense' or 'sparse' processes for
    synapses, or by size and density. options: those of `run_jobs`.
    """
    return run_jobs("sdsnn.export.lava.run:simulate", jobs, {"storage": storage}, n_steps, **options)


def run_jobs(
    function: str,
    jobs: Sequence[tuple[Network, Spikes]],
    payload: Mapping[str, Any],
    n_steps: int | None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    timeout_s: float = 600.0,
) -> list[Activity]:
    """Run jobs by a function in a child process, which gets `payload` and reads the jobs by `read_jobs`."""
    from sdsnn_core.lava.child import run_in_child

    prepared = []
    with tempfile.TemporaryDirectory(prefix="sdsnn-lava-") as scratch:
        for index, (network, spikes) in enumerate(jobs):
            inputs, n_samples, length = prepare_inputs(network, spikes, n_steps)
            if unknown := set(record_state) - set(network.populations):
                raise NetworkError(
                    f"record_state: expected {', '.join(sorted(network.populations))}, got {', '.join(sorted(unknown))}"
                )
            folder = Path(scratch) / str(index)
            folder.mkdir()
            make_record_files(network, folder, n_samples, length, record_state)
            prepared.append((network, inputs, folder))
        run_in_child(function, {**payload, "jobs": prepared}, timeout_s)
        return [_collect(*job, record, record_state) for job in prepared]


def read_jobs(payload: Mapping[str, Any]) -> Iterator[tuple[Network, dict[str, npt.NDArray[np.uint8]], Records]]:
    """Yield (network, inputs, files to record to) of every job, in the child process."""
    for network, inputs, folder in payload["jobs"]:
        yield network, inputs, {name: record_files(folder, name) for name in network.populations}


def simulate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run the jobs that `run_lava_many` prepared; called in the child process."""
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps

    from .processes import build

    for network, inputs, record in read_jobs(payload):
        lava = build(network, inputs, record, payload["storage"])
        n_samples, n_steps, _ = next(iter(inputs.values())).shape
        try:
            lava.any_process.run(condition=RunSteps(num_steps=n_samples * n_steps), run_cfg=lava.run_config)
        finally:
            lava.any_process.stop()
    return {}


def _collect(
    network: Network,
    inputs: Mapping[str, npt.NDArray[np.uint8]],
    folder: Path,
    record: Collection[str] | None,
    record_state: Collection[str],
) -> Activity:
    """Read what the child's neurons wrote and count spikes and events."""
    trains = {**inputs, **{name: np.load(folder / f"spikes.{name}.npy") for name in network.populations}}
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    fired = {name: train != 0 for name, train in trains.items()}
    return Activity(
        n_steps=n_steps,
        n_samples=n_samples,
        counts={name: train.sum(axis=1, dtype=np.int64) for name, train in fired.items()},
        spikes_per_step={name: train.sum(axis=2, dtype=np.int64) for name, train in fired.items()},
        events=events_from_spikes(network, fired),
        spikes={name: train for name, train in trains.items() if record is None or name in record},
        current={name: np.load(folder / f"current.{name}.npy") for name in record_state},
        voltage={name: np.load(folder / f"voltage.{name}.npy") for name in record_state},
    )


def make_record_files(
    network: Network, folder: Path, n_samples: int, n_steps: int, record_state: Collection[str]
) -> None:
    """Make the empty .npy files that Lava's neurons fill: spikes of all populations, states of some."""
    for name, population in network.populations.items():
        kinds = {"spikes": np.uint8, **({"current": np.int32, "voltage": np.int32} if name in record_state else {})}
        for kind, dtype in kinds.items():
            path, shape = folder / f"{kind}.{name}.npy", (n_samples, n_steps, population.size)
            np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()


def record_files(folder: Path, name: str) -> dict[str, Path]:
    """Return {"spikes" | "current" | "voltage": file} of a population, as far as they were made."""
    paths = {kind: folder / f"{kind}.{name}.npy" for kind in ("spikes", "current", "voltage")}
    return {kind: path for kind, path in paths.items() if path.exists()}
