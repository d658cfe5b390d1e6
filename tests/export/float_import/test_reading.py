"""Float graphs as people write them: what each means, and that a misreading is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from sdsnn.export.float_import.file import read_float_file
from sdsnn.export.float_import.graph import FloatGraph, read_graph
from sdsnn.export.float_import.operators import Convolved
from sdsnn.export.float_import.oracle import refuse_misreading
from sdsnn.export.float_import.plan import IntegerDynamics, judge_of, plans_of
from sdsnn.export.float_import.quantise import quantise
from sdsnn.export.float_import.read import import_file
from sdsnn.export.float_import.run import float_run, simulate
from sdsnn.export.float_import.scale import search_scales
from sdsnn_core import reference
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Convolution, Synapses

DT = 1e-4
Rng = np.random.Generator


def lif(*shape: int, tau: float = 10 * DT, r: float = 10.0, threshold: float = 1.0) -> nir.LIF:
    one = np.ones(shape)
    return nir.LIF(tau=tau * one, r=r * one, v_leak=0 * one, v_threshold=threshold * one, v_reset=0 * one)


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], n_in: Any = 4, n_out: Any = 3) -> nir.NIRGraph:
    ports = {"in": nir.Input(np.atleast_1d(n_in)), "out": nir.Output(np.atleast_1d(n_out))}
    return nir.NIRGraph({**ports, **nodes}, edges, type_check=False)


def chain(*names: str) -> list[tuple[str, str]]:
    return list(itertools.pairwise(names))


def spikes(rng: Rng, read: FloatGraph, rate: float = 0.3, steps: int = 40) -> dict[str, Any]:
    return {
        name: (rng.random((3, steps, int(np.prod(shape)))) < rate).astype(np.uint8)
        for name, shape in read.inputs.items()
    }


def random_graph(rng: Rng) -> nir.NIRGraph:
    """Return neurons in layers with skips, loops, shared linear nodes, delays and a nested graph."""
    sizes = [int(n) for n in rng.integers(2, 7, int(rng.integers(2, 5)))]
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    names = ["in"]
    width = {"in": 4}
    for i, size in enumerate(sizes):
        sources = [str(name) for name in rng.choice(names, min(len(names), int(rng.integers(1, 3))), replace=False)]
        target = f"n{i}"
        nodes[target] = lif(size, threshold=float(rng.uniform(0.5, 1.5)))
        for j, source in enumerate(sources):
            weight = rng.normal(0.25, 0.8, (size, width[source]))
            name = f"w{i}_{j}"
            nodes[name] = nir.Affine(weight, rng.normal(0.02, 0.05, size)) if rng.random() < 0.6 else nir.Linear(weight)
            if rng.random() < 0.3:
                nodes[f"d{i}_{j}"] = nir.Delay(DT * rng.integers(0, 4, width[source]).astype(float))
                edges.append((source, f"d{i}_{j}"))
                source = f"d{i}_{j}"
            edges += [(source, name), (name, target)]
        if rng.random() < 0.4:
            nodes[f"loop{i}"] = nir.Linear(rng.normal(-0.1, 0.3, (size, size)))
            edges += [(target, f"loop{i}"), (f"loop{i}", target)]
        if rng.random() < 0.5:  # the sum of two populations in front of one node with a bias
            twins = [name for name in names if width[name] == size and name != "in"]
            if twins:
                nodes[f"mix{i}"] = nir.Affine(rng.normal(0, 0.5, (size, size)), rng.normal(0, 0.05, size))
                edges += [(twins[0], f"mix{i}"), (f"mix{i}", target)]
        names.append(target)
        width[target] = size
    if rng.random() < 0.5:
        inner = nir.NIRGraph(
            {"input": nir.Input(np.array([1])), "lif": lif(sizes[-1]), "output": nir.Output(np.array([1]))},
            [("input", "lif"), ("lif", "output"), ("input", "output")],
            type_check=False,
        )
        nodes["block"] = inner
        nodes["last"], nodes["w_last"] = lif(3), nir.Linear(rng.normal(0.3, 0.8, (3, sizes[-1])))
        edges += [(names[-1], "block"), ("block", "w_last"), ("w_last", "last")]
        names.append("last")
    used = {a for a, _ in edges}
    outs = {f"out{i}": name for i, name in enumerate(n for n in names[1:] if n not in used or n == names[-1])}
    ports = {"in": nir.Input(np.array([4])), **{key: nir.Output(np.array([1])) for key in outs}}
    return nir.NIRGraph({**ports, **nodes}, [*edges, *((name, key) for key, name in outs.items())], type_check=False)


def test_random_graphs_are_read_as_nir_defines_them(rng: Rng) -> None:
    bins = spiked = 0
    for _ in range(60):
        read = read_graph(random_graph(rng), DT)
        inputs = spikes(rng, read)
        bins += refuse_misreading(read, inputs)
        spiked += sum(int(train.sum()) for train in float_run(read, inputs)[0].values())
    assert bins > 20_000
    assert spiked > 2_000


def test_the_report_tells_the_spikes_of_the_network(rng: Rng) -> None:
    """Rates in integers are computed on operators; reference.py on the network that is returned says the same."""
    spiked = 0
    for _ in range(25):
        read = read_graph(random_graph(rng), DT)
        inputs = spikes(rng, read, steps=30)
        for calibrate in (False, True):
            made = quantise(read, inputs, calibrate=calibrate)
            got = reference.run(made.network, inputs).spikes
            for report in made.reports:
                assert report.rate == pytest.approx(float(got[report.name].mean()), abs=1e-12)
                spiked += report.rate > 0
    assert spiked > 40


def test_a_misreading_is_refused(rng: Rng) -> None:
    """Each fault of a reader that was met: a doubled bias, a lost map, a wrong weight, a delay too many."""
    nodes = {
        "w": nir.Affine(rng.normal(0.3, 0.5, (3, 4)), np.full(3, 0.06)),
        "n": lif(3),
        "v": nir.Linear(rng.normal(0.4, 0.6, (3, 3))),
        "m": lif(3),
    }
    read = read_graph(graph(nodes, [*chain("in", "w", "n", "v", "m", "out")]), DT)
    inputs = spikes(rng, read)
    assert refuse_misreading(read, inputs) > 0
    first, last = read.maps["w"], read.maps["v"]
    faults = [
        replace(read, biases={**read.biases, "n": 2 * read.biases["n"]}),
        replace(read, maps={"w": first}),
        replace(
            read,
            maps={"w": first, "v": replace(last, operator=replace(last.operator, weights=last.operator.weights * 1.3))},
        ),
        replace(read, maps={"w": replace(first, delay=first.delay + DT), "v": last}),
    ]
    for fault in faults:
        with pytest.raises(
            NetworkError, match=r"node '[nm]': expected [01] spikes of neuron \d+ in step \d+ as NIR defines"
        ):
            refuse_misreading(fault, inputs)


def test_what_arrives_at_a_node_is_added_before_its_bias() -> None:
    """Two sources, one Affine: a bias of 0.06 against a leak of 0.1 per step settles at 0.6 and never spikes."""
    one = np.ones((1, 1))
    nodes = {
        "a": lif(1),
        "b": lif(1),
        "w": nir.Affine(one * 0, np.array([0.06])),
        "n": lif(1),
        "x": nir.Linear(one),
        "y": nir.Linear(one),
    }
    edges = [*chain("in", "x", "a", "w", "n", "out"), *chain("in", "y", "b", "w")]
    read = read_graph(graph(nodes, edges, 1, 1), DT)
    np.testing.assert_allclose(read.biases["n"], 0.06)
    trains, voltages = float_run(read, {"in": np.zeros((1, 200, 1), np.uint8)})
    assert not trains["n"].any()
    assert voltages["n"].max() == pytest.approx(0.6, abs=1e-3)


def test_edges_from_port_to_port_of_a_nested_graph_pass_the_signal(rng: Rng) -> None:
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))},
        [("input", "output")],
        type_check=False,
    )
    weight, then = nir.Linear(rng.normal(0.4, 0.6, (3, 4))), nir.Linear(rng.normal(0.4, 0.6, (3, 3)))
    nested = read_graph(
        graph(
            {"w": weight, "n": lif(3), "id": inner, "v": then, "m": lif(3)},
            chain("in", "w", "n", "id", "v", "m", "out"),
        ),
        DT,
    )
    plain = read_graph(
        graph({"w": weight, "n": lif(3), "v": then, "m": lif(3)}, chain("in", "w", "n", "v", "m", "out")), DT
    )
    inputs = spikes(rng, plain)
    np.testing.assert_array_equal(float_run(nested, inputs)[0]["m"], float_run(plain, inputs)[0]["m"])
    assert float_run(plain, inputs)[0]["m"].any()


def test_conventions_of_writers() -> None:
    """Per step: the share of v that goes, and what a unit of input adds, by each writer's own equations."""
    beta = 0.9
    tau = DT / (1 - beta)
    for writer, node, b, gain in (
        (None, lif(1, tau=tau, r=tau / DT), 0.1, 1.0),  # snnTorch: v = beta v + x
        (None, lif(1, tau=tau, r=beta), 0.1, 1.0),  # Spyx: the same, r = beta
        ("nir", lif(1, tau=tau, r=1.0), 0.1, 0.1),  # v += dt/tau (x - v)
        ("sinabs", lif(1, tau=10.0, r=1.0), 1 - np.exp(-0.1), 1.0),
        ("sinabs-norm", lif(1, tau=10.0, r=1.0), 1 - np.exp(-0.1), 1 - np.exp(-0.1)),
        (None, lif(1, tau=np.inf, r=np.inf), 0.0, 1.0),  # snnTorch: beta = 1
    ):
        read = read_graph(
            graph({"w": nir.Linear(np.ones((1, 1))), "n": node}, chain("in", "w", "n", "out"), 1, 1), DT, writer
        )
        assert read.neurons["n"].b[0] == pytest.approx(b)
        assert read.neurons["n"].gain[0] == pytest.approx(gain)
    for r, gain in ((1.0, 1.0), (1 / DT, 1.0), (0.5, 0.5)):
        node = nir.IF(r=np.array([r]), v_threshold=np.ones(1), v_reset=np.zeros(1))
        read = read_graph(graph({"w": nir.Linear(np.ones((1, 1))), "n": node}, chain("in", "w", "n", "out"), 1, 1), DT)
        assert read.neurons["n"].gain[0] == pytest.approx(gain)
    milli = nir.CubaLIF(*(np.full(1, v) for v in (5.0, 20.0, 1.0, 0.0, 1.0)), v_reset=np.zeros(1), w_in=np.ones(1))
    read = read_graph(
        graph({"w": nir.Linear(np.ones((1, 1))), "n": milli}, chain("in", "w", "n", "out"), 1, 1), 1e-3, "hxtorch"
    )
    taus = {"a": 1 / np.asarray(milli.tau_syn)[0], "b": 1 / np.asarray(milli.tau_mem)[0]}
    assert read.neurons["n"].a[0] == pytest.approx(taus["a"])
    assert read.neurons["n"].b[0] == pytest.approx(taus["b"])


