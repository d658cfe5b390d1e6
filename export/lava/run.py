"""Run a Network on Lava's CPU runtime in fixed point, in a child process with a time limit."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, events_from_spikes, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses

from .processes import Storage

_KINDS: Final = {kind.__name__: kind for kind in (Input, Population, Output, Synapses, Convolution)}


def run_lava(
    network: Network,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    timeout_s: float = 600.0,
    storage: Storage = "auto",
) -> Activity:
    """Simulate `network` with Lava's bit-accurate processes, all samples from the initial state.

    spikes, n_steps, record, record_state and the result are those of `reference.run`. storage: 'dense' or 'sparse'
    processes for synapses, or by size and density. Raises NetworkError where data do not match the network,
    MissingDependency without Lava, BackendError if the run fails or takes longer than timeout_s.
    """
    return run_lava_many(
        [(network, spikes)], n_steps, record=record, record_state=record_state, timeout_s=timeout_s, storage=storage
    )[0]


def run_lava_many(
    jobs: Sequence[tuple[Network, npt.ArrayLike | Mapping[str, npt.ArrayLike]]],
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    timeout_s: float = 600.0,
    storage: Storage = "auto",
) -> list[Activity]:
    """Simulate several networks, each with its own input, one after the other in one child process.

    Starting Lava takes seconds, so many small networks are cheaper this way; otherwise as `run_lava`.
    """
    from sdsnn_core.lava.child import run_in_child

    results = []
    with tempfile.TemporaryDirectory(prefix="sdsnn-lava-") as scratch:
        prepared = []
        for index, (network, spikes) in enumerate(jobs):
            inputs, n_samples, length = prepare_inputs(network, spikes, n_steps)
            if unknown := set(record_state) - set(network.populations):
                raise NetworkError(
                    f"record_state: expected {', '.join(sorted(network.populations))}, got {', '.join(sorted(unknown))}"
                )
            folder = Path(scratch) / str(index)
            folder.mkdir()
            _save(network, inputs, folder)
            make_record_files(network, folder, n_samples, length, record_state)
            prepared.append((network, inputs, folder))
        payload = {"folder": scratch, "n_jobs": len(jobs), "storage": storage}
        run_in_child("sdsnn.export.lava.run:simulate", payload, timeout_s)
        for network, inputs, folder in prepared:
            results.append(collect(network, inputs, folder, record, record_state))
            shutil.rmtree(folder)
    return results


def simulate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run the jobs that `run_lava_many` prepared; called in the child process. Returns the steps that were run."""
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps

    from .processes import build

    total = 0
    for index in range(int(payload["n_jobs"])):
        folder = Path(str(payload["folder"])) / str(index)
        network, inputs = _load(folder)
        record = {name: record_files(folder, name) for name in network.populations}
        made = build(network, inputs, record, payload["storage"])
        n_samples, n_steps, _ = next(iter(inputs.values())).shape
        try:
            made.any_process.run(condition=RunSteps(num_steps=n_samples * n_steps), run_cfg=made.run_config)
        finally:
            made.any_process.stop()
        total += n_samples * n_steps
    return {"steps": total}


def collect(
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
    keep = set(trains) if record is None else set(record)
    return Activity(
        n_steps=n_steps,
        n_samples=n_samples,
        counts={name: train.sum(axis=1, dtype=np.int64) for name, train in fired.items()},
        spikes_per_step={name: train.sum(axis=2, dtype=np.int64) for name, train in fired.items()},
        events=events_from_spikes(network, fired),
        spikes={name: train for name, train in trains.items() if name in keep},
        current={name: np.load(folder / f"current.{name}.npy") for name in record_state},
        voltage={name: np.load(folder / f"voltage.{name}.npy") for name in record_state},
    )


# The way to the child: plain arrays and JSON, whatever the network holds


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


def _save(network: Network, inputs: Mapping[str, npt.NDArray[np.uint8]], folder: Path) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {f"input.{name}": train for name, train in inputs.items()}
    items = []
    for group in ("nodes", "projections"):
        for name, item in getattr(network, group).items():
            plain = {}
            for spec in fields(item):
                value = getattr(item, spec.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{group}.{name}.{spec.name}"] = value
                else:
                    plain[spec.name] = value
            items.append([group, name, type(item).__name__, plain])
    (folder / "network.json").write_text(json.dumps(items), encoding="utf-8")
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]


def _load(folder: Path) -> tuple[Network, dict[str, npt.NDArray[np.uint8]]]:
    groups: dict[str, dict[str, Any]] = {"nodes": {}, "projections": {}}
    with np.load(folder / "arrays.npz") as arrays:
        for group, name, kind, plain in json.loads((folder / "network.json").read_text(encoding="utf-8")):
            prefix = f"{group}.{name}."
            own = {
                spec.name: arrays[prefix + spec.name] for spec in fields(_KINDS[kind]) if prefix + spec.name in arrays
            }
            groups[group][name] = _KINDS[kind](**plain, **own)
        network = Network(groups["nodes"], groups["projections"])
        return network, {name: arrays[f"input.{name}"] for name in network.inputs}
