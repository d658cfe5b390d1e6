"""Our NIR files in norse, snnTorch, spikingjelly and sinabs: their spikes are the reference's, or it is said why not.

The readers run in children of SDSNN_READERS (an interpreter that has them), default this one. Nothing in NIR takes a
step of transport, so the population of depth n spikes n steps earlier there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sdsnn.export.float_import.graph import read_graph
from sdsnn.export.float_import.run import float_run
from sdsnn.export.nir_format.sinabs import to_sinabs, write_sinabs
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn.export.resolution import finest_resolution, with_resolution
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses

SCRIPT = Path(__file__).parents[2] / "readers.py"
DT = 1e-4
N_SAMPLES, N_STEPS = 4, 60
Trains = npt.NDArray[np.uint8]


class Cases:
    """Networks and inputs, what each tool makes of them in one child, and what the reference says."""

    def __init__(self, folder: Path, python_with: Callable[[str], str]) -> None:
        self.folder, self.python_with = folder, python_with
        self.got: dict[str, dict[str, Any]] = {}

    def __call__(self, tool: str) -> dict[str, Any]:
        """Return name -> (samples, steps, size) of what `tool` makes of the file of each of its networks."""
        python = self.python_with(tool)
        if tool not in self.got:
            folder = self.folder / tool
            folder.mkdir()
            for name, (network, spikes) in cases(tool).items():
                (write_sinabs if tool == "sinabs" else write_nir)(network, folder / f"{name}.nir")
                (port,) = network.inputs.values()
                np.save(folder / f"{name}.npy", spikes.reshape(*spikes.shape[:2], *nir_shape(network, port)))
            command = [python, str(SCRIPT), tool, str(folder)]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert answer.returncode == 0, answer.stderr[-2000:]
            self.got[tool] = {name: np.load(folder / f"{name}.out.npy") for name in cases(tool)}
        return self.got[tool]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, python_with: Callable[[str], str]) -> Cases:
    return Cases(tmp_path_factory.mktemp("readers"), python_with)


@lru_cache
def cases(tool: str) -> dict[str, tuple[Network, Trains]]:
    """Networks for a tool: sinabs reads no currents that decay, snnTorch 1.0.0 and sinabs no flat loops."""
    rng = np.random.default_rng(1)
    networks: dict[str, Network] = {}
    for name, decays in EXACT.items():
        networks[f"mlp-{name}"] = mlp(rng, *decays, 60)
        networks[f"conv-{name}"] = conv(rng, *decays)
    if tool in ("norse", "spikingjelly"):
        networks["loop"] = recurrent(rng)
    made = {name: (network, drawn(rng, network)) for name, network in networks.items()}
    decays, weights = ((4096, 100), (-8, 12)) if tool == "sinabs" else ((1024, 123), (-3, 5))
    coarse = mlp(rng, *decays, 90, weights)
    spikes = drawn(rng, coarse)
    made["coarse"] = coarse, spikes
    made["fine"] = with_resolution(coarse, finest_resolution(coarse, spikes)), spikes
    made["conv-coarse"] = (network := conv(rng, *decays)), drawn(rng, network)
    return made


def nir_shape(network: Network, port: Input) -> tuple[int, ...]:
    image = any(len(node.shape) == 3 for node in network.nodes.values() if not isinstance(node, Output))
    return port.shape if len(port.shape) == 3 or not image else (port.size, 1, 1)


def earlier(network: Network, spikes: Trains, depth: int) -> Trains:
    """Return what the network's output emits, as a tool without transport would show it."""
    (output,) = network.outputs.values()
    padded = np.concatenate([spikes, np.zeros((len(spikes), depth, spikes.shape[2]), np.uint8)], axis=1)
    return reference.run(network, padded).spikes[output.source][:, depth:]


def drawn(rng: np.random.Generator, network: Network, rate: float = 0.2) -> Trains:
    (port,) = network.inputs.values()
    return (rng.random((N_SAMPLES, N_STEPS, port.size)) < rate).astype(np.uint8)


def mlp(
    rng: np.random.Generator, current_decay: int, voltage_decay: int, threshold: int, span: tuple[int, int] = (-20, 30)
) -> Network:
    def weights(n_post: int, n_pre: int) -> Any:
        return rng.integers(*span, (n_post, n_pre)) * 2 * (rng.random((n_post, n_pre)) < 0.6)

    nodes = {
        "input": Input((24,)), "a": Population((30,), current_decay, voltage_decay, threshold),
        "b": Population((20,), current_decay, voltage_decay, threshold), "output": Output("b"),
    }  # fmt: skip
    first, second = weights(30, 24), weights(20, 30)
    return Network(nodes, {"w": Synapses.from_dense("input", "a", first), "v": Synapses.from_dense("a", "b", second)})


