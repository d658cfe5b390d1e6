"""Refractory periods of a float graph, whose file cannot say so: against a few lines of floats of their own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdsnn.deploy.engine import run
from sdsnn.export.float_import.read import import_file
from sdsnn.export.readout import with_readout
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import NEVER_FIRES, CubaLif, RefractoryLif

nir = pytest.importorskip("nir")
DT, SIZES = 1e-3, (12, 30, 8)


def saved(path: Path, rng: np.random.Generator) -> tuple[Path, list[np.ndarray[Any, Any]]]:
    """Write a chain of two layers of CubaLIF as spyx writes them, and return its weights."""
    weights = [rng.normal(0.15, 0.3, (n, m)) for m, n in itertools.pairwise(SIZES)]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([SIZES[0]])})}
    for k, weight in enumerate(weights):
        one = np.ones(len(weight))
        nodes[f"w{k}"] = nir.Linear(weight)
        nodes[f"n{k}"] = nir.CubaLIF(
            tau_syn=2e-3 * one, tau_mem=8e-3 * one, r=8 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one,
            w_in=2 * one,
        )  # fmt: skip
    nodes["output"] = nir.Output({"output": np.array([SIZES[-1]])})
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(names))))
    return path, weights


def floats(weights: list[np.ndarray[Any, Any]], spikes: np.ndarray[Any, Any], period: int) -> np.ndarray[Any, Any]:
    """Return the spikes of the last layer: Euler steps of 1/2 and 1/8, reset to 0, then `period` steps of rest."""
    for weight in weights:
        u, v, rest = np.zeros((3, len(spikes), len(weight)))
        sent = np.zeros((*spikes.shape[:2], len(weight)))
        for t in range(spikes.shape[1]):
            u = u / 2 + spikes[:, t] @ weight.T
            v = np.where(rest > 0, 0, v * 7 / 8 + u)
            sent[:, t] = v > 1
            rest = np.where(sent[:, t] > 0, period, np.maximum(rest - 1, 0))
            v = v * (1 - sent[:, t])
        spikes = sent
    return spikes


@pytest.mark.parametrize("period", [1, 4, 20])
def test_the_integers_spike_as_floats_that_rest(period: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(period)
    path, weights = saved(tmp_path / "theirs.nir", rng)
    spikes = (rng.random((4, 200, SIZES[0])) < 0.2).astype(np.uint8)
    made = import_file(path, DT, writer="nir", calibrate=spikes, refractory=period)
    kinds = [type(p) for p in made.network.populations.values()]
    assert kinds == [RefractoryLif] * 2
    expected = floats(weights, spikes, period)
    padded = np.concatenate([spikes, np.zeros_like(spikes[:, :2])], axis=1)
    ours = run(made.network, padded, record="spikes").spikes["n1"][:, 2:]
    assert (ours != expected).mean() < 0.05 < expected.mean() * 10
    free = floats(weights, spikes, 0)
    assert (ours != free).mean() > 2 * (ours != expected).mean()
    assert made.reports[-1].rate_float == pytest.approx(expected[:, :-2].mean() * 198 / 200, rel=0.05)


def test_what_has_no_refractory_period(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "theirs.nir", np.random.default_rng(0))
    assert all(type(p) is CubaLif for p in import_file(path, DT, writer="nir").network.populations.values())
    with pytest.raises(NetworkError, match=r"refractory: expected 0 to 62 steps, got 63"):
        import_file(path, DT, refractory=63)
    (tmp_path / "theirs.net").write_bytes(b"")
    with pytest.raises(NetworkError, match=r"expected a NIR graph for a refractory period, got a \.net file"):
        import_file(tmp_path / "theirs.net", refractory=3)


def test_a_voltage_readout_has_no_period(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "theirs.nir", np.random.default_rng(0))
    made = with_readout(import_file(path, DT, writer="nir", refractory=3).network, "voltage")
    assert [type(p) for p in made.populations.values()] == [RefractoryLif, CubaLif]
    assert (made.populations["n1"].threshold == NEVER_FIRES).all()
