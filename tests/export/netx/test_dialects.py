"""`.net` files of other writers and of older releases: mlGeNN's exporter, `recurrent`, `average`, bootstrap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from networks import assert_same_activity
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.export.check.check import check
from sdsnn.export.files import read_network
from sdsnn.export.netx.reader import read_netx
from sdsnn.export.netx.run import run_netx_many
from sdsnn.export.netx.writer import write_netx
from sdsnn.export.readout import with_readout, with_readout_threshold
from sdsnn_core import reference
from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.lava.compat import import_slayer, lava_available
from sdsnn_core.network import NEVER_FIRES, Network, Output, Synapses
from sdsnn_core.tasks.decoding import decode

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Every test draws the same, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


NULL = object()  # a field with a type and no value: an HDF5 null dataspace


def write(path: Path, *layers: dict[str, Any]) -> Path:
    """Write layers as they are given; 'a/b' is field b of group a."""
    with h5py.File(path, "w") as file:
        for index, fields in enumerate(layers):
            group = file.create_group(f"layer/{index}")
            for name, value in fields.items():
                if value is NULL:
                    group.create_dataset(name, dtype="b1")
                elif isinstance(value, str):
                    group.create_dataset(name, data=value, dtype="S10")
                else:
                    group.create_dataset(name, data=value)
    return path


def neurons(threshold: int, i_decay: int = 743, v_decay: int = 200, ref_delay: int = 0) -> dict[str, Any]:
    """The neuron group as mlGeNN's exporter writes it."""
    return {
        "neuron/gradedSpike": NULL, "neuron/type": "CUBA", "neuron/iDecay": np.int32(i_decay),
        "neuron/vDecay": np.int32(v_decay), "neuron/vThMant": np.int32(threshold),
        "neuron/refDelay": np.int32(ref_delay),
    }  # fmt: skip


def even(low: int, high: int, *shape: int) -> np.ndarray:
    return (2 * RNG.integers(low, high, shape)).astype("f4")


def mlgenn(path: Path, *, threshold: int = 2**16, scale: int = 6, delays: bool = False, **changes: Any) -> Path:
    """A recurrent network with a read-out, as genn-team/ml_genn_netx writes one."""
    first, last = neurons(400), neurons(threshold)
    recurrent = {
        "shape": [8], "type": "dense_rec", "inFeatures": NULL, "outFeatures": NULL, "weight": even(-30, 45, 8, 12),
        "weight_rec": even(-20, 20, 8, 8), **first, **changes,
    }  # fmt: skip
    if delays:
        recurrent |= {"delay": RNG.integers(0, 9, (8, 12)), "delay_rec": RNG.integers(0, 9, (8, 8))}
    out = {"shape": [3], "type": "dense", "weight": even(-scale, scale, 3, 8), **last}
    return write(path, {"shape": [12], "type": "input"}, recurrent, out)


def spikes(samples: int = 3, steps: int = 40, size: int = 12, rate: float = 0.15) -> np.ndarray:
    return (RNG.random((samples, steps, size)) < rate).astype(np.uint8)


# mlGeNN


@needs_lava
def test_files_of_mlgenn_run_in_netx_as_they_are_read(tmp_path: Path) -> None:
    jobs = [
        (mlgenn(tmp_path / "a.net"), spikes()),
        (mlgenn(tmp_path / "b.net", threshold=90, scale=60), spikes()),
        (mlgenn(tmp_path / "c.net", **{"neuron/refDelay": np.int32(1), "neuron/gradedSpike": False}), spikes()),
    ]
    bins = 0
    for (path, train), got in zip(jobs, run_netx_many(jobs, remedied=False), strict=True):
        bins += assert_same_activity(reference.run(read_netx(path), train), got)
        assert got.counts["layer0"].any()
    assert bins > 3000


