"""NIR files: lossless for every legal integer, honest about the rest, and one line for what is wrong with a file."""

import json
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import assert_same_network, random_network

from sdsnn.export.nir_format.reader import KNOWN, from_nir, read_nir
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import FileError, NetworkError, UnsupportedNode
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses


def small(**changes):
    """One input of 3, two populations of 2 and 4, an output."""
    nodes = {
        "in": Input((3,)),
        "hidden": Population((2,), 1024, [0, 128], 80, bias=changes.pop("bias", 0)),
        "last": Population((4,), 4096, 410, 64),
        "out": Output("last"),
    }
    projections = {
        "a": Synapses.from_dense("in", "hidden", [[10, 0, -256], [254, 7, 0]], changes.pop("delay", 0)),
        "b": Synapses.from_dense("hidden", "last", [[2, 0], [0, -2], [4, 6], [0, 0]]),
    }
    return Network(nodes, projections, **changes)


# Lossless


def test_random_networks_come_back_bit_identical(tmp_path):
    for seed in range(300):
        rng = np.random.default_rng(seed)
        network = random_network(rng, graded=True)
        assert_same_network(network, from_nir(to_nir(network)))
        if seed % 10 == 0:
            assert_same_network(network, read_nir(write_nir(network, tmp_path / "n.nir")))


@settings(max_examples=200)
@given(
    current=st.integers(0, 4096),
    voltage=st.integers(0, 4096),
    threshold=st.integers(0, NEVER_FIRES),
    bias=st.integers(-4095, 4095),
    bias_exp=st.integers(0, 7),
    start=st.integers(-(2**31) + 1, 2**31 - 1),
)
def test_every_legal_parameter_survives_metadata_and_floats_alone(current, voltage, threshold, bias, bias_exp, start):
    population = Population((2,), current, voltage, threshold, bias, bias_exp, start)
    nodes = {"in": Input((1,)), "p": population, "out": Output("p")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "p", [[1], [-1]])})
    assert_same_network(network, from_nir(to_nir(network)))
    graph = to_nir(network)
    graph.metadata = {}
    alone = from_nir(graph, dt=1e-4).nodes["p"]
    for name in ("current_decay", "voltage_decay", "threshold"):
        np.testing.assert_array_equal(alone.per_neuron(name), population.per_neuron(name))
    assert alone.bias << alone.bias_exp == bias << bias_exp


def test_all_decays_and_thresholds_survive_float32():
    decays = np.arange(4097)
    thresholds = np.linspace(0, NEVER_FIRES, 4097).astype(int)
    nodes = {"in": Input((1,)), "p": Population((4097,), decays, decays[::-1], thresholds), "out": Output("p")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "p", np.arange(4097)[:, None] % 512 - 256)})
    graph = to_nir(network)
    for name in ("tau_syn", "tau_mem", "r", "w_in", "v_threshold", "v_leak", "v_reset"):
        setattr(graph.nodes["p"], name, getattr(graph.nodes["p"], name).astype(np.float32))
    assert_same_network(network, from_nir(graph))


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.3])
def test_the_floats_alone_are_enough_for_weights_delays_thresholds_and_decays(dt):
    compared = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        # No biased starts: they have no place in floats. No images: without metadata a column stays one.
        network = random_network(rng, convolution=False, bias=False)
        graph = to_nir(network, dt=dt)
        graph.metadata = {}
        other = from_nir(graph, dt=dt)
        spikes = random_spikes(rng, network, 2, 20)
        a, b = reference.run(network, spikes), reference.run(other, spikes)
        for name in network.populations:
            np.testing.assert_array_equal(a.spikes[name], b.spikes[name])
            compared += a.spikes[name].size
        assert a.synaptic_operations() == b.synaptic_operations()
    assert compared > 10_000


def test_images_read_from_the_floats_alone_spike_the_same():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        network = random_network(rng, bias=False)
        graph = to_nir(network)
        graph.metadata = {}
        spikes = random_spikes(rng, network, 1, 15)
        a, b = reference.run(network, spikes), reference.run(from_nir(graph, dt=1e-4), spikes)
        for name in network.populations:
            np.testing.assert_array_equal(a.spikes[name], b.spikes[name])


def test_nir_itself_reads_what_we_write_and_writes_what_we_read(tmp_path):
    for seed in range(40):
        network = random_network(np.random.default_rng(seed))
        graph = nir.read(write_nir(network, tmp_path / "ours.nir"), type_check=False)
        expected = to_nir(network)
        assert set(graph.nodes) == set(expected.nodes)
        assert set(graph.edges) == set(expected.edges)
        assert_same_network(network, from_nir(graph))
        nir.write(tmp_path / "theirs.nir", graph)
        assert_same_network(network, read_nir(tmp_path / "theirs.nir"))


