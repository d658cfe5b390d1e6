"""Float NIR graphs of others become integers that spike alike, and the report says what that changed."""

from __future__ import annotations

import os
from pathlib import Path

import nir
import numpy as np
import pytest

from sdsnn.export.float_import.read import import_file
from sdsnn_core import reference
from sdsnn_core.errors import FileError, NetworkError

DT = 1e-4
GOLDEN = Path(os.environ.get("SDSNN_DATA", "")) / "golden" / "nir_01_lif"


def write(path: Path, neuron: nir.NIRNode, weight: np.ndarray) -> Path:
    n_out, n_in = weight.shape
    nodes = {
        "in": nir.Input(np.array([n_in])),
        "w": nir.Linear(weight),
        "n": neuron,
        "out": nir.Output(np.array([n_out])),
    }
    nir.write(path, nir.NIRGraph(nodes, [("in", "w"), ("w", "n"), ("n", "out")]))
    return path


def lif(n: int, tau: float, r: float, threshold: float = 1.0) -> nir.LIF:
    one = np.ones(n)
    return nir.LIF(tau=tau * one, r=r * one, v_leak=0 * one, v_threshold=threshold * one, v_reset=0 * one)


@pytest.mark.parametrize(
    ("tau", "r", "writer"),
    [
        (20 * DT, 20.0, "snntorch"),
        (20 * DT, 0.95, "spyx"),
        (20 * DT, 20 * np.exp(-1 / 20), "rockpool"),
        (DT * 2e-3, 1.0, "norse"),
    ],
)
def test_writers_are_recognised_and_the_spikes_stay(tmp_path, rng, tau, r, writer) -> None:
    threshold = 0.05 if writer == "norse" else 1.0  # its input is scaled by b
    made = import_file(write(tmp_path / "a.nir", lif(12, tau, r, threshold), rng.normal(0, 0.5, (12, 20))), DT)
    (node,) = made.reports
    assert (made.writer, made.exact) == (writer, False)
    assert node.weight_error < 0.01
    assert node.saturated == 0
    assert node.differing < 0.02
    assert node.rate_float > 0


def test_calibration_never_makes_it_worse_on_its_data(tmp_path, rng) -> None:
    weight = rng.normal(0, 0.3, (10, 30))
    weight[0, 0] = 8.0  # an outlier that takes the range from all others
    path = write(tmp_path / "a.nir", lif(10, 20 * DT, 20.0), weight)
    spikes = (rng.random((4, 60, 30)) < 0.2).astype(np.uint8)
    np.save(tmp_path / "x.npy", spikes)
    made = import_file(path, DT, calibrate=tmp_path / "x.npy")
    assert made.data == "x.npy"
    assert made.reports[0].differing < 0.03
    assert made.reports[0].silenced == 0


def test_what_cannot_be_known_is_asked_for(tmp_path) -> None:
    path = write(tmp_path / "a.nir", lif(2, 20.0, 1.0), np.ones((2, 3)) / 3)
    with pytest.raises(NetworkError, match=r"r = 1 with tau = 20 and dt = 1 s fits sinabs and nir; name the one"):
        import_file(path, 1.0)
    assert import_file(path, 1.0, writer="sinabs").writer == "sinabs"
    odd = write(tmp_path / "b.nir", lif(2, 20 * DT, 3.0), np.ones((2, 3)) / 3)
    with pytest.raises(NetworkError, match=r"r = 3 with tau = 0.002 .* name it \(--writer nir, snntorch"):
        import_file(odd, DT)
    with pytest.raises(NetworkError, match=r"writer: expected one of nir, snntorch, .* got x"):
        import_file(path, DT, writer="x")
    with pytest.raises(FileError, match="no such file"):
        import_file(tmp_path / "c.nir", DT)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="set SDSNN_DATA to the folder that holds golden/")
@pytest.mark.parametrize(("name", "writer", "steps"), [
    ("lif_norse", "nir", [461, 511, 711, 761]), ("lif_rockpool", None, [451, 501, 711, 761]),
])  # fmt: skip
def test_the_golden_neuron(name, writer, steps) -> None:
    rows = np.loadtxt(GOLDEN / "lif_norse.csv", delimiter=",")
    made = import_file(GOLDEN / f"{name}.nir", DT, writer=writer)
    (population,) = made.network.populations
    got = reference.run(made.network, (rows[:, :1] != 0).astype(np.uint8)).spikes[population][0, :, 0]
    assert np.flatnonzero(got).tolist() == steps  # one step of transport
