"""The path to Loihi 2, driven from the command line against a minimal stand-in for Intel's extension.

The stand-in offers only the names that the path imports: adapters that pass spikes on, probes that return fixed numbers
whether or not they are called, and empty base classes. No chip was ever reached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdsnn.deploy.loihi2.target import EXTENSION, check_supported, merge_measured, missing_modules
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Input, Network, Output, Population, Synapses

ADAPTERS = """
import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

class _Adapter(AbstractProcess):
    def __init__(self, shape, num_message_bits=0):
        super().__init__(shape=shape)
        self.inp, self.out = InPort(shape=shape), OutPort(shape=shape)

class PyToNxAdapter(_Adapter): pass
class NxToPyAdapter(_Adapter): pass

class _Model(PyLoihiProcessModel):
    inp = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    def run_spk(self):
        self.out.send(self.inp.recv())

@implements(PyToNxAdapter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class InModel(_Model): pass

@implements(NxToPyAdapter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class OutModel(_Model): pass
"""
PROFILER = """
import numpy as np
from lava.magma.core.callback_fx import IterableCallBack

class _Probe(IterableCallBack):
    def __init__(self, **settings):
        super().__init__([], [])
        self.settings = settings
        self.collect()
    def pre_run_callback(self, *given, **named):
        pass
    def post_run_callback(self, *given, **named):
        pass
    def collect(self):
        pass

class Loihi2Power(_Probe):
    def collect(self):
        self.total_power = np.full(self.settings["num_steps"], 0.5)
        self.static_total_power = np.full(self.settings["num_steps"], 0.25)
class Loihi2ExecutionTime(_Probe):
    avg_time_per_step = 42.5
class Loihi2Activity(_Probe):
    core_idx, syn_ops = np.array([0, 1]), np.array([10, 30])
class Loihi2Memory(_Probe):
    core_idx, total_mpds = np.array([0, 1]), np.array([64, 128])
"""
C_MODEL = "class AbstractCProcessModel: pass\nclass CLoihiProcessModel(AbstractCProcessModel): pass\n"
STAND_IN = {
    "lava/magma/compiler/subcompilers/nc/ncproc_compiler.py": "class CompilerOptions:\n    verbose = False\n",
    "lava/magma/core/model/c/model.py": C_MODEL,
    "lava/magma/core/model/nc/model.py": "class AbstractNcProcessModel: pass\n",
    "lava/proc/embedded_io/spike.py": ADAPTERS,
    "lava/utils/loihi2_profiler.py": PROFILER,
}
needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")


def small_network() -> Network:
    rng = np.random.default_rng(2)
    first, second = rng.integers(-20, 40, (7, 5)) * 2, rng.integers(-20, 50, (3, 7)) * 2
    return Network(
        {
            "input": Input((5,)),
            "a": Population((7,), 2048, 410, 60),
            "b": Population((3,), 4096, 128, 70),
            "output": Output("b"),
        },
        {"v": Synapses.from_dense("input", "a", first), "w": Synapses.from_dense("a", "b", second)},
    )


def simulate(folder: Path, *, stand_in: bool) -> subprocess.CompletedProcess[str]:
    write_nir(small_network(), folder / "network.nir")
    rng = np.random.default_rng(5)
    np.savez(folder / "data.npz", spikes=(rng.random((2, 20, 5)) < 0.4).astype(np.uint8), labels=np.array([0, 1]))
    environment = dict(os.environ)
    if stand_in:
        for name, text in STAND_IN.items():
            path = folder / "extension" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        environment["PYTHONPATH"] = str(folder / "extension")
    command = [
        sys.executable,
        "-m",
        "sdsnn",
        "simulate",
        "network.nir",
        "data.npz",
        "--target",
        "loihi2",
        "--json",
    ]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300, check=False
    )


@needs_lava
def test_without_the_extension_one_message_says_all(tmp_path: Path) -> None:
    assert missing_modules() == list(EXTENSION)
    answer = simulate(tmp_path, stand_in=False)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    for text in (*EXTENSION, "Neuromorphic Research Community", "archived", "--target engine", "--target lava"):
        assert text in answer.stderr
    assert not (tmp_path / "measured.json").exists()


@needs_lava
def test_the_whole_path_against_a_stand_in(tmp_path: Path) -> None:
    answer = simulate(tmp_path, stand_in=True)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    with np.load(tmp_path / "data.npz") as data:
        truth = reference.run(small_network(), data["spikes"])
    assert truth.counts["b"].sum() > 0
    assert result["predictions"] == truth.counts["b"].argmax(axis=1).tolist()
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert measured["network_sha256"] == small_network().digest()
    assert measured["samples"] == 2
    assert measured["output_bins"] == 2 * 20 * 3
    assert measured["output_bins_different"] == 0
    assert measured["Loihi2Power"] == {"total_power": [0.5] * 20, "static_total_power": [0.25] * 20}
    assert measured["Loihi2ExecutionTime"] == {"avg_time_per_step": 42.5}
    assert measured["Loihi2Activity"] == {"core_idx": [0, 1], "syn_ops": [10, 30]}
    assert measured["Loihi2Memory"] == {"core_idx": [0, 1], "total_mpds": [64, 128]}


def test_probes_are_averaged_over_samples() -> None:
    runs = [{"Loihi2Power": {"total_power": [1.0, 2.0]}}, {"Loihi2Power": {"total_power": [3.0, 4.0]}}]
    assert merge_measured(runs) == {"Loihi2Power": {"total_power": [2.0, 3.0]}}
    assert merge_measured([]) == {}


def test_what_the_ports_cannot_carry_is_refused() -> None:
    network = small_network()
    check_supported(network)
    with pytest.raises(UnsupportedNode, match=r"loihi2: expected one input, of 0 and 1, got input \(values to 8\)"):
        check_supported(Network({**network.nodes, "input": Input((5,), 8)}, network.projections))
    with pytest.raises(UnsupportedNode, match="loihi2: expected one output, of spikes, got output "):
        check_supported(Network({**network.nodes, "output": Output("b", "voltage")}, network.projections))