def by_hand(weights: list[Any], delays: list[Any], train: np.ndarray, decays: tuple[int, int], threshold: int) -> Any:
    """Step a recurrent layer neuron by neuron, spikes on their way in a table of arrival times."""
    n = len(weights[0])
    u, v = [0] * n, [0] * n
    arriving: dict[tuple[int, int], int] = {}
    spiked = np.zeros((len(train), n), np.uint8)

    def shrunk(x: int, d: int) -> int:
        return (abs(x) * (4096 - d) // 4096) * (1 if x > 0 else -1)

    for t, row in enumerate(train):
        for i in range(n):
            u[i] = shrunk(u[i], decays[0]) + 64 * arriving.pop((t, i), 0)
            v[i] = shrunk(v[i], decays[1]) + u[i]
            if v[i] > 64 * threshold:
                spiked[t, i], v[i] = 1, 0
        for weight, delay, source in zip(weights, delays, (row, spiked[t]), strict=True):
            for i, j in np.argwhere(weight * source):
                at = (t + 1 + int(delay[i, j]), int(i))
                arriving[at] = arriving.get(at, 0) + int(weight[i, j])
    return spiked


def test_delays_of_each_synapse_of_a_recurrent_layer_are_those_of_its_synapses(tmp_path: Path) -> None:
    path = mlgenn(tmp_path / "a.net", delays=True)
    with h5py.File(path) as file:
        layer = {key: file[f"layer/1/{key}"][()] for key in ("weight", "weight_rec", "delay", "delay_rec")}
    train = spikes(1)
    got = reference.run(read_netx(path), train).spikes["layer0"][0]
    expected = by_hand(
        [layer["weight"], layer["weight_rec"]], [layer["delay"], layer["delay_rec"]], train[0], (743, 200), 400
    )
    assert expected.any()
    np.testing.assert_array_equal(got, expected)
    rules = {(finding.rule, finding.severity) for finding in check(path)}
    assert ("recurrent-delay", "error") in rules, "netx runs other weights"


def test_one_delay_for_a_recurrent_neuron_stays_refused(tmp_path: Path) -> None:
    path = mlgenn(tmp_path / "a.net", delay_rec=np.arange(8))
    with pytest.raises(UnsupportedNode, match=r"layer 1: expected no delays at a recurrent.*field delay_rec"):
        read_netx(path)


# Read-outs


def test_an_output_that_no_input_can_make_fire_is_read_by_its_voltage(tmp_path: Path) -> None:
    path = mlgenn(tmp_path / "a.net", scale=6)
    network = read_network(path)
    assert network.outputs["output"].signal == "voltage"
    assert (network.populations["layer1"].threshold == 2**16).all(), "what the chip gets is what the file says"
    findings = {finding.rule: finding.where for finding in check(path)}
    assert findings["readout"] == "population 'layer1'"
    assert "never-fires" not in findings
    counted = read_network(path, readout="spikes")
    assert counted.outputs["output"].signal == "spikes"
    # The class is that of the largest sum of voltages, worked out from the spikes of the layer before.
    train = spikes(6)
    activity = reference.run(network, train, record_state=["layer1"])
    assert decode(network, activity).tolist() == np.argmax(activity.voltage["layer1"].sum(axis=1), axis=1).tolist()


def test_an_output_that_could_fire_is_read_by_its_spikes_until_somebody_says_otherwise(tmp_path: Path) -> None:
    path = mlgenn(tmp_path / "a.net", scale=60, threshold=2000)
    network = read_network(path)
    assert network.outputs["output"].signal == "spikes"
    voltage = read_network(path, readout="voltage")
    assert voltage.outputs["output"].signal == "voltage"
    train = np.ones((2, 40, 12), np.uint8)
    assert reference.run(network, train).counts["layer1"].any()
    assert not reference.run(voltage, train).counts["layer1"].any()
    assert with_readout(voltage, "spikes").outputs["output"].signal == "spikes"


def test_check_names_the_option_where_the_bound_cannot_decide(tmp_path: Path) -> None:
    weight = np.zeros((2, 8), "f4")
    weight[0] = 200
    network = read_network(mlgenn(tmp_path / "a.net"))
    nodes = {**network.nodes, "output": Output("layer1")}
    mixed = Network(
        nodes,
        {
            **network.projections,
            "layer0-layer1": Synapses.from_dense("layer0", "layer1", np.pad(weight, ((0, 1), (0, 0)))),
        },
    )
    path = write_netx(mixed, tmp_path / "b.net")
    (finding,) = (finding for finding in check(path) if finding.rule == "never-fires")
    assert finding.what.startswith("2 of 3 neurons")
    assert "--readout voltage" in finding.help


def test_a_lower_readout_threshold_changes_no_voltage(tmp_path: Path) -> None:
    network = read_network(mlgenn(tmp_path / "a.net"), readout="voltage")
    nodes = dict(network.nodes)
    assert (nodes["layer1"].threshold == 2**16).all()
    never = read_network(mlgenn(tmp_path / "b.net", threshold=2**18 - 1))
    assert (never.populations["layer1"].threshold == NEVER_FIRES).all()
    lowered = with_readout_threshold(never, 2**16)
    path = write_netx(lowered, tmp_path / "c.net")
    again = read_network(path)
    assert (again.populations["layer1"].threshold == 2**16).all()
    assert again.outputs["output"].signal == "voltage"
    train = np.concatenate([spikes(), np.ones((1, 40, 12), np.uint8)])
    states = [reference.run(each, train, record_state=["layer1"]).voltage["layer1"] for each in (never, lowered, again)]
    np.testing.assert_array_equal(states[0], states[1])
    np.testing.assert_array_equal(states[0], states[2])
    with pytest.raises(
        NetworkError, match=r"population 'layer1': expected a drive that stays below a threshold of 9, "
    ):
        with_readout_threshold(never, 9)
    with pytest.raises(NetworkError, match=r"readout threshold: expected 1\.\.131071, got 131072"):
        with_readout_threshold(never, NEVER_FIRES)


# Older releases


def test_a_recurrent_layer_of_an_old_release_is_the_same_network_as_todays(tmp_path: Path) -> None:
    weight, loop = even(-30, 45, 8, 12), even(-20, 20, 8, 8)
    today = write(
        tmp_path / "a.net", {"shape": [8], "type": "dense_rec", "weight": weight, "weight_rec": loop, **neurons(400)}
    )
    old = write(
        tmp_path / "b.net", {"shape": [8], "type": "recurrent", "weight": weight, "recWeight": loop, **neurons(400)}
    )
    assert read_netx(today).digest() == read_netx(old).digest()
    assert [finding.rule for finding in check(today)] == []
    assert [(finding.rule, finding.where) for finding in check(old)] == [("old-dialect", "layer 0")]
    written = write_netx(read_netx(old), tmp_path / "c.net")
    assert check(written) == []


@needs_lava
def test_a_closing_average_counts_the_votes_of_equal_groups(tmp_path: Path) -> None:
    layer = {"shape": [8], "type": "dense", "weight": even(-30, 45, 8, 12), **neurons(200)}
    path = write(tmp_path / "a.net", layer, {"type": "average", "shape": [4, 1, 1]})
    network, train = read_netx(path), spikes(5)
    activity = reference.run(network, train, record_state=["vote"])
    hidden = torch.from_numpy(activity.spikes["layer0"]).float().movedim(1, -1)
    means = import_slayer().block.base.AbstractAverage(4)(hidden).numpy()  # (samples, groups, steps)
    # A group holds two neurons, and a vote arrives one step after its spikes.
    np.testing.assert_array_equal(activity.voltage["vote"][:, 1:], np.moveaxis(2 * 64 * means, -1, 1)[:, :-1])
    assert decode(network, activity).tolist() == means[..., :-1].sum(-1).argmax(-1).tolist()
    assert {"old-dialect", "readout"} <= {finding.rule for finding in check(path)}
    uneven = write(tmp_path / "b.net", layer, {"type": "average", "shape": [3, 1, 1]})
    with pytest.raises(NetworkError, match=r"layer 1 shape: expected a number of groups that divides 8, got 3"):
        read_netx(uneven)


@needs_lava
@pytest.mark.parametrize("bias", [0.5, -0.75])
def test_a_bootstrap_file_gives_the_sums_of_its_blocks(bias: float, tmp_path: Path) -> None:
    """The blocks as they run in SNN mode, against the file that they write: hidden spikes and the last sums."""
    import_slayer()
    from lava.lib.dl.bootstrap.block import cuba
    from lava.lib.dl.bootstrap.routine import Mode

    torch.manual_seed(0)
    neuron = {"threshold": 1.25, "current_decay": 1.0, "voltage_decay": 0.03}
    blocks: list[Any] = [
        cuba.Input(neuron, weight=1.0, bias=bias),
        cuba.Dense(neuron, 12, 9, weight_scale=3, weight_norm=False),
        cuba.Affine(neuron, 9, 3, dynamics=False, weight_scale=3, weight_norm=False),
    ]
    x = torch.from_numpy(RNG.integers(0, 100, (4, 12, 30)) / 32.0).float()
    trains = [x]
    with torch.no_grad():
        for block in blocks:
            trains.append(block(trains[-1], mode=Mode.SNN))
    with h5py.File(tmp_path / "a.net", "w") as file:
        for index, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{index}"))
    network = read_netx(tmp_path / "a.net")
    weight, shift = network.provenance["input_weight"], network.provenance["input_bias"]
    assert shift >= 0
    feed = np.moveaxis(np.rint(x.numpy() * weight).astype(np.int64) + shift, -1, 1)
    assert 0 <= feed.min() < feed.max() <= 255
    activity = reference.run(network, feed, 31, record_state=["layer1"])
    for name, train in (("layer_input", trains[1]), ("layer0", trains[2])):
        np.testing.assert_array_equal(activity.spikes[name][:, :30], np.moveaxis(train.numpy(), -1, 1))
        assert train.any()
    # A chip takes one step for the last layer too.
    np.testing.assert_array_equal(activity.voltage["layer1"][:, 1:], np.moveaxis(4096 * trains[3].numpy(), -1, 1))
    assert network.outputs["output"].signal == "voltage"
    assert "old-dialect" in {finding.rule for finding in check(tmp_path / "a.net")}


# The commands


def test_import_and_simulate_take_the_readout_as_an_option(tmp_path: Path) -> None:
    def run(*arguments: Any) -> str:
        answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert answer.exit_code == 0, answer.output
        return answer.output

    path = mlgenn(tmp_path / "a.net", threshold=2000, scale=60)
    train = spikes(6)
    np.savez(tmp_path / "data.npz", spikes=train, labels=np.zeros(6, int))
    np.savez(tmp_path / "silence.npz", spikes=0 * train, labels=np.zeros(6, int))
    silent = run("simulate", path, tmp_path / "silence.npz", "--quiet")
    assert "if the result is a voltage, use --readout voltage" in silent
    printed = run("simulate", path, tmp_path / "data.npz", "--quiet", "--readout", "voltage", "--json")
    network = read_network(path, readout="voltage")
    classes = decode(network, reference.run(network, train, record_state=["layer1"]))
    assert json.loads(printed.splitlines()[-1])["accuracy"] == (classes == 0).mean()
    run("import", path, "--readout", "voltage", "-o", tmp_path / "b.nir")
    assert read_network(tmp_path / "b.nir").digest() == network.digest()
    # The threshold that stays out of reach is kept, the others go where no voltage is.
    assert set(np.unique(network.populations["layer1"].threshold)) <= {2000, NEVER_FIRES}
    never = mlgenn(tmp_path / "c.net", threshold=2**18 - 1)
    run("import", never, "--readout-threshold", 2**16, "-o", tmp_path / "d.net")
    assert (read_network(tmp_path / "d.net").populations["layer1"].threshold == 2**16).all()
