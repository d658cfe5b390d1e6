"""netx files: written only where netx runs exactly them, read as what netx would run, known traps refused by name."""

import h5py
import numpy as np
import pytest
from networks import assert_same_activity, assert_same_network, random_network

from sdsnn.export.netx.format import netx_runs_exactly, remedied_runs_exactly
from sdsnn.export.netx.reader import read_netx
from sdsnn.export.netx.run import run_netx, run_netx_many
from sdsnn.export.netx.writer import write_netx
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode
from sdsnn_core.lava.compat import import_netx, lava_available
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")


def draw(seed):
    """A random chain, every feature allowed in some of them."""
    rng = np.random.default_rng(seed)
    network = random_network(
        rng,
        skip=False,
        recurrent=seed % 2 == 0,
        bias=seed % 3 == 0,
        delays=seed % 2 == 1,
        graded=seed % 5 == 0,
        even=seed % 2 == 0,
    )
    return rng, network


def dense(weight, delay=0, **parameters):
    weight = np.asarray(weight)
    loop = parameters.pop("loop", None)
    port = Input((weight.shape[1],), parameters.pop("max_value", 1))
    values = {"current_decay": 1024, "voltage_decay": 128, "threshold": 80, **parameters}
    nodes = {"in": port, "p": Population((weight.shape[0],), **values), "out": Output("p")}
    projections = {"w": Synapses.from_dense("in", "p", weight, delay)}
    if loop is not None:
        projections["loop"] = Synapses.from_dense("p", "p", loop)
    return Network(nodes, projections)


def image(**changes):
    kernel = Convolution("in", "p", np.full((2, 1, 3, 3), 4), **changes)
    shape = kernel.output_shape((1, 6, 6))
    return Network({"in": Input((1, 6, 6)), "p": Population(shape, 1, 2, 3), "out": Output("p")}, {"k": kernel})


# There and back


@pytest.mark.parametrize("loader", ["netx", "sdsnn"])
def test_what_is_written_comes_back_identical(loader, tmp_path):
    written = 0
    for seed in range(300):
        _, network = draw(seed)
        try:
            path = write_netx(network, tmp_path / "n.net", loader=loader)
        except (NetworkError, UnsupportedNode):
            continue
        assert_same_network(network, read_netx(path))
        written += 1
    assert written > 100


def test_what_netx_sees_is_enough_to_spike_the_same(tmp_path):
    bins = 0
    for seed in range(200):
        rng, network = draw(seed)
        try:
            path = write_netx(network, tmp_path / "n.net")
        except SdsnnError:
            continue
        with h5py.File(path, "r+") as file:
            del file["sdsnn"]
        plain = read_netx(path)
        spikes = next(iter(random_spikes(rng, network, 2, 12).values()))
        a, b = reference.run(network, spikes), reference.run(plain, spikes)
        for index, name in enumerate(network.populations):
            np.testing.assert_array_equal(a.spikes[name], b.spikes[f"layer{index}"])
            bins += a.spikes[name].size
    assert bins > 10_000


@needs_lava
@pytest.mark.parametrize(("loader", "sparse"), [("netx", True), ("sdsnn", False)])
def test_netx_spikes_as_the_reference(loader, sparse, tmp_path):
    jobs, networks = [], []
    for seed in range(40 * sparse, 1000):
        rng, network = draw(seed)
        try:
            path = write_netx(network, tmp_path / f"{seed}.net", loader=loader)
        except SdsnnError:
            continue
        networks.append(network)
        jobs.append((path, next(iter(random_spikes(rng, network, 2, 10).values()))))
        if len(jobs) == 8:
            break
    bins = 0
    remedied = loader == "sdsnn"
    for network, (_, spikes), got in zip(
        networks, jobs, run_netx_many(jobs, remedied=remedied, sparse=sparse), strict=True
    ):
        bins += assert_same_activity(reference.run(network, spikes), got)
    assert bins > 5_000


@needs_lava
@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_files_in_netx(block, tmp_path):
    jobs, networks = [], []
    loader = ["netx", "sdsnn"][block % 2]
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        rng, network = draw(seed)
        try:
            path = write_netx(network, tmp_path / f"{seed}.net", loader=loader)
        except SdsnnError:
            continue
        networks.append(network)
        jobs.append((path, next(iter(random_spikes(rng, network, 2, 12).values()))))
    got = run_netx_many(jobs, remedied=loader == "sdsnn")
    for network, (_, spikes), activity in zip(networks, jobs, got, strict=True):
        assert_same_activity(reference.run(network, spikes), activity)
    assert len(jobs) > 25


