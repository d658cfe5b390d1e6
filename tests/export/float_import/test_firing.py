"""What neurons of other tools do beyond NIR's one spike and reset, and what the check on the reading sees."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from scipy.linalg import expm

from sdsnn.export.float_import import graph as graph_module
from sdsnn.export.float_import.conventions import WRITERS, Firing, candidates
from sdsnn.export.float_import.file import FloatFile, FloatNode
from sdsnn.export.float_import.graph import FloatGraph, read_graph
from sdsnn.export.float_import.oracle import refuse_misreading
from sdsnn.export.float_import.read import import_file
from sdsnn.export.float_import.run import FloatDynamics, simulate
from sdsnn_core import reference
from sdsnn_core.errors import NetworkError

DT = 1e-4
Rng = np.random.Generator


def lif(n: int, beta: float = 0.9, threshold: float = 1.0) -> nir.LIF:
    """snnTorch's numbers: v <- beta v + x."""
    tau = DT / (1 - beta)
    full = [np.full(n, value) for value in (tau, tau / DT, 0.0, threshold, 0.0)]
    return nir.LIF(*full)


def chain(nodes: dict[str, Any], n_in: int, n_out: int, more: tuple[tuple[str, str], ...] = ()) -> nir.NIRGraph:
    names = ["in", *nodes, "out"]
    whole = {"in": nir.Input(np.array([n_in])), **nodes, "out": nir.Output(np.array([n_out]))}
    return nir.NIRGraph(whole, [*pairwise(names), *more], type_check=False)


def spikes(rng: Rng, size: int, steps: int = 60) -> dict[str, Any]:
    return {"in": (rng.random((2, steps, size)) < 0.4).astype(np.uint8)}


