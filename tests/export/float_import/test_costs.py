"""The report names what a chip does otherwise, and the bins it changes: those of recursions written out here."""

from __future__ import annotations

import nir
import numpy as np
import pytest

import sdsnn
from sdsnn.export.float_import.costs import ABOVE, LATE, NO_LEAK, ROUNDED
from sdsnn.export.float_import.file import float_file_of
from sdsnn.export.float_import.graph import FloatGraph, read_graph
from sdsnn.export.float_import.quantise import NodeReport, quantise
from sdsnn_core.errors import FileError

DT = 1e-4
ONE = np.ones(1)


def graph_of(nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], writer: str = "nir") -> FloatGraph:
    whole = {"in": nir.Input(np.array([1])), **nodes, "out": nir.Output(np.array([1]))}
    return read_graph(float_file_of(nir.NIRGraph(whole, edges, type_check=False)), DT, writer)


def one_layer(weight: float, node: nir.NIRNode, writer: str = "nir") -> FloatGraph:
    return graph_of(
        {"w": nir.Linear(np.full((1, 1), weight)), "n": node}, [("in", "w"), ("w", "n"), ("n", "out")], writer
    )


def threshold() -> nir.Threshold:
    """Neurons without memory: they spike where what arrives is above a half."""
    return nir.Threshold(ONE / 2)


def structural(report: NodeReport) -> dict[str, int]:
    """Return the costs that are not those of a tool's way to fire."""
    return {cause: bins for cause, bins in report.costs.items() if cause in (LATE, NO_LEAK, ROUNDED)}


