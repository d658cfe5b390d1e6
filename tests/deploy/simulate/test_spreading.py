"""A data set on the workers of a cluster gives the numbers of one process, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_network
from typer.testing import CliRunner

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

from sdsnn.cli.app import app
from sdsnn.deploy.simulate.recorder import SpikeRecorder
from sdsnn.deploy.simulate.simulation import Options, Simulation, simulate_data
from sdsnn.export.files import write_network
from sdsnn.export.readout import with_readout
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

TIMES = ("seconds", "samples_per_second", "steps_per_second", "events_per_second")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers that are threads of this process."""
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


def numbers(result: Simulation) -> dict[str, Any]:
    return {key: value for key, value in result.to_json().items() if key not in TIMES}


def unequal(spikes: np.ndarray) -> list[np.ndarray]:
    """Samples of different lengths, more than a portion of one thread holds."""
    return [np.tile(sample, (1 + i % 3, 1, 1, 1)) for i, sample in enumerate(np.tile(spikes, (20, 1, 1, 1, 1)))]


@pytest.mark.parametrize("backend", ["engine", "reference"])
@pytest.mark.parametrize("readout", ["spikes", "voltage"])
def test_it_is_one_process_bit_for_bit(
    client: Client, network: Network, spikes: np.ndarray, tmp_path: Path, backend: str, readout: Any
) -> None:
    data = unequal(spikes)[: 140 if backend == "engine" else 20]
    labels = np.arange(len(data)) % 3
    loaded = with_readout(network, readout)
    results, files = [], []
    for number, workers in enumerate((None, client)):
        done: list[int] = []
        with SpikeRecorder(loaded) as recorder:
            result = simulate_data(
                loaded, iter(data), labels, backend=backend, options=Options(n_threads=1, reset_every=7),
                progress=done.append, recorder=recorder, client=workers,
            )  # fmt: skip
            recorder.write(tmp_path / f"{number}.npz", "events", result.predictions, result.labels)
        assert done[-1] == len(data)
        results.append(numbers(result))
        files.append(dict(np.load(tmp_path / f"{number}.npz")))
    assert results[0] == results[1]
    assert files[0].keys() == files[1].keys()
    for name, array in files[0].items():
        np.testing.assert_array_equal(array, files[1][name])


def test_a_workers_refusal_is_that_of_one_process(client: Client, network: Network) -> None:
    data = [np.full((3, 24), 7)]
    with pytest.raises(NetworkError) as here:
        simulate_data(network, data)
    with pytest.raises(NetworkError) as there:
        simulate_data(network, data, client=client)
    assert str(here.value) == str(there.value)


@pytest.mark.slow
def test_the_command_on_worker_processes(tmp_path: Path) -> None:
    """A network with loops and delays, which travels to other processes."""
    rng = np.random.default_rng(3)
    loaded = random_network(rng)
    path, data = write_network(loaded, tmp_path / "network.nir"), tmp_path / "data.npz"
    node = next(iter(loaded.inputs.values()))
    np.savez(data, spikes=rng.integers(0, node.max_value + 1, (50, 12, *node.shape)), labels=np.zeros(50, int))
    words = ["simulate", str(path), str(data), "--json", "--quiet"]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        lines = [
            CliRunner().invoke(app, [*words, *more]).stdout.splitlines()[-1]
            for more in ([], ["--scheduler", cluster.scheduler_address])
        ]
    one, many = ({k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines)
    assert one == many
