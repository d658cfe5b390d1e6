"""Reading a network and simulating it need neither torch nor Lava."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import random_network

from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes

CODE = """
import sys
import numpy as np
from sdsnn.export.nir_format.reader import read_nir
{simulator}
network = read_nir(sys.argv[1])
with np.load(sys.argv[2]) as spikes:
    activity = run(network, dict(spikes))
heavy = {{"torch", "lava", "sklearn", "tonic", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
print(sum(int(counts.sum()) for counts in activity.counts.values()))
"""
SIMULATORS = ["from sdsnn_core.reference import run", "from sdsnn.deploy.engine import run"]


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_file_is_read_and_simulated_without_torch_and_lava(simulator: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    network = random_network(rng)
    spikes = random_spikes(rng, network, 2, 12)
    write_nir(network, tmp_path / "n.nir")
    np.savez(tmp_path / "x.npz", **spikes)
    answer = subprocess.run(
        [sys.executable, "-c", CODE.format(simulator=simulator), str(tmp_path / "n.nir"), str(tmp_path / "x.npz")],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    expected = sum(int(counts.sum()) for counts in reference.run(network, spikes).counts.values())
    assert int(answer.stdout) == expected
