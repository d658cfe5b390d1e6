"""Recorded outputs of Lava, lava-dl and Loihi 2, reproduced spike by spike. The files stand outside the project."""

import os
from pathlib import Path

import numpy as np
import pytest

from sdsnn.export.netx.reader import read_netx
from sdsnn_core import reference
from sdsnn_core.network import Input, Network, Output, Population, Synapses

FOLDER = Path(os.environ.get("SDSNN_DATA", "")) / "golden"
pytestmark = pytest.mark.skipif(
    not (os.environ.get("SDSNN_DATA") and FOLDER.is_dir()),
    reason="set SDSNN_DATA to the folder that holds golden/ (recorded outputs of other tools)",
)


@pytest.mark.parametrize("name", ["trained_weights", "slow_current"])
def test_lava_dense(name):
    given = np.load(FOLDER / "lava_dense" / f"{name}.npz")
    size = len(given["weight"])
    population = Population(
        (size,), int(given["du"]) + 1, given["dv"], given["vth"], given["bias_mant"], int(given["bias_exp"])
    )
    nodes = {"in": Input((given["inp"].shape[0],)), "p": population, "out": Output("p")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "p", given["weight"])})
    got = reference.run(network, given["inp"].T, record_state=["p"])
    np.testing.assert_array_equal(got.spikes["p"][0].T, given["spikes"])
    np.testing.assert_array_equal(got.current["p"][0].T, given["u"])
    np.testing.assert_array_equal(got.voltage["p"][0].T, given["v"])
    assert given["spikes"].sum() > 2000


@pytest.mark.parametrize("where", ["cpu", "loihi"])
def test_one_neuron_in_lava_and_on_the_chip(where):
    rows = np.loadtxt(FOLDER / "nir_01_lif" / f"lif_lava_{where}_fixed.csv", delimiter=",")
    nodes = {"in": Input((1,)), "p": Population((1,), 4096, 163, 25), "out": Output("p")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "p", [[10]])})
    got = reference.run(network, (rows[:, :1] != 0).astype(np.uint8), record_state=["p"])
    spikes = rows[:, 2] != 0
    np.testing.assert_array_equal(got.spikes["p"][0, :, 0], spikes)
    assert np.flatnonzero(spikes).tolist() == [461, 511, 711, 761]
    # The chip shows 128 in the step of a spike, where Lava shows the reset voltage 0.
    expected = np.where(spikes, 0, rows[:, 1])
    np.testing.assert_array_equal(got.voltage["p"][0, :, 0], expected)


def digits(n_images):
    """The first test images as spikes (images, 32 steps, 784): accumulate the grey value, spike beyond 255."""
    with np.load(FOLDER.parent / "mnist" / "mnist.npz") as file:
        names = [name for name in file.files if "test" in name and file[name].ndim > 1]
        images = file[names[0]].reshape(-1, 784)[:n_images].astype(int)
    accumulator, spikes = np.zeros_like(images), np.zeros((n_images, 32, 784), np.uint8)
    for step in range(1, 32):
        accumulator += images
        spikes[:, step] = accumulator > 255
        accumulator[accumulator > 255] = 0
    return spikes


def test_netx_file_of_an_mnist_network():
    folder = FOLDER / "lava_mnist_mlp"
    network = read_netx(folder / "mnist_784_128_64_10.net")
    assert [p.shape for p in network.populations.values()] == [(128,), (64,), (10,)]
    recorded = np.load(folder / "lava_reference.npz")
    n = 1000
    got = reference.run(network, digits(n), 35, record=["layer2"])  # one step of transport per layer
    np.testing.assert_array_equal(got.counts["layer2"], recorded["counts"][:n])
    np.testing.assert_array_equal(got.counts["layer2"].argmax(axis=1), recorded["predicted"][:n])
    for image in range(100):
        lava = recorded["raster"][:, 32 * image + 3 : 32 * image + 35]
        np.testing.assert_array_equal(got.spikes["layer2"][image, 3:35].T, lava)


def start_for(bias, voltage_decay, steps):
    """Return the voltage from which `steps` steps of bias alone lead to exactly 0; bias in state units."""
    voltage = np.zeros_like(bias)
    for _ in range(steps):
        # The voltage before the step, so that it decays, with the bias, to `voltage`.
        wanted = voltage - bias
        voltage = np.sign(wanted) * -(-np.abs(wanted) * 4096 // (4096 - voltage_decay))
    return voltage


def test_netx_file_of_a_convolutional_network():
    folder = FOLDER / "lava_tinynet"
    network = read_netx(folder / "tiny.net")
    recorded = np.load(folder / "gts_tinynet.npz")
    assert dict(network.provenance) == {"input_weight": 36, "input_bias": 34}
    np.testing.assert_array_equal(
        network.projections["layer_input-layer0"].kernel[:, :, ::-1, ::-1].transpose(0, 3, 2, 1),
        recorded["layer1_kernel"],
    )
    np.testing.assert_array_equal(network.nodes["layer0"].bias.reshape(-1), recorded["layer1_bias"])

    # Layer 0 is driven by a constant bias; both leave column 0 empty.
    drive = np.broadcast_to(recorded["input_bias"].transpose(2, 1, 0).reshape(-1), (16, 768))
    spikes = recorded["input"][0].reshape(768, 16).T
    got = reference.run(network, drive)
    np.testing.assert_array_equal(got.spikes["layer_input"][0], spikes)
    assert spikes.sum() == 6783

    # The layers behind it start with their first data, which arrive after one and two steps of bias alone.
    nodes = {"in": Input((3, 16, 16))}
    for steps, name in enumerate(("layer0", "layer1"), start=1):
        p = network.nodes[name]
        start = start_for(p.bias.astype(np.int64) << p.bias_exp, int(p.voltage_decay), steps)
        nodes[name] = Population(
            p.shape, p.current_decay, p.voltage_decay, p.threshold, p.bias, p.bias_exp, initial_voltage=start
        )
    first = network.projections["layer_input-layer0"]
    projections = {
        "a": type(first)("in", "layer0", first.kernel, first.stride, first.padding, first.dilation),
        "b": network.projections["layer0-layer1"],
    }
    rest = Network({**nodes, "out": Output("layer1")}, projections)
    got = reference.run(rest, spikes[1:], 18)
    layer0 = recorded["layer1"][0].reshape(-1, 16).T
    layer1 = recorded["output"][0].reshape(-1, 16).T
    np.testing.assert_array_equal(got.spikes["layer0"][0, 1:16], layer0[1:])
    np.testing.assert_array_equal(got.spikes["layer1"][0, 2:17], layer1[1:])
    assert (layer0.sum(), layer1.sum()) == (1633, 92)