def later(x: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.zeros_like(x[:, :steps]), x[:, : x.shape[1] - steps]], axis=1)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return (rng.random((3, 40, 1)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize(("delay", "up", "down"), [(2.5, 3, 2), (1.25, 2, 1), (0.75, 1, 0)])
def test_delays_of_parts_of_a_step_cost_what_rounding_the_other_way_changes(
    x: np.ndarray, delay: float, up: int, down: int
) -> None:
    nodes = {"d": nir.Delay(ONE * delay * DT), "w": nir.Linear(np.ones((1, 1))), "n": threshold()}
    graph = graph_of(nodes, [("in", "d"), ("d", "w"), ("w", "n"), ("n", "out")])
    (report,) = quantise(graph, {"in": x}, calibrate=False).reports
    wanted = int((later(x, up + 1) != later(x, down + 1)).sum())  # and one step of transport
    assert report.bins == x.size
    assert structural(report) == {ROUNDED: wanted}
    assert wanted > 0


def test_late_feedback_costs_what_it_changes(x: np.ndarray) -> None:
    """b follows a within a step, a follows b of the step before; on a chip b comes two steps before."""
    w = nir.Linear(np.ones((1, 1)))
    nodes = {"w": w, "a": threshold(), "v": w, "b": threshold(), "back": nir.Linear(-np.ones((1, 1)))}
    edges = [("in", "w"), ("w", "a"), ("a", "v"), ("v", "b"), ("b", "back"), ("back", "a"), ("b", "out")]
    reports = quantise(graph_of(nodes, edges), {"in": x}, calibrate=False).reports
    a, late = np.zeros(x.shape), np.zeros(x.shape)
    for t in range(x.shape[1]):
        a[:, t] = x[:, t] - (a[:, t - 1] if t else 0) > 0.5
        late[:, t] = x[:, t] - (late[:, t - 2] if t > 1 else 0) > 0.5
    wanted = {name: int((later(a, n) != later(late, n)).sum()) for name, n in (("a", 1), ("b", 2))}
    assert {report.name: structural(report) for report in reports} == {name: {LATE: n} for name, n in wanted.items()}
    assert min(wanted.values()) > 0


def test_a_leak_that_integers_cannot_hold_costs_what_its_loss_changes(x: np.ndarray) -> None:
    leak = 1e-4
    neurons = nir.LIF(tau=ONE * DT / leak, r=ONE / leak, v_leak=0 * ONE, v_threshold=ONE * 2.9999, v_reset=0 * ONE)
    graph = graph_of({"w": nir.Linear(np.ones((1, 1))), "n": neurons}, [("in", "w"), ("w", "n"), ("n", "out")])
    (report,) = quantise(graph, {"in": x}, calibrate=False).reports
    trains = []
    for b in (leak, 0.0):
        v, spikes = np.zeros((3, 1)), np.zeros(x.shape)
        for t in range(x.shape[1]):
            v = (1 - b) * v + x[:, t]
            spikes[:, t] = v > 2.9999
            v = np.where(spikes[:, t], 0, v)
        trains.append(later(spikes, 1))
    assert structural(report) == {NO_LEAK: int((trains[0] != trains[1]).sum())}
    assert report.costs[NO_LEAK] > 0


def fired(x: np.ndarray, beta: float, how: str) -> np.ndarray:
    """Spikes of v <- beta v + x with a threshold of 1.25, a step later. 0.25 and 1.25 are exact in floats.

    how: "reset", "at" (a spike at the threshold too), "subtract", "late", "several".
    """
    out = np.zeros(x.shape)
    for sample in range(len(x)):
        v, before = 0.0, 0.0
        for t, drive in enumerate(x[sample, :, 0]):
            v = beta * v + drive - (1.25 * before if how == "late" else 0)
            spike = v >= 1.25 if how == "at" else v > 1.25
            n = max(int(v / 1.25), 1) if spike and how == "several" else int(spike)
            out[sample, t, 0] = before = n
            if how in ("subtract", "several"):
                v -= 1.25 * n
            elif how != "late" and n:
                v = 0.0
    return later(out, 1)


def neuron(writer: str) -> nir.NIRNode:
    """A leak of a half: r and tau as a writer has them."""
    if writer == "sinabs":
        return nir.LIF(tau=ONE / np.log(2), r=ONE, v_leak=0 * ONE, v_threshold=1.25 * ONE, v_reset=0 * ONE)
    return nir.LIF(tau=2 * DT * ONE, r=2 * ONE, v_leak=0 * ONE, v_threshold=1.25 * ONE, v_reset=0 * ONE)


@pytest.mark.parametrize(
    ("writer", "base", "causes"),
    [
        (
            "snntorch", "reset",
            {
                "subtraction of the threshold a step late, the default of snntorch": "late",
                "a spike at the threshold itself, the default of spikingjelly": "at",
                "a spike at the threshold itself, the default of lava-dl": "at",
            },
        ),
        (
            "spikingjelly", "at",
            {"subtraction of the threshold a step late, the default of snntorch": "late", ABOVE: "reset"},
        ),
    ],
)  # fmt: skip
def test_what_a_writers_neurons_do_otherwise_costs_what_it_changes(
    rng: np.random.Generator, writer: str, base: str, causes: dict[str, str]
) -> None:
    x = rng.integers(0, 6, (3, 60, 1)).astype(np.uint8)
    graph = one_layer(0.25, neuron(writer), writer)
    (report,) = quantise(graph, {"in": x}, calibrate=False).reports
    own = fired(x * 0.25, 0.5, base)
    wanted = {cause: int((own != fired(x * 0.25, 0.5, how)).sum()) for cause, how in causes.items()}
    assert min(wanted.values()) > 0
    assert report.costs == wanted


def test_neurons_that_differ_in_several_ways_have_a_cost_for_each(rng: np.random.Generator) -> None:
    x = rng.integers(0, 12, (3, 60, 1)).astype(np.uint8)
    graph = one_layer(0.25, neuron("sinabs"), "sinabs")
    (report,) = quantise(graph, {"in": x}, calibrate=False).reports
    assert set(report.costs) == {
        "several spikes a step, subtraction of the threshold, a spike at the threshold itself, the default of sinabs",
        "subtraction of the threshold by itself", ABOVE,
        "several spikes a step, subtraction of the threshold by itself",
    }  # fmt: skip


def test_a_spike_at_the_threshold_costs_nothing_on_a_grid(x: np.ndarray) -> None:
    node = nir.IF(r=ONE / DT, v_threshold=2 * ONE, v_reset=0 * ONE)
    graph = one_layer(1.0, node, "spikingjelly")
    (report,) = quantise(graph, {"in": x}, calibrate=False).reports
    assert report.rate > 0
    assert report.differing == 0
    assert ABOVE not in report.costs


def test_what_a_chip_does_alike_has_no_cost(x: np.ndarray) -> None:
    nodes = {"d": nir.Delay(ONE * 2 * DT), "w": nir.Linear(np.ones((1, 1))), "n": threshold()}
    graph = graph_of(nodes, [("in", "d"), ("d", "w"), ("w", "n"), ("n", "out")])
    assert not structural(quantise(graph, {"in": x}, calibrate=False).reports[0])


def test_samples_in_which_the_output_is_silent_are_counted(x: np.ndarray) -> None:
    x[1] = 0
    nodes = {"w": nir.Linear(np.ones((1, 1))), "n": threshold()}
    result = quantise(graph_of(nodes, [("in", "w"), ("w", "n"), ("n", "out")]), {"in": x}, calibrate=False)
    assert (result.samples, result.silent, result.silent_float) == (3, 1, 1)
    nodes = {"w": nir.Linear(np.ones((1, 1))), "n": nir.LI(tau=ONE * 1e-3, r=ONE, v_leak=0 * ONE)}
    result = quantise(graph_of(nodes, [("in", "w"), ("w", "n"), ("n", "out")]), {"in": x}, calibrate=False)
    assert (result.samples, result.silent) == (3, 0)  # a voltage is never silent


def test_a_float_file_is_imported_from_python_in_one_call(tmp_path, x: np.ndarray) -> None:
    path = tmp_path / "theirs.nir"
    nodes = {"in": nir.Input(np.array([1])), "w": nir.Linear(np.ones((1, 1))), "n": threshold()}
    nodes["out"] = nir.Output(np.array([1]))
    nir.write(path, nir.NIRGraph(nodes, [("in", "w"), ("w", "n"), ("n", "out")]))
    np.save(tmp_path / "x.npy", x)
    imported = sdsnn.import_(str(path), DT, calibrate=x)
    assert imported.network.digest() == sdsnn.import_(path, DT, calibrate=tmp_path / "x.npy").network.digest()
    assert (imported.samples, imported.data) == (3, "the calibration data")
    spikes = sdsnn.simulate(imported.network, x).spikes["n"]
    np.testing.assert_array_equal(spikes, later(x, 1))
    with pytest.raises(
        FileError, match=r"^.*calibration data: expected shape \(samples, steps, 1\), got \(3, 40, 2\)$"
    ):
        sdsnn.import_(path, DT, calibrate=np.zeros((3, 40, 2)))
