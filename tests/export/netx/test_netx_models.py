"""netx files of sigma-delta and resonating neurons: written, read back, run by lava-dl's netx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from networks import assert_same_activity, assert_same_network, random_weights

from sdsnn.export.netx.neurons import netx_turn
from sdsnn.export.netx.reader import read_netx
from sdsnn.export.netx.run import run_netx
from sdsnn.export.netx.writer import write_netx
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import (
    AdaptiveLif,
    Convolution,
    Delta,
    Input,
    Network,
    Output,
    Population,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
    Synapses,
)

LAVA = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")


def weights(rng: np.random.Generator, *shape: int) -> Any:
    matrix = random_weights(rng, shape, 0.8, even=True)
    matrix.flat[:2] = 60, -20
    return matrix


def sigma_delta(seed: int) -> Network:
    """An image of messages -> convolution -> dense -> the sum."""
    rng = np.random.default_rng(seed)
    first = Convolution("input", "a", weights(rng, 4, 2, 3, 3), stride=(2, 2))
    shape = first.output_shape((2, 7, 9))
    nodes = {
        "input": Input((2, 7, 9), 4000, -4000),
        "a": SigmaDelta(shape, 3, rng.integers(-9, 9, (4, 1, 1))),
        "b": SigmaDelta((6,), 2, rng.integers(-9, 9, 6)),
        "c": Sigma((3,)),
        "output": Output("c"),
    }
    second = Synapses.from_dense("a", "b", weights(rng, 6, int(np.prod(shape))))
    return Network(nodes, {"w": first, "v": second, "x": Synapses.from_dense("b", "c", weights(rng, 3, 6))})


def resonators(seed: int, reset: bool) -> Network:
    rng = np.random.default_rng(seed)
    parts = rng.integers(1, 2500, 8), rng.integers(1, 3000, 8)
    nodes = {
        "input": Input((5,)),
        "a": Resonator((8,), *parts, 60, reset=reset),
        "b": Resonator((4,), 1200, 3600, 20, reset=reset),
        "output": Output("b"),
    }
    projections = {}
    for name, ends, shape in (("w", ("input", "a"), (8, 5)), ("v", ("a", "b"), (4, 8))):
        projections[name] = Synapses.from_dense(*ends, weights(rng, *shape))
        projections[f"{name}i"] = Synapses.from_dense(*ends, weights(rng, *shape), imaginary=True)
    return Network(nodes, projections)


NETWORKS = {"sigma-delta": sigma_delta(1), "rf": resonators(1, False), "rf_iz": resonators(2, True)}


def spikes(network: Network) -> np.ndarray:
    rng, port = np.random.default_rng(3), network.inputs["input"]
    values = rng.integers(port.min_value, port.max_value + 1, (2, 25, port.size))
    return np.asarray(values * (rng.random(values.shape) < 0.3))


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_file_is_read_back_identically_and_without_our_metadata_spikes_alike(kind: str, tmp_path: Path) -> None:
    network = NETWORKS[kind]
    path = write_netx(network, tmp_path / "network.net", loader="sdsnn")
    assert_same_network(read_netx(path), network)
    with h5py.File(path, "a") as file:
        del file["sdsnn"]
    foreign = read_netx(path)
    x = spikes(network)
    last = next(iter(network.outputs.values())).source
    expected = reference.run(network, x).spikes[last]
    assert expected.any()
    got = reference.run(foreign, x).spikes[next(iter(foreign.outputs.values())).source]
    np.testing.assert_array_equal(got, expected)


@LAVA
@pytest.mark.parametrize("kind", NETWORKS)
def test_netx_runs_it(kind: str, tmp_path: Path) -> None:
    network = NETWORKS[kind]
    got = run_netx(write_netx(network, tmp_path / "network.net", loader="sdsnn"), spikes(network))
    expected = reference.run(network, spikes(network))
    assert all(expected.spikes[name].any() for name in network.populations)
    assert_same_activity(got, expected)


@LAVA
def test_netx_resets_neurons_for_which_it_has_no_resets_itself(tmp_path: Path) -> None:
    network = NETWORKS["sigma-delta"]
    resets = {"reset_every": 9, "reset_offset": 2}
    got = run_netx(write_netx(network, tmp_path / "network.net", loader="sdsnn"), spikes(network), **resets)
    assert_same_activity(got, reference.run(network, spikes(network), **resets))


@LAVA
def test_the_integers_of_a_resonator_are_those_that_lava_recomputes() -> None:
    from sdsnn_core.lava.compat import ensure_lava, import_slayer

    ensure_lava()
    rf = import_slayer().neuron.rf
    from lava.proc.rf.process import RF

    rng = np.random.default_rng(0)
    sin, cos = rng.integers(1, 2900, 400), rng.integers(0, 2900, 400)
    made = rf.neuron_params({"sinDecay": sin, "cosDecay": cos, "vThMant": 64})
    process = RF(shape=(400,), period=made["period"], alpha=made["decay"], state_exp=6, decay_bits=12)
    ours = netx_turn(sin, cos)
    np.testing.assert_array_equal(process.sin_decay.init, ours[0])
    np.testing.assert_array_equal(process.cos_decay.init, ours[1])
    assert (ours[0] != sin).any()  # what a file says is not always what runs
    again = netx_turn(sin + 0.5, cos + 0.5)  # which is why the writer adds half a unit
    np.testing.assert_array_equal(again, [sin, cos])


def single(population: Population) -> Network:
    projections = {"w": Synapses.from_dense("in", "a", [[8, 4], [2, -6]])}
    return Network({"in": Input((2,)), "a": population, "out": Output("a")}, projections)


@pytest.mark.parametrize(
    ("population", "message"),
    [
        (AdaptiveLif((2,), 1, 1, 1, 1, 80, 8), r"population 'a': netx crashes on adaptive neurons \(ALIF\)"),
        (RefractoryLif((2,), 1, 1, 80, 5), "population 'a': netx has no refractory periods: it ignores refDelay"),
        (Delta((2,), 3), "population 'a': netx has Delta neurons only in an input layer"),
        (SigmaDelta((2,), [3, 4]), "expected one threshold for all neurons, got 3..4"),
        (SigmaDelta((2,), 3, relu=False), "expected a ReLU without cumulative error, with exponents of 6 and 6"),
        (Resonator((2,), 1200, 3600, 64), "expected real and imaginary weights, got one of them"),
    ],
)
def test_what_netx_has_no_layer_for(population: Population, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedNode, match=message):
        write_netx(single(population), tmp_path / "network.net", loader="sdsnn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("ALIF", "at which netx stops"),
        ("ADRF_PHASE", "which netx takes for RF neurons; Lava has no process"),
    ],
)
def test_neurons_that_netx_cannot_run(kind: str, reason: str, tmp_path: Path) -> None:
    path = write_netx(NETWORKS["sigma-delta"], tmp_path / "network.net", loader="sdsnn")
    with h5py.File(path, "a") as file:
        del file["layer/1/neuron/type"]
        file["layer/1/neuron/type"] = np.array([kind], "S20")
    with pytest.raises(UnsupportedNode, match=reason):
        read_netx(path)