def by_hand(firing: Firing, x: Any, beta: float, theta: float) -> list[int]:
    """The equations of the tools: snnTorch 1.0.0 (_neurons/leaky.py), sinabs 3.1.3 (layers/functional/lif.py)."""
    v, before, out = 0.0, 0, []
    for value in x:
        v = beta * v + value
        if firing.late:
            v -= before * theta
        reached = v >= theta if firing.at_threshold else v > theta
        n = max(int(v // theta), 1) if reached and firing.several else int(reached)
        if firing.subtracts and not firing.late:
            v -= n * theta
        elif not firing.subtracts and n:
            v = 0.0
        before = n
        out.append(n)
    return out


@pytest.mark.parametrize("writer", WRITERS)
def test_neurons_fire_as_their_writer_lets_them(writer: str, rng: Rng) -> None:
    firing = WRITERS[writer].firing
    weights = np.array([[0.5, 0.25, 2.0]])
    read = read_graph(chain({"w": nir.Linear(weights), "n": lif(1, 0.5)}, 3, 1), DT)
    x = spikes(rng, 3)
    got = simulate(read, x, FloatDynamics(read, WRITERS[writer]))[0]["n"]
    for sample in range(2):
        drive = x["in"][sample] @ weights[0]
        np.testing.assert_array_equal(got[sample, 1:, 0], by_hand(firing, drive, 0.5, 1.0)[:-1])


def test_neurons_with_a_current_may_fire_in_another_way(rng: Rng) -> None:
    """Spyx subtracts a step late, but at once where a synapse has a current."""
    one = np.ones(1)
    node = nir.CubaLIF(tau_syn=2 * one, tau_mem=5 * one, r=0.8 * one, v_leak=0 * one, v_threshold=one)
    read = read_graph(chain({"w": nir.Linear(np.array([[0.5, 0.25, 2.0]])), "n": node}, 3, 1), 1.0, "spyx")
    x = spikes(rng, 3)
    got = simulate(read, x, FloatDynamics(read, WRITERS["spyx"]))[0]["n"]
    for sample in range(2):
        u, v, out = 0.0, 0.0, []
        for drive in x["in"][sample] @ np.array([0.5, 0.25, 2.0]):
            u = 0.5 * u + drive
            v = 0.8 * v + u
            out.append(int(v > 1))
            v -= out[-1]
        np.testing.assert_array_equal(got[sample, 1:, 0], out[:-1])


@pytest.mark.parametrize(
    ("tau", "dt", "w_in", "fitting"),
    [
        (0.02, 1e-3, 1.0, ("norse-2025", "nir")),
        (0.02, 1e-6, 1.0, ("norse-2025", "hxtorch", "jaxsnn", "nir")),  # of hxtorch and jaxsnn: 20 us
        (20.0, 1e-3, 1.0, ("hxtorch", "jaxsnn", "nir")),
        (0.02, 1e-6, 3.0, ("nir",)),
        (2e-5, 1e-3, 1.0, ("norse",)),
    ],
)
def test_who_may_have_written_a_current_with_a_gain_of_one(
    tau: float, dt: float, w_in: float, fitting: tuple[str, ...]
) -> None:
    values = {"tau_mem": tau, "tau_syn": tau / 2, "r": 1.0, "w_in": w_in, "v_leak": 0.0, "v_threshold": 1.0}
    node = FloatNode("CubaLIF", {name: np.full(2, value) for name, value in values.items()})
    assert candidates(node, dt) == fitting


def test_a_jump_of_the_current_is_integrated_exactly(rng: Rng) -> None:
    """For jaxsnn the step is the solution of NIR's equations, by the exponential of their matrix."""
    taus = rng.uniform(0.5, 30, (40, 2))
    taus[0, 1] = taus[0, 0]  # milliseconds
    for syn, mem in taus:
        one = np.ones(1)
        node = nir.CubaLIF(tau_syn=syn * one, tau_mem=mem * one, r=one, v_leak=0 * one, v_threshold=one)
        neurons = read_graph(chain({"w": nir.Linear(np.ones((1, 1))), "n": node}, 1, 1), 1e-3, "jaxsnn").neurons["n"]
        flow = expm(np.array([[-1 / mem, 1 / mem], [0, -1 / syn]]))  # of one step of 1 ms
        u, v, exact = 0.0, 0.0, np.zeros(2)
        for jump in (1.0, 0.0, -0.5, 2.0):
            u = (1 - neurons.a[0]) * u + neurons.gain[0] * jump
            v = (1 - neurons.b[0]) * v + u
            exact = flow @ (exact + np.array([0.0, jump]))
            assert v == pytest.approx(exact[0], rel=1e-9, abs=1e-12)


def test_a_spike_at_the_threshold_itself_is_exact_on_a_grid(tmp_path: Path, rng: Rng) -> None:
    """Whole weights meet a whole threshold often; spikingjelly spikes there, snnTorch does not."""
    node = nir.IF(r=np.full(1, 1 / DT), v_threshold=np.full(1, 3.0), v_reset=np.zeros(1))
    path = tmp_path / "a.nir"
    nir.write(path, chain({"w": nir.Linear(np.array([[1.0, 2.0]])), "n": node}, 2, 1))
    x = spikes(rng, 2)["in"]
    rates = []
    for writer, firing in (("spikingjelly", Firing(at_threshold=True)), ("nir", Firing())):
        made = import_file(path, DT, writer=writer)
        got = reference.run(made.network, x).spikes["n"]
        for sample in range(2):
            wanted = by_hand(firing, x[sample] @ [1.0, 2.0], 1.0, 3.0)
            np.testing.assert_array_equal(got[sample, 1:, 0], wanted[:-1])
        rates.append(got.mean())
    assert rates[0] > rates[1]


def test_the_report_names_what_a_writers_neurons_would_do(tmp_path: Path, rng: Rng) -> None:
    path = tmp_path / "a.nir"
    nir.write(path, chain({"w": nir.Linear(rng.normal(0.5, 0.5, (4, 6))), "n": lif(4)}, 6, 4))
    (report,) = import_file(path, DT).reports
    assert report.rates_as["snntorch"] > report.rate_float
    assert set(report.rates_as) == {"snntorch", "spikingjelly", "lava-dl"}
    (note,) = (note for note in report.notes if "snntorch" in note)
    assert note.startswith("subtraction of the threshold a step late, the default of snntorch, is a rate of 0.")
    (report,) = import_file(path, DT, writer="nir").reports
    assert "snntorch" in report.rates_as  # the same numbers; NIR names no writer


def nested(rng: Rng) -> nir.NIRGraph:
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([4])), "w": nir.Linear(rng.normal(size=(4, 4))),
         "output": nir.Output(np.array([4]))},
        [("input", "w"), ("w", "output"), ("input", "output")],
    )  # fmt: skip
    return chain({"block": inner, "v": nir.Linear(rng.normal(0.4, 0.5, (3, 4))), "n": lif(3)}, 4, 3)