def test_files_with_square_kernels_pass_nirs_own_type_check(tmp_path):
    image = Population((4, 6, 6), 1024, 128, 80)
    nodes = {"in": Input((2, 8, 8)), "conv": image, "pool": Population((4, 3, 3), 4096, 4096, 63)}
    nodes |= {"last": Population((5,), 410, 410, [1, 2, 3, 4, 5]), "out": Output("last")}
    rng = np.random.default_rng(0)
    projections = {
        "k": Convolution("in", "conv", rng.integers(-9, 9, (4, 2, 3, 3))),
        "p": Convolution("conv", "pool", np.full((4, 1, 2, 2), 70), stride=(2, 2), groups=4),
        "f": Synapses.from_dense("pool", "last", rng.integers(-9, 9, (5, 36))),
        "r": Synapses.from_dense("last", "last", rng.integers(-9, 9, (5, 5))),
    }
    network = Network(nodes, projections)
    path = write_nir(network, tmp_path / "n.nir")
    graph = nir.read(path, type_check=True)
    assert graph.nodes["p"].weight.shape == (4, 4, 2, 2)  # pooling as a diagonal kernel, not grouped
    assert graph.nodes["f"].weight.shape == (5, 4, 3, 3)  # flatten and dense as one kernel of full size
    assert graph.nodes["last"].v_threshold.shape == (5, 1, 1)
    assert_same_network(network, read_nir(path))


def test_the_portable_floats_of_one_neuron():
    node = to_nir(small()).nodes["hidden"]
    np.testing.assert_allclose(node.tau_syn, 1e-4 * 4)
    np.testing.assert_allclose(node.w_in, 4)
    np.testing.assert_allclose(node.tau_mem, [1e-4 * 2**30, 1e-4 * 32])
    np.testing.assert_allclose(node.r, [2**30, 32])
    np.testing.assert_allclose(node.v_threshold, 1.25 + 0.1 / 4096, rtol=0, atol=1e-12)
    assert not node.v_reset.any()
    assert not node.v_leak.any()


def test_a_float_euler_step_of_the_file_spikes_as_the_reference_where_no_rounding_happens():
    # a = 1 and b in {0, 1}: decays that truncate nothing, so the integers and NIR's floats agree exactly.
    bins = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weight = rng.integers(-256, 255, (6, 9))
        b = rng.choice([0, 4096], 6)
        nodes = {"in": Input((9,)), "p": Population((6,), 4096, b, rng.integers(0, 300, 6)), "out": Output("p")}
        network = Network(nodes, {"w": Synapses.from_dense("in", "p", weight)})
        spikes = rng.random((30, 9)) < 0.3
        node, w = to_nir(network).nodes["p"], to_nir(network).nodes["w"].weight
        current, voltage, emitted = np.zeros(6), np.zeros(6), np.zeros((30, 6), int)
        for t in range(29):
            current += 1e-4 / node.tau_syn * (-current + node.w_in * (w @ spikes[t]))
            voltage += 1e-4 / node.tau_mem * (node.v_leak - voltage + node.r * current)
            emitted[t + 1] = voltage > node.v_threshold
            voltage = np.where(emitted[t + 1], node.v_reset, voltage)
        expected = reference.run(network, spikes).spikes["p"][0]
        np.testing.assert_array_equal(emitted, expected)
        bins += emitted.size
    assert bins == 20 * 30 * 6


def test_same_network_same_bytes(tmp_path):
    a, b = (write_nir(small(provenance={"seed": 3}), tmp_path / name).read_bytes() for name in ("a", "b"))
    assert a == b


def test_provenance_and_steps_come_back(tmp_path):
    network = small(dt_s=2.5e-3, provenance={"run": "x", "seed": [1, 2]})
    back = read_nir(write_nir(network, tmp_path / "n.nir"))
    assert back.dt_s == 2.5e-3
    assert dict(back.provenance) == {"run": "x", "seed": [1, 2]}


# Edited elsewhere: the floats decide


def test_an_edited_weight_or_threshold_is_read_as_edited():
    network = small()
    graph = to_nir(network)
    graph.nodes["a"].weight[0, 1] = 33 / 64
    graph.nodes["hidden"].v_threshold[1] = 99 / 64
    back = from_nir(graph)
    assert back.projections["a"].to_dense(2, 3)[0, 1] == 33
    np.testing.assert_array_equal(back.nodes["hidden"].threshold, [80, 99])