@needs_lava
def test_states_and_initial_voltages_under_our_loader(tmp_path):
    weight = [[-128, 0, 0], [-2, 0, -64]]  # plain netx would run -64 for the first
    network = dense(weight, bias=[5, -5], initial_voltage=[12_000, -900], max_value=3)
    path = write_netx(network, tmp_path / "n.net", loader="sdsnn")
    spikes = random_spikes(np.random.default_rng(0), network, 2, 20)["in"]
    got = run_netx(path, spikes, record_state=["p"])
    assert_same_activity(reference.run(network, spikes, record_state=["p"]), got, states=True)
    plain = run_netx(path, spikes, record_state=["p"], remedied=False)
    assert (plain.current["p"] != got.current["p"]).any()


# What netx makes of weights


@needs_lava
def test_our_rule_for_weights_is_that_of_the_real_functions():
    netx = import_netx()
    from lava.utils.weightutils import SignMode, clip_weights, determine_sign_mode, truncate_weights

    rng = np.random.default_rng(0)
    exact = wrong = 0
    for _ in range(6000):
        size = (int(rng.integers(1, 4)), int(rng.integers(1, 5)))
        scale = int(rng.choice([1, 2, 4, 16, 64]))
        low, high = (-256 // scale, 255 // scale) if rng.random() < 0.5 else (-256 // scale, 0)
        weight = rng.integers(low, high + 1, size) * scale
        if rng.random() < 0.4:
            weight.flat[0] = -(2 ** int(rng.integers(0, 9)))
        if rng.random() < 0.3:
            weight *= rng.random(size) < 0.6
        if not weight.any():
            assert not netx_runs_exactly(weight)
            continue
        recurrent = rng.integers(low, high + 1, (size[0], size[0])) * scale if rng.random() < 0.2 else None
        parts = [weight] if recurrent is None else [weight, recurrent]
        with np.errstate(divide="ignore"):
            stored, bits, exponent, _ = netx.utils.optimize_weight_bits(np.hstack(parts))
        runs, there = True, 0
        for part in parts:
            mine = stored[:, there : there + part.shape[1]].astype(np.int32)
            there += part.shape[1]
            mode = determine_sign_mode(mine)
            used = truncate_weights(clip_weights(mine, mode, num_bits=8), mode, bits)
            runs &= bool((used == part << -exponent).all())
            kept = truncate_weights(clip_weights(mine, SignMode.MIXED, num_bits=8), SignMode.MIXED, 9)
            assert remedied_runs_exactly(weight, recurrent) == bool((stored == np.hstack(parts) << -exponent).all())
            assert (kept == part << -exponent).all() or not remedied_runs_exactly(weight, recurrent)
        assert netx_runs_exactly(weight, recurrent) == runs, (weight, recurrent)
        exact, wrong = exact + runs, wrong + (not runs)
    assert exact > 1000
    assert wrong > 500


@pytest.mark.parametrize(
    ("matrix", "netx", "remedied"),
    [
        ([[10, -20], [127, 0]], True, True),
        ([[253, -255]], True, True),  # odd beyond 127: nine bits, exact in simulation
        ([[255, 1]], True, True),
        ([[255, -1]], False, False),  # clipped to 254
        ([[0, 0]], False, False),  # log2 of infinity
        ([[-128, 0]], False, True),  # runs as -64
        ([[-128, -2, 0]], False, True),
        ([[-128, -128]], False, True),  # runs as 0
        ([[-126, 0]], True, True),
        ([[-256, -2]], False, True),
    ],
)
def test_the_known_matrices(matrix, netx, remedied):
    assert netx_runs_exactly(np.array(matrix)) is netx
    assert remedied_runs_exactly(np.array(matrix)) is remedied


# What cannot be written


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (dense([[0, 0]]), r"projection 'w': expected at least one weight other than 0"),
        (
            dense([[-128, 0]]),
            r"projection 'w': expected positive weights too, got -128..0: netx would run others.*loader='sdsnn'",
        ),
        (
            dense([[255, -2]]),
            r"projection 'w': expected up to 254 beside negative weights, got -2..255, which netx clips",
        ),
        (dense([[2]], max_value=3), r"input 'in': expected max_value 1, got 3"),
        (dense([[2]], initial_voltage=-7), r"population 'p': expected initial voltages of 0, got up to 7"),
        (dense([[2]], bias=1, bias_exp=5), r"population 'p' bias: expected multiples of 64 .* got 32..32"),
        (dense([[2]], 3, loop=[[4]]), r"projection 'w': expected no delays at a recurrent layer"),
        (image(delay=2), r"projection 'k': expected no delays on a convolution, got up to 2, which netx drops"),
    ],
)
def test_traps_are_refused_by_name_and_nothing_is_written(network, message, tmp_path):
    with pytest.raises((NetworkError, UnsupportedNode), match=message):
        write_netx(network, tmp_path / "n.net")
    assert not list(tmp_path.iterdir())


