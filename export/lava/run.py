"""Run a Network on Lava's CPU runtime in fixed point, in a child process with a time limit."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, event_dtype, events_from_spikes, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.lava.child import run_in_child
from sdsnn_core.lava.compat import ensure_lava
from sdsnn_core.network import Network
from sdsnn_core.neurons.resets import check_resets

from .neurons import refuse_neurons
from .processes import Storage, build, run_steps

Spikes = npt.ArrayLike | Mapping[str, npt.ArrayLike]
Trains = Mapping[str, npt.NDArray[np.uint8]]
Records = dict[str, dict[str, Path]]  # population -> {"spikes" | "current" | "voltage": .npy file}


def run_lava(network: Network, spikes: Spikes, n_steps: int | None = None, **options: Any) -> Activity:
    """Simulate `network` with Lava's bit-accurate processes, all samples from the initial state.

    Parameters and result are those of `reference.run`; `options` may hold those of `run_lava_many` too. Raises
    NetworkError for the data, MissingDependency without Lava, BackendError if the run fails or takes too long.
    """
    return run_lava_many([(network, spikes)], n_steps, **options)[0]


def run_lava_many(
    jobs: Sequence[tuple[Network, Spikes]],
    n_steps: int | None = None,
    *,
    storage: Storage = "auto",
    reset_every: int = 0,
    reset_offset: int = 1,
    **options: Any,
) -> list[Activity]:
    """Simulate several networks, each with its own input, in one child process, since starting Lava takes seconds.

    storage: 'dense' or 'sparse' processes for synapses, or by size and density. reset_every, reset_offset:
    as of `reference.run`. options: those of `run_jobs`.
    """
    check_resets(reset_every)
    for network, _ in jobs:
        refuse_neurons(network)
    payload = {"storage": storage, "resets": (reset_every, reset_offset)}
    return run_jobs("sdsnn.export.lava.run:simulate", jobs, payload, n_steps, **options)


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
    """Run jobs by a function in a child process: payload["jobs"] holds (network, inputs, record files) of each."""
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
            prepared.append((network, inputs, make_record_files(network, folder, n_samples, length, record_state)))
        run_in_child(function, {**payload, "jobs": prepared}, timeout_s)
        return [_collect(*job, record, record_state) for job in prepared]


def simulate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run the jobs that `run_lava_many` prepared; called in the child process."""
    ensure_lava()
    for network, inputs, record in payload["jobs"]:
        n_samples, n_steps, _ = next(iter(inputs.values())).shape
        run_steps(build(network, inputs, record, payload["storage"], payload["resets"]), n_samples * n_steps)
    return {}


def _collect(
    network: Network, inputs: Trains, files: Records, record: Collection[str] | None, record_state: Collection[str]
) -> Activity:
    """Read what the child's neurons wrote and count spikes and events."""
    trains = {**inputs, **{name: np.load(files[name]["spikes"]) for name in network.populations}}
    n_samples, n_steps, _ = next(iter(inputs.values())).shape
    fired = {name: train != 0 for name, train in trains.items()}
    return Activity(
        n_steps=n_steps,
        n_samples=n_samples,
        counts={name: train.sum(axis=1, dtype=np.int64) for name, train in fired.items()},
        spikes_per_step={name: train.sum(axis=2, dtype=np.int64) for name, train in fired.items()},
        events=events_from_spikes(network, fired),
        spikes={name: train for name, train in trains.items() if record is None or name in record},
        current={name: np.load(files[name]["current"]) for name in record_state},
        voltage={name: np.load(files[name]["voltage"]) for name in record_state},
    )


def make_record_files(
    network: Network, folder: Path, n_samples: int, n_steps: int, record_state: Collection[str]
) -> Records:
    """Make the empty .npy files that Lava's neurons fill: spikes of all populations, states of some."""
    records: Records = {}
    for name, population in network.populations.items():
        kinds = {
            "spikes": event_dtype(population),
            **({"current": np.int32, "voltage": np.int32} if name in record_state else {}),
        }
        records[name] = {kind: folder / f"{kind}.{name}.npy" for kind in kinds}
        for kind, dtype in kinds.items():
            shape = (n_samples, n_steps, population.size)
            np.lib.format.open_memmap(records[name][kind], mode="w+", dtype=dtype, shape=shape).flush()
    return records
