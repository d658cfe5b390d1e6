"""The bundle: all that a person with a chip needs, and a script that gives the expected output on Lava's simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdsnn.deploy.loihi2.bundle import SAMPLES, make_bundle
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.train.data.load import load_data
from sdsnn.train.run.config import load_config
from sdsnn_core import reference
from sdsnn_core.errors import FileError
from sdsnn_core.files import write_json
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Input, Network, Output, Population, Synapses

WITH_SHIMS = """
import runpy, sys
from sdsnn_core.lava.compat import import_netx
import_netx()
sys.argv = [sys.argv[1], "--cpu"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def network(skip: bool = False) -> Network:
    rng = np.random.default_rng(0)
    first, second = rng.integers(-20, 40, (6, 64)) * 2, rng.integers(-30, 60, (10, 6)) * 2
    wires = {"v": Synapses.from_dense("input", "a", first), "w": Synapses.from_dense("a", "b", second)}
    if skip:
        wires["skip"] = Synapses.from_dense("input", "b", rng.integers(1, 9, (10, 64)) * 2)
    populations = {"a": Population((6,), 4096, 410, 160), "b": Population((10,), 4096, 410, 100)}
    return Network({"input": Input((64,)), **populations, "output": Output("b")}, wires)


def run_folder(folder: Path, given: Network) -> Path:
    folder.mkdir()
    write_nir(given, folder / "network.nir")
    (folder / "config.toml").write_text(load_config("digits", ["data.n_steps=8"]).to_toml())
    comparison = {"backend": "nir", "bins": 10, "mismatches": 0, "first": None, "failed": None}
    content = {"verified": True, "network_sha256": given.digest(), "comparisons": [comparison]}
    write_json(folder / "certificate.json", content)
    return folder


def test_what_is_in_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", network())
    made = make_bundle(run)
    assert made == run / "bundle"
    assert {path.name for path in made.iterdir()} == {
        "network.nir", "network.net", "certificate.json", "placement.json", "report.html", "report.json",
        "samples.npz", "run_on_loihi.py", "README.txt",
    }  # fmt: skip
    assert json.loads((made / "placement.json").read_text())["cores"] == 1
    test = load_data(load_config(run / "config.toml", []).data, 0).test
    with np.load(made / "samples.npz") as data:
        np.testing.assert_array_equal(data["spikes"], test.spikes[:SAMPLES])
        expected = reference.run(network(), test.spikes[:SAMPLES]).counts["b"]
        np.testing.assert_array_equal(data["counts"], expected)
    (made / "old").write_text("left over")
    again = make_bundle(run)
    assert not (again / "old").exists()
    assert not list(run.glob(".bundle-*"))
    script = (made / "run_on_loihi.py").read_text()
    assert "sdsnn" not in script


def test_a_network_that_netx_cannot_hold(tmp_path: Path) -> None:
    made = make_bundle(run_folder(tmp_path / "run", network(skip=True)))
    assert not (made / "network.net").exists()
    assert not (made / "run_on_loihi.py").exists()
    assert "No network.net and no script:" in (made / "README.txt").read_text()


def test_a_run_that_was_not_exported(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", network())
    (run / "certificate.json").unlink()
    with pytest.raises(FileError, match=r"certificate\.json: expected a file that `sdsnn export .*` writes, got none"):
        make_bundle(run)
    assert sorted(path.name for path in run.iterdir()) == ["config.toml", "network.nir"]


@pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
def test_the_script_gives_the_expected_output(tmp_path: Path) -> None:
    made = make_bundle(run_folder(tmp_path / "run", network()))
    command = [sys.executable, "-c", WITH_SHIMS, str(made / "run_on_loihi.py")]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr
    assert f"{SAMPLES} of {SAMPLES} samples as expected" in answer.stdout


def test_the_script_ends_with_one_line_where_lava_is_not(tmp_path: Path) -> None:
    made = make_bundle(run_folder(tmp_path / "run", network()))
    hidden = tmp_path / "hidden" / "lava"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no Lava here')")
    command = [sys.executable, str(made / "run_on_loihi.py"), "--cpu"]
    given = {**os.environ, "PYTHONPATH": str(hidden.parent)}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=given)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith("run_on_loihi: ImportError: no Lava here (lava-dl")