def write(path: Path, made: nir.NIRGraph) -> Path:
    nir.write(path, made)
    return path


def test_a_pool_and_a_convolution_stay_one_convolution(tmp_path: Path, rng: Rng) -> None:
    conv = nir.Conv2d((4, 4), rng.normal(0.2, 0.4, (3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3))
    nodes = {
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "conv": conv,
        "n": lif(3, 4, 4, threshold=0.3),
    }
    made = import_file(
        write(tmp_path / "a.nir", graph(nodes, chain("in", "pool", "conv", "n", "out"), [2, 8, 8], [3, 4, 4])), DT
    )
    (projection,) = made.network.projections.values()
    assert isinstance(projection, Convolution)
    assert (projection.kernel.shape, projection.stride, projection.padding) == ((3, 2, 6, 6), (2, 2), (2, 2))
    assert made.reports[0].differing < 0.02
    assert made.checked > 0


def test_thresholds_of_many_sizes_keep_a_scale_of_their_own(tmp_path: Path, rng: Rng) -> None:
    size = 8
    threshold = np.logspace(0, 3, size)
    weight = rng.normal(0.3, 0.4, (size, 20)) * threshold[:, None]
    node = nir.LIF(*(np.full(size, v) for v in (10 * DT, 10.0, 0.0)), v_threshold=threshold, v_reset=np.zeros(size))
    made = import_file(
        write(tmp_path / "a.nir", graph({"w": nir.Linear(weight), "n": node}, chain("in", "w", "n", "out"), 20, size)),
        DT,
    )
    (report,) = made.reports
    assert report.rate_float > 0.02
    assert (report.silenced, report.vanished < 5) == (0, True)
    assert report.differing < 0.01


def test_a_bias_behind_a_current_settles_as_in_floats(tmp_path: Path, rng: Rng) -> None:
    """Three layers of CubaLIF with biases: the last is as near its float network as the first."""

    def cuba(n: int) -> nir.CubaLIF:
        tau_syn, tau_mem, r, leak, theta, reset, w_in = (np.full(n, v) for v in (2e-3, 1e-3, 10.0, 0.0, 1.0, 0.0, 20.0))
        return nir.CubaLIF(tau_syn, tau_mem, r, leak, theta, reset, w_in)

    nodes: dict[str, Any] = {}
    for i, (n_in, n_out) in enumerate(((6, 12), (12, 12), (12, 8))):
        nodes[f"w{i}"] = nir.Affine(rng.normal(0.01, 0.08, (n_out, n_in)), rng.normal(0.004, 0.004, n_out))
        nodes[f"n{i}"] = cuba(n_out)
    made = import_file(write(tmp_path / "a.nir", graph(nodes, chain("in", *nodes, "out"), 6, 8)), DT)
    assert [report.rate_float > 0.005 for report in made.reports] == [True] * 3
    assert max(report.differing for report in made.reports) < 0.03
    assert {type(p) for p in made.network.projections.values()} == {Synapses}
    assert any(name.endswith(".start") for name in made.network.populations)
    x = (rng.random((2, 60, 6)) < 0.1).astype(np.uint8)
    read = read_graph(read_float_file(tmp_path / "a.nir"), DT)
    plans, (trains, _) = plans_of(read), float_run(read, {"in": x})
    judges = {name: judge_of(plan, {"in": x, **trains}, trains[name]) for name, plan in plans.items()}
    counted = {}
    for name, judge in judges.items():
        counted[name] = int(judge(search_scales(plans[name].neurons, plans[name].arrivals, None)[0]).sum())
    first = next(iter(plans))  # the one that inputs alone feed
    run, _ = simulate(read, {"in": x}, IntegerDynamics(plans))
    start = plans[first].start
    assert counted[first] == int((run[first] != trains[first])[:, start:].sum())  # what calibration counts

    again = quantise(read, {"in": x}, calibrate=False)
    got = reference.run(again.network, x).spikes
    assert [r.rate for r in again.reports] == pytest.approx([float(got[r.name].mean()) for r in again.reports])


def test_what_cannot_work_is_stopped_and_force_goes_on(tmp_path: Path, rng: Rng) -> None:
    weight = nir.Linear(rng.normal(0.4, 0.5, (3, 4)))
    lost = graph(
        {"w": weight, "n": lif(3), "x": nir.Linear(np.ones((2, 4)))}, [*chain("in", "w", "n", "out"), ("in", "x")]
    )
    deaf = graph({"w": weight, "n": lif(3), "m": lif(3)}, [*chain("in", "w", "n", "out"), ("m", "out")])
    weak = graph({"w": nir.Linear(np.full((3, 4), 1e-6)), "n": lif(3)}, chain("in", "w", "n", "out"))
    for name, made, words in (
        ("a", lost, "node 'x': its result leads nowhere"),
        ("b", deaf, "node 'm': nothing reaches these neurons"),
        (
            "c",
            weak,
            r"no neuron spikes on this input.*writer \(read as snntorch\), then dt \(0.0001 s\) \(--force goes on\)",
        ),
    ):
        path = write(tmp_path / f"{name}.nir", made)
        with pytest.raises(NetworkError, match=words):
            import_file(path, DT)
        assert import_file(path, DT, force=True).problems


def test_fields_that_a_writer_may_leave_out(tmp_path: Path, rng: Rng) -> None:
    conv = nir.Conv2d((6, 6), rng.normal(0.2, 0.4, (3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3))
    path = write(
        tmp_path / "a.nir", graph({"c": conv, "n": lif(3, 6, 6)}, chain("in", "c", "n", "out"), [2, 6, 6], [3, 6, 6])
    )
    with h5py.File(path, "a") as file:
        del file["node/nodes/c/input_shape"]
        del file["node/nodes/n/v_reset"]
    assert set(read_float_file(path).nodes) == {"in", "out", "c", "n"}
    assert isinstance(read_graph(read_float_file(path), DT).maps["c"].operator, Convolved)
    with pytest.raises(FileError, match="no such file"):
        read_float_file(tmp_path / "b.nir")


def test_an_input_that_goes_straight_to_an_output_is_relayed(tmp_path: Path, rng: Rng) -> None:
    made = import_file(write(tmp_path / "a.nir", graph({}, [("in", "out")], 3, 3)), DT)
    x = (rng.random((2, 20, 3)) < 0.4).astype(np.uint8)
    (population,) = made.network.populations
    got = reference.run(made.network, x).spikes[population]
    np.testing.assert_array_equal(got[:, 1:], x[:, :-1])