def test_an_edge_that_flattening_loses_is_seen(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    made, right = nested(rng), graph_module.flattened
    assert refuse_misreading(read_graph(made, DT), spikes(rng, 4)) > 0

    def wrong(file: FloatFile) -> Any:
        nodes, edges = right(file)
        return nodes, [edge for edge in edges if edge != ("block.input", "block.output")]

    monkeypatch.setattr(graph_module, "flattened", wrong)
    with pytest.raises(NetworkError, match=r"node 'n': expected [01] spikes of neuron"):
        refuse_misreading(read_graph(made, DT), spikes(rng, 4))


def integrator(rng: Rng) -> FloatGraph:
    full = [np.full(3, value) for value in (DT * 10, 10.0, 0.0)]
    nodes = {"w": nir.Affine(rng.normal(size=(3, 4)), np.ones(3)), "n": nir.LI(*full)}
    return read_graph(chain(nodes, 4, 3), DT)


@pytest.mark.parametrize("part", ["n", "out"])
def test_voltages_that_are_read_out_are_compared_too(part: str, rng: Rng) -> None:
    if part == "n":
        read = integrator(rng)
    else:
        nodes = {"v": nir.Affine(rng.normal(size=(3, 4)), np.ones(3))}
        read = read_graph(chain(nodes, 4, 3), DT)
    assert refuse_misreading(read, spikes(rng, 4)) > 0
    fault = replace(read, biases={name: 2 * bias for name, bias in read.biases.items()})
    with pytest.raises(NetworkError, match=r"node 'out': expected .* at place 0 in step 0 as NIR defines"):
        refuse_misreading(fault, spikes(rng, 4))


def test_a_source_acts_before_its_target_whatever_the_order_is_said_to_be(
    rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = {"w": nir.Linear(rng.normal(0.5, 0.5, (3, 4))), "a": lif(3), "v": nir.Linear(np.eye(3)), "b": lif(3, 0.5)}
    read = read_graph(chain(nodes, 4, 3), DT)
    from sdsnn.export.float_import import oracle

    monkeypatch.setattr(oracle, "order_of", lambda graph: ["b", "a"])
    assert refuse_misreading(read, spikes(rng, 4)) > 0


def test_weights_that_all_vanish_and_neurons_that_cannot_spike_are_stopped(tmp_path: Path, rng: Rng) -> None:
    strong, tiny = nir.Linear(rng.normal(0.5, 0.5, (3, 4))), nir.Linear(np.full((3, 4), 1e-7))
    both = chain(
        {"w": strong, "n": lif(3), "v": nir.Linear(np.eye(3)), "m": lif(3, 0.5, 0.5)}, 4, 3, (("in", "x"), ("x", "m"))
    )
    both.nodes["x"] = tiny
    weak = chain({"w": strong, "n": lif(3), "v": nir.Linear(np.full((2, 3), 0.01)), "m": lif(2)}, 4, 2)
    for name, made, words in (
        ("both", both, "node 'x': all its weights round to 0 beside the others of 'm'"),
        ("weak", weak, "node 'm': no neuron can reach its threshold, of which 0.3 is the most"),
    ):
        path = tmp_path / f"{name}.nir"
        nir.write(path, made)
        with pytest.raises(NetworkError, match=words):
            import_file(path, DT)


def test_delays_beyond_the_first_steps_are_checked(tmp_path: Path, rng: Rng) -> None:
    nodes = {"d": nir.Delay(np.full(4, 50 * DT)), "w": nir.Linear(rng.normal(0.5, 0.5, (3, 4))), "n": lif(3)}
    path = tmp_path / "late.nir"
    nir.write(path, chain(nodes, 4, 3))
    made = import_file(path, DT)
    assert made.checked > 2 * 3 * 60
    x = spikes(rng, 4, 80)["in"]
    network = made.network
    undelayed = replace(network.projections["w"], delay=np.asarray(0))
    early = replace(network, projections={"w": undelayed})
    late, soon = (reference.run(one, x).spikes["n"] for one in (network, early))
    np.testing.assert_array_equal(late[:, 50:], soon[:, :-50])


def test_leaks_too_small_for_a_chip_are_named(tmp_path: Path, rng: Rng) -> None:
    path = tmp_path / "slow.nir"
    nir.write(path, chain({"w": nir.Linear(rng.normal(0.5, 0.5, (3, 4))), "n": lif(3, 1 - 1e-4)}, 4, 3))
    (report,) = import_file(path, DT).reports
    assert "voltage of 3 neurons: a leak below 1/8192 per step becomes none" in report.notes