def test_networks_that_are_no_chain_are_refused(tmp_path):
    def refused(nodes, projections):
        with pytest.raises(UnsupportedNode) as caught:
            write_netx(Network(nodes, projections), tmp_path / "n.net")
        assert "expected one chain from one input to one output" in str(caught.value)
        return str(caught.value)

    def one():
        return Population((2,), 1, 1, 1)

    w = np.eye(2, dtype=int) * 2
    a, b, c = Input((2,)), one(), one()
    ab, bc, ac = (Synapses.from_dense(s, t, w) for s, t in (("a", "b"), ("b", "c"), ("a", "c")))
    assert "got 2 projections onward" in refused({"a": a, "b": b, "c": c, "o": Output("c")}, {"ab": ab, "ac": ac})
    assert "2 outputs (o, q)" in refused({"a": a, "b": b, "o": Output("b"), "q": Output("b")}, {"ab": ab})
    assert "output: expected one chain from one input to one output, got the spikes of 'b'" in refused(
        {"a": a, "b": b, "c": c, "o": Output("b")}, {"ab": ab, "bc": bc}
    )
    assert "got one that is not on the way" in refused({"a": a, "b": b, "c": c, "o": Output("b")}, {"ab": ab})
    back = Synapses.from_dense("c", "b", w)
    message = refused({"a": a, "b": b, "c": c, "o": Output("c")}, {"ab": ab, "bc": bc, "cb": back})
    assert "projection 'cb'" in message


def test_recurrent_images_and_convolutions_behind_dense_layers_are_refused(tmp_path):
    base = image()
    loop = Synapses.from_dense("p", "p", np.eye(32, dtype=int))
    with pytest.raises(UnsupportedNode, match=r"projection 'r': expected no loop at a convolutional layer"):
        write_netx(Network(base.nodes, {**base.projections, "r": loop}), tmp_path / "n.net")
    nodes = {"in": Input((4,)), "d": Population((1, 3, 3), 1, 1, 1), "k": Population((1, 1, 1), 1, 1, 1)}
    projections = {
        "w": Synapses.from_dense("in", "d", np.ones((9, 4), int)),
        "c": Convolution("d", "k", np.ones((1, 1, 3, 3), int)),
    }
    with pytest.raises(
        UnsupportedNode, match=r"projection 'c': expected synapses behind a dense layer, got a convolution"
    ):
        write_netx(Network({**nodes, "out": Output("k")}, projections), tmp_path / "n.net")


# What others write