def test_an_edited_matrix_of_a_convolution_is_not_overruled_by_its_kernel():
    nodes = {"in": Input((1, 3, 3)), "p": Population((1, 3, 3), 4096, 4096, 9), "out": Output("p")}
    projections = {
        "k": Convolution("in", "p", np.ones((1, 1, 3, 3), int), padding=(1, 1)),
        "r": Synapses.from_dense("p", "p", np.eye(9, k=1, dtype=int)),
    }
    network = Network(nodes, projections)
    graph = to_nir(network)
    assert_same_network(network, from_nir(graph))
    graph.nodes["k"].weight.reshape(9, 9)[0, 0] = 5 / 64
    back = from_nir(graph).projections["k"]
    assert isinstance(back, Synapses)
    assert back.to_dense(9, 9)[0, 0] == 5


def test_a_restructured_graph_is_refused_unless_the_floats_are_asked_for():
    graph = to_nir(small())
    graph.nodes["extra"] = nir.Affine(np.ones((4, 3)) / 64, np.zeros(4))
    graph.edges += [("in", "extra"), ("extra", "last")]
    with pytest.raises(NetworkError, match=r"nodes: expected those that sdsnn wrote, got extra added .*metadata=False"):
        from_nir(graph)
    assert "extra" in from_nir(graph, dt=1e-4, metadata=False).projections


def test_metadata_that_fit_nothing_are_refused():
    graph = to_nir(small())
    hints = json.loads(graph.metadata["sdsnn"])
    del hints["nodes"][1]["shape"]
    graph.metadata = {"sdsnn": json.dumps(hints)}
    with pytest.raises(
        FileError, match=r"metadata 'sdsnn': expected those of the writer, got some that do not fit the graph"
    ):
        from_nir(graph)
    graph.metadata = {"sdsnn": json.dumps({**hints, "version": 99})}
    with pytest.raises(NetworkError, match=r"expected version 1, got 99"):
        from_nir(graph)


# What others wrote


def foreign(**changes):
    one = np.ones(2)
    neuron = {"tau_syn": 2e-3 * one, "tau_mem": 4e-3 * one, "r": 4 * one, "v_leak": 0 * one, "v_threshold": one}
    neuron |= {"w_in": 2 * one}
    neuron |= {k: np.asarray(v, float) * one for k, v in changes.items() if k in neuron}
    nodes = {
        "0": nir.Input(np.array([3])),
        "1": nir.Linear(changes.get("weight", np.array([[1, 0, -1.5], [2, 3, 0.25]]))),
        "2": nir.CubaLIF(**neuron),
        "3": nir.Output(np.array([2])),
    }
    return nir.NIRGraph(nodes, [("0", "1"), ("1", "2"), ("2", "3")])


def test_a_foreign_graph_on_the_grid_is_read_exactly():
    network = from_nir(foreign(), dt=1e-3)
    population = network.nodes["n2"]
    assert (population.current_decay, population.voltage_decay, population.threshold) == (2048, 1024, 64)
    np.testing.assert_array_equal(network.projections["n1"].to_dense(2, 3), [[64, 0, -96], [128, 192, 16]])


def test_an_affine_bias_is_read_where_it_is_exact():
    graph = foreign(tau_syn=1e-3, w_in=1)
    graph.nodes["1"] = nir.Affine(graph.nodes["1"].weight, np.array([0.25, -1.0]))
    population = from_nir(graph, dt=1e-3).nodes["n2"]
    np.testing.assert_array_equal(population.per_neuron("bias") << population.bias_exp, [1024, -4096])
    graph.nodes["2"].tau_syn[:] = 2e-3
    graph.nodes["2"].w_in[:] = 2
    with pytest.raises(NetworkError, match=r"node '1' bias: expected 0, or tau_syn = dt, got values up to 1"):
        from_nir(graph, dt=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.full((2, 3), 0.3)}, r"node '1' weight: expected k/64, got 6 of 6 values .* \[0\] for 19\.2"),
        ({"weight": np.full((2, 3), 700.0)}, r"node '1' weight: expected k/64 .*, got 44800/64..44800/64"),
        ({"tau_mem": 3.3e-3, "r": 3.3}, r"node '2' tau_mem: expected dt/tau of k/4096, got 2 of 2 values"),
        ({"r": 1}, r"node '2' r: expected tau_mem/dt = 4 \(dt 0\.001 s\), got 1"),
        ({"tau_syn": np.inf}, r"node '2' tau_syn: expected positive finite seconds, got inf"),
        ({"v_threshold": 1.01}, r"node '2' v_threshold: expected k/64"),
        ({"v_threshold": np.nan}, r"node '2' v_threshold: expected finite values, got nan"),
        ({"v_leak": 0.0001}, r"node '2' v_leak: .* k/4096"),
    ],
)
def test_values_that_stand_for_no_integer_are_named(changes, message):
    with pytest.raises(NetworkError, match=message):
        from_nir(foreign(**changes), dt=1e-3)