def conv(rng: np.random.Generator, current_decay: int, voltage_decay: int) -> Network:
    """Convolution with stride and padding, pooling (a grouped convolution), a dense layer behind."""
    first = Convolution("input", "a", rng.integers(-20, 30, (4, 2, 3, 3)) * 2, (1, 1), (1, 1), (1, 1), 1)
    pool = Convolution("a", "p", np.full((4, 1, 2, 2), 70), (2, 2), (0, 0), (1, 1), 4)
    nodes = {
        "input": Input((2, 8, 8)), "a": Population((4, 8, 8), current_decay, voltage_decay, 90),
        "p": Population((4, 4, 4), current_decay, voltage_decay, 100),
        "b": Population((10,), current_decay, voltage_decay, 80), "output": Output("b"),
    }  # fmt: skip
    last = Synapses.from_dense("p", "b", rng.integers(-15, 20, (10, 64)) * 2)
    return Network(nodes, {"w": first, "pool": pool, "v": last})


def recurrent(rng: np.random.Generator) -> Network:
    nodes = {"input": Input((12,)), "a": Population((16,), 4096, 2048, 64), "output": Output("a")}
    first = Synapses.from_dense("input", "a", rng.integers(-20, 40, (16, 12)) * 2)
    return Network(nodes, {"w": first, "loop": Synapses.from_dense("a", "a", rng.integers(-15, 12, (16, 16)) * 2)})


# Decays whose products with integers stay integers, so that floats and fixed point are the same numbers.
EXACT = {"if": (4096, 0), "forget": (4096, 4096)}
TOOLS = ("norse", "snntorch", "spikingjelly", "sinabs")


def depth(name: str) -> int:
    return 3 if name.startswith("conv") else 1 if name == "loop" else 2


@pytest.mark.parametrize("tool", TOOLS)
def test_where_nothing_is_rounded_the_spikes_are_the_reference(tool: str, run: Cases) -> None:
    """A loop takes a step in the tools too, so a network with one is the same, one step earlier as a whole."""
    got = run(tool)
    for name in got:
        if "coarse" in name or name == "fine":
            continue
        network, spikes = cases(tool)[name]
        wanted = earlier(network, spikes, depth(name))
        assert wanted.sum() > 100, name
        np.testing.assert_array_equal(got[name], wanted, err_msg=f"{tool} {name}")


@pytest.mark.parametrize("tool", TOOLS)
def test_elsewhere_they_are_those_of_the_floats(tool: str, run: Cases) -> None:
    got = run(tool)
    for name in ("coarse", "fine", "conv-coarse"):
        network, spikes = cases(tool)[name]
        padded = np.concatenate([spikes, np.zeros_like(spikes[:, : depth(name)])], axis=1)
        floats = float_run(read_graph(to_nir(network), DT), {"input": padded})[0]["b"][:, depth(name) :]
        assert floats.sum() > 100
        np.testing.assert_array_equal(got[name], floats, err_msg=f"{tool} {name}")


@pytest.mark.parametrize("tool", TOOLS)
def test_the_difference_is_the_rounding_of_decays_and_finer_states_take_it_away(tool: str, run: Cases) -> None:
    got = run(tool)
    gap = {}
    for name in ("coarse", "fine"):
        network, spikes = cases(tool)[name]
        gap[name] = int((got[name] != earlier(network, spikes, 2)).sum())
    assert gap["fine"] == 0 < gap["coarse"], gap
    np.testing.assert_array_equal(got["coarse"], got["fine"])


def test_sinabs_cannot_have_what_it_has_no_layer_for(tmp_path: Path, rng: Any) -> None:
    def one(weights: Any = ((20,),), delay: int = 0, **of: Any) -> Network:
        a = Population((1,), **{"current_decay": 4096, "voltage_decay": 0, "threshold": 10, **of})
        first = Synapses.from_dense("input", "a", np.asarray(weights), delay=np.asarray(delay))
        return Network({"input": Input((1,)), "a": a, "output": Output("a")}, {"w": first})

    def uneven() -> Network:
        network = conv(rng, 4096, 0)
        a = replace(network.populations["a"], threshold=np.array([50, 60, 70, 80]).reshape(4, 1, 1))
        return replace(network, nodes={**network.nodes, "a": a})

    assert type(to_sinabs(one()).nodes["a"]).__name__ == "IF"
    assert type(to_sinabs(one(voltage_decay=1)).nodes["a"]).__name__ == "LIF"
    for network, words in (
        (one(current_decay=2048), r"population 'a' current_decay: expected 4096 .*, got 2048..2048"),
        (one(bias=3), r"population 'a' bias: expected 0 .*, got 3..3"),
        (one(initial_voltage=-3), r"population 'a' initial_voltage: expected 0 .*, got -3..-3"),
        (one(threshold=NEVER_FIRES), r"population 'a' threshold: expected values below .*, got 131072..131072"),
        (one(delay=2), r"projection 'w': expected no delays, got some: sinabs has none"),
        (recurrent(rng), r"projection 'loop': expected no loop"),
        (uneven(), r"population 'a': expected one for all its neurons"),
    ):
        with pytest.raises(UnsupportedNode, match=words):
            write_sinabs(network, tmp_path / "a.nir")
        assert not list(tmp_path.iterdir())