def change(path, **datasets):
    """Replace or remove (None) datasets of the last layer, and our own group with them."""
    with h5py.File(path, "r+") as file:
        file.pop("sdsnn", None)
        layer = file["layer"][str(len(file["layer"]) - 1)]
        for key, value in datasets.items():
            key = key.replace("__", "/")
            if key in layer:
                del layer[key]
            if value is not None:
                layer[key] = value
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"type": np.array([b"pool"])},
            r"layer 1: expected type input, flatten, conv, dense, dense_rec, got 'pool'",
        ),
        ({"type": np.array([b"mystery"])}, r"layer 1: expected type .*, got 'mystery', which netx skips"),
        (
            {"neuron": None, "type": np.array([b"dense_rec"])},
            r"layer 1: expected a neuron group, got none: SLAYER means a plain sum.*iDecay 4096",
        ),
        (
            {"neuron__type": b"ADRF_IZ"},
            r"layer 1 neuron: expected CUBA or LOIHI or RF_IZHIKEVICH or RF_PHASE or SDNN neurons, got 'ADRF_IZ'",
        ),
        (
            {"neuron__type": b"ALIF"},
            r"layer 1 neuron: expected CUBA or LOIHI or RF_IZHIKEVICH or RF_PHASE or SDNN neurons, got 'ALIF'",
        ),
        ({"neuron__gradedSpike": True}, r"layer 1 neuron gradedSpike: expected 0, got True, which netx ignores"),
        ({"neuron__weight_exp": 2}, r"layer 1 neuron weight_exp: expected 0, got 2, which netx ignores"),
        ({"neuron__iDecay": None}, r"layer 1 neuron: expected a field iDecay, got none"),
        ({"weight": np.array([[1.9, 2]])}, r"layer 1 weight: expected integers, got fractions, which netx cuts"),
        ({"weight": np.array([[300, 3]])}, r"layer 1 weight: expected -256..255 times one power of two, got 3..300"),
        ({"weight": np.array([[2, 2, 2]])}, r"layer 1 weight: expected inputs of shape \(2,\), got a matrix for 3"),
        ({"delay": np.array([63.0])}, r"layer 1 delay: expected 0..62, got 63..63"),
        ({"delay": np.zeros(5)}, r"layer 1 delay: expected shape .* got \(5,\)"),
        (
            {"bias": np.array([5001])},
            r"layer 1 bias in state units: expected -4095..4095 times one power of two, got 320064..320064",
        ),
        (
            {"type": np.array([b"dense_rec"]), "weight_rec": np.ones((1, 1)), "delay": 1},
            r"layer 1: expected no delays at a recurr",
        ),
    ],
)
def test_files_that_netx_would_misread_are_refused(changes, message, tmp_path):
    path = change(write_netx(dense([[2, 4]]), tmp_path / "n.net"), **changes)
    with pytest.raises((NetworkError, UnsupportedNode), match=message) as caught:
        read_netx(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_delays_on_a_convolution_are_refused(tmp_path):
    path = change(write_netx(image(), tmp_path / "n.net"), delay=np.array([0.0, 1.0]))
    with pytest.raises(
        UnsupportedNode,
        match=r"layer 1: expected no delays on a convolution, got some, which SLAYER applies and netx drops",
    ):
        read_netx(path)


def test_delay_vectors_belong_to_outputs_where_their_length_allows(tmp_path):
    square = change(write_netx(dense([[2, 4], [6, 8]]), tmp_path / "a.net"), delay=np.array([1.7, 5.0]))
    np.testing.assert_array_equal(read_netx(square).projections["input-layer0"].delay, [1, 5, 1, 5])
    wide = change(write_netx(dense([[2, 4]]), tmp_path / "b.net"), delay=np.array([1.0, 5.0]))
    np.testing.assert_array_equal(read_netx(wide).projections["input-layer0"].delay, [1, 5])


def test_thresholds_of_an_affine_layer_make_a_readout(tmp_path):
    path = change(write_netx(dense([[2, 4]]), tmp_path / "n.net"), neuron__vThMant=2**18 - 1)
    network = read_netx(path)
    assert network.nodes["layer0"].threshold == NEVER_FIRES
    assert network.nodes["output"].signal == "voltage"


def test_a_file_without_input_layer_takes_its_size_from_the_weights(tmp_path):
    path = write_netx(dense([[2, 4, 6]]), tmp_path / "n.net")
    with h5py.File(path, "r+") as file:
        del file["sdsnn"], file["layer/0"]
        file.move("layer/1", "layer/0")
    assert read_netx(path).nodes["input"].shape == (3,)


def test_missing_foreign_and_damaged_files_are_one_line_each(tmp_path):
    def message(path):
        with pytest.raises(FileError) as caught:
            read_netx(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))
        return str(caught.value)

    assert "no such file" in message(tmp_path / "absent.net")
    (tmp_path / "text.net").write_text("hello")
    assert "got a file that is not an HDF5 file" in message(tmp_path / "text.net")
    with h5py.File(tmp_path / "other.net", "w") as file:
        file["x"] = 1
    assert "expected a netx network (a group 'layer')" in message(tmp_path / "other.net")
    whole = write_netx(dense([[2, 4, 6]]), tmp_path / "whole.net").read_bytes()
    (tmp_path / "cut.net").write_bytes(whole[: len(whole) // 2])
    assert "damaged HDF5 file" in message(tmp_path / "cut.net")
    with h5py.File(tmp_path / "whole.net", "r+") as file:
        file.move("layer/1", "layer/7")
    assert "expected members 0, 1, ... without a gap, got 0, 7" in message(tmp_path / "whole.net")


def test_the_same_path_can_be_written_again(tmp_path):
    for value in (2, 4):
        path = write_netx(dense([[value]]), tmp_path / "n.net")
        assert read_netx(path).projections["w"].weight.tolist() == [value]