def test_a_graph_without_a_step_asks_for_one():
    with pytest.raises(NetworkError, match=r"dt: expected the step in seconds, which NIR does not store"):
        from_nir(foreign())


def test_unknown_nodes_are_refused_by_name(tmp_path):
    graph = foreign()
    graph.nodes["2"] = nir.LIF(np.ones(2), np.ones(2), np.zeros(2), np.ones(2))
    nir.write(tmp_path / "lif.nir", graph)
    with pytest.raises(UnsupportedNode) as caught:
        read_nir(tmp_path / "lif.nir", dt=1e-3)
    assert str(caught.value) == f"{tmp_path / 'lif.nir'}: node '2': expected one of {', '.join(KNOWN)}, got LIF"
    with h5py.File(tmp_path / "lif.nir", "r+") as file:
        del file["node/nodes/2/type"]
        file["node/nodes/2/type"] = "Quantum"
    with pytest.raises(UnsupportedNode, match=r"node '2': expected one of .*, got Quantum"):
        read_nir(tmp_path / "lif.nir", dt=1e-3)


def test_wrong_order_of_nodes_is_refused():
    graph = foreign()
    graph.edges = [("0", "1"), ("1", "2"), ("1", "3")]
    with pytest.raises(UnsupportedNode, match=r"edge '1' -> '3': expected .*CubaLIF.* before Output, got Linear"):
        from_nir(graph, dt=1e-3)


# Files that are no NIR


def test_missing_foreign_and_damaged_files_are_one_line_each(tmp_path):
    def message(path):
        with pytest.raises(FileError) as caught:
            read_nir(path)
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        return text[len(str(path)) :]

    assert message(tmp_path / "absent.nir") == ": no such file"
    (tmp_path / "text.nir").write_text("hello")
    assert message(tmp_path / "text.nir") == ": expected a NIR graph (.nir), got a file that is not an HDF5 file"
    whole = write_nir(small(), tmp_path / "whole.nir").read_bytes()
    (tmp_path / "cut.nir").write_bytes(whole[: len(whole) // 2])
    assert message(tmp_path / "cut.nir").startswith(": damaged HDF5 file (")
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["x"] = 1
    assert (
        message(tmp_path / "other.nir")
        == ": expected a NIR graph (a group 'node' of type NIRGraph), got an HDF5 file without one"
    )
    with h5py.File(tmp_path / "whole.nir", "r+") as file:
        del file["node/nodes/hidden/v_threshold"]
    assert "node 'hidden': cannot be read" in message(tmp_path / "whole.nir")


def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path):
    whole = write_nir(small(), tmp_path / "whole.nir").read_bytes()
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
        (tmp_path / "cut.nir").write_bytes(whole[:length])
        with pytest.raises(
            FileError, match=r"\A[^\n]*cut\.nir: [^\n]*(damaged HDF5|not an HDF5|an empty) file[^\n]*\Z"
        ):
            read_nir(tmp_path / "cut.nir")


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(FileError, match=r"is not an existing folder"):
        write_nir(small(), tmp_path / "no" / "n.nir")
    with pytest.raises(NetworkError, match=r"projection 'a': expected up to 8 bytes .* NIR stores weights densely"):
        write_nir(small(), tmp_path / "n.nir", max_bytes=8)
    (tmp_path / "n.nir").write_text("old")
    with pytest.raises(TypeError):
        write_nir(small(provenance={"x": object()}), tmp_path / "n.nir")
    assert (tmp_path / "n.nir").read_text() == "old"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["n.nir"]


def test_writing_holds_one_matrix_at_a_time(tmp_path):
    import tracemalloc

    n = 600
    rng = np.random.default_rng(0)
    nodes = {"in": Input((n,))}
    projections = {}
    previous = "in"
    for name in "abcdef":
        nodes[name] = Population((n,), 4096, 410, 64)
        weight = rng.integers(1, 99, (n, n)) * (rng.random((n, n)) < 0.02)
        projections[previous + name] = Synapses.from_dense(previous, name, weight)
        previous = name
    network = Network({**nodes, "out": Output(previous)}, projections)
    for work in (lambda: write_nir(network, tmp_path / "n.nir"), lambda: read_nir(tmp_path / "n.nir")):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * 4 * n * n  # six float32 matrices would be 6 * 4 * n * n
