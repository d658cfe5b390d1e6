"""`sdsnn simulate --reset-every`, and messages of more than 8 bits through a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.deploy.simulate.simulation import Options, simulate_data
from sdsnn_core import reference
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import CubaLif, Delta, Input, Network, Output, Sigma, Synapses


def summing() -> Network:
    nodes = {"in": Input((2,)), "a": CubaLif((2,), 4096, 0, 300), "out": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("in", "a", [[100, 0], [0, 40]])})


def test_the_command_resets_within_a_sample(tmp_path: Path) -> None:
    network = summing()
    sdsnn.write(network, tmp_path / "network.nir")
    np.savez(tmp_path / "data.npz", spikes=np.ones((1, 40, 2), np.uint8))
    command = ["simulate", str(tmp_path / "network.nir"), str(tmp_path / "data.npz"), "--quiet", "--json"]
    counts = {}
    for every in (0, 7):
        for target in ("engine", "reference", "nir", "netx file"):
            done = CliRunner().invoke(app, [*command, "--target", target, "--reset-every", str(every)])
            assert done.exit_code == 0, done.output
            counts[every, target] = json.loads(done.output.splitlines()[-1])["spikes_per_inference"]["a"]
        expected = reference.run(network, np.ones((1, 40, 2)), reset_every=every).counts["a"].sum()
        assert {counts[key] for key in counts if key[0] == every} == {expected}
    assert counts[7, "engine"] < counts[0, "engine"]
    with pytest.raises(NetworkError, match=r"reset_every: expected back end engine, reference, .*lava, got loihi2"):
        simulate_data(network, np.ones((1, 9, 2), np.uint8), backend="loihi2", options=Options(reset_every=3))


@pytest.mark.parametrize("backend", ["engine", "reference"])
def test_messages_of_a_data_set_keep_their_value(backend: str) -> None:
    nodes = {"in": Input((2,), 5000, -5000), "a": Delta((2,), 1), "b": Sigma((2,)), "out": Output("b")}
    eye = np.eye(2, dtype=int)
    wires = {"w": Synapses.from_dense("in", "a", eye), "v": Synapses.from_dense("a", "b", eye)}
    network = Network(nodes, wires)
    data = np.random.default_rng(0).integers(-5000, 5000, (3, 12, 2))
    result = simulate_data(network, data, backend=backend)
    expected = reference.run(network, data)
    assert result.spikes["b"] == expected.counts["b"].sum() / 3
    assert result.events["v"] == expected.events["v"].sum() / 3
