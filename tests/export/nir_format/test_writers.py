"""NIR files of other tools, written by their own exporters: their floats are understood, their integers come near.

The tools run in children of SDSNN_READERS (an interpreter that has them), default this one; see tests/writers.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdsnn.export.float_import.conventions import WRITERS
from sdsnn.export.float_import.file import read_float_file
from sdsnn.export.float_import.graph import FloatGraph, read_graph
from sdsnn.export.float_import.read import import_file
from sdsnn.export.float_import.run import FloatDynamics, default_runs, float_run, simulate, start_steps
from sdsnn_core import reference

SCRIPTS = Path(__file__).parents[2] / "writers"
ON_JAX = ("spyx", "jaxsnn")
DT = {
    "norse": 1e-3, "norse-2025": 1e-3, "rockpool": 1e-3, "snntorch": 1e-4, "spikingjelly": 1e-4, "sinabs": 1e-4,
    "hxtorch": 1e-6, "jaxsnn": 1e-3, "spyx": 1.0,
}  # fmt: skip
CASES = [
    ("norse", "lif"), ("norse", "cuba"), ("norse-2025", "lif"), ("norse-2025", "cuba"), ("snntorch", "lif"),
    ("snntorch", "loop"), ("snntorch", "conv"), ("spikingjelly", "if"), ("spikingjelly", "lif"),
    ("spikingjelly", "averaging"), ("spikingjelly", "cuba"), ("spikingjelly", "conv"), ("sinabs", "lif"),
    ("sinabs", "conv"), ("rockpool", "lif"), ("rockpool", "cuba"), ("hxtorch", "cuba"), ("jaxsnn", "cuba"),
]  # fmt: skip
VOLTAGES = ("rockpool", "jaxsnn")  # run below their thresholds
NAMED = ("sinabs", "norse-2025", "hxtorch", "jaxsnn")  # write numbers that others write too
STEPS_LATER = {"hxtorch": 1, "spyx": 1}  # than the step in which the voltage passes the threshold
OTHER_RELEASE = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, python_with: Callable[[str], str]) -> Any:
    """Return a function (tool, name) -> the file, with input and output beside it; every tool runs once."""
    folders: dict[str, Path] = {}
    others: set[str] = set()

    def file(tool: str, name: str) -> Path:
        python = python_with(tool.split("-")[0])
        if tool not in folders:
            folders[tool] = tmp_path_factory.mktemp(tool)
            script = "jax_tools.py" if tool in ON_JAX else "hxtorch_tool.py" if tool == "hxtorch" else "torch_tools.py"
            command = [python, str(SCRIPTS / script), tool, str(folders[tool])]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if answer.returncode == OTHER_RELEASE:
                others.add(tool)
            else:
                assert answer.returncode == 0, answer.stderr[-2000:]
        if tool in others:
            pytest.skip(f"{tool}: another release is installed")
        return folders[tool] / f"{name}.nir"

    return file


def named(tool: str) -> str | None:
    """Return the tool where others write the same numbers and mean something else: then it has to be named."""
    return tool if tool in NAMED else None


def understood(file: Path, tool: str) -> tuple[FloatGraph, Any, Any]:
    """Return the graph, and spikes and voltages of its output as the tool would show them, without transport."""
    graph = read_graph(read_float_file(file), DT[tool], named(tool))
    x = np.load(file.with_suffix(".npy"))
    x = x.reshape(*x.shape[:2], -1)
    (source,), (output,) = graph.inputs, graph.outputs.values()
    late = start_steps(graph)[output]
    spikes, voltages = float_run(graph, {source: np.concatenate([x, np.zeros_like(x[:, :late])], axis=1)})
    return graph, spikes[output][:, late:], voltages[output][:, late:]


@pytest.mark.parametrize(("tool", "name"), CASES)
def test_the_floats_spike_as_the_tool_that_wrote_them(tool: str, name: str, written: Any) -> None:
    file = written(tool, name)
    graph, spikes, voltages = understood(file, tool)
    wanted = np.load(file.with_suffix(".out.npy"))
    assert WRITERS[graph.writer].reads_as(WRITERS[tool])
    if tool in VOLTAGES:
        np.testing.assert_allclose(voltages, wanted, rtol=1e-4, atol=1e-4)
        assert np.abs(wanted).max() > 1
        return
    assert 0.02 < wanted.mean() < 0.8
    later = STEPS_LATER.get(tool, 0)
    np.testing.assert_array_equal(spikes[:, : spikes.shape[1] - later], wanted[:, later:])


@pytest.mark.parametrize(
    ("tool", "writer", "name"),
    [
        ("snntorch", "snntorch", "default"), ("sinabs", "sinabs-norm", "default"), ("rockpool", "rockpool", "default"),
        ("spyx", "spyx", "lif"), ("spyx", "spyx", "cuba"), ("spyx", "spyx", "if"), ("spyx", "spyx", "loop"),
    ],
)  # fmt: skip
def test_what_a_tools_neurons_do_by_default_is_what_the_table_says(
    tool: str, writer: str, name: str, written: Any
) -> None:
    """Subtraction, at once or late, several spikes a step, a spike at the threshold: every bin is the tool's."""
    file = written(tool, name)
    graph = read_graph(read_float_file(file), DT[tool], writer)
    x = np.load(file.with_suffix(".npy")).reshape(3, 50, -1)
    inputs = {source: np.pad(x, ((0, 0), (0, 1), (0, 0))) for source in graph.inputs}
    (output,) = graph.outputs.values()
    got = simulate(graph, inputs, FloatDynamics(graph, WRITERS[writer]))[0][output][:, 1:]
    wanted = np.load(file.with_suffix(".out.npy"))
    assert wanted.mean() > 0.02
    later = STEPS_LATER.get(tool, 0)
    np.testing.assert_array_equal(got[:, : 50 - later], wanted[:, later:])
    assert (float_run(graph, inputs)[0][output][:, 1:] != got).any()
    np.testing.assert_array_equal(default_runs(graph, inputs)[writer][output][:, 1:], got)


def test_neurons_that_are_solved_between_events_first_spike_in_the_same_step(written: Any) -> None:
    """Jaxsnn resets at the moment of a spike, a chip at the end of its step: later spikes may come apart."""
    file = written("jaxsnn", "default")
    graph, spikes, _ = understood(file, "jaxsnn")
    assert graph.writer == "jaxsnn"
    wanted = np.load(file.with_suffix(".out.npy")) > 0
    np.testing.assert_array_equal(wanted.any(axis=1), spikes.any(axis=1))
    np.testing.assert_array_equal(wanted.argmax(axis=1), spikes.argmax(axis=1))
    assert wanted.any(axis=1).mean() > 0.5


@pytest.mark.parametrize(("tool", "name"), [case for case in CASES if case[0] not in VOLTAGES])
def test_the_integers_come_near_and_the_report_says_how_near(tool: str, name: str, written: Any) -> None:
    file = written(tool, name)
    data = file.with_suffix(".npy")
    made = import_file(file, DT[tool], writer=named(tool), calibrate=data)
    assert not made.exact
    for report in made.reports:
        assert report.weight_error < 0.01 or report.saturated  # outliers clipped, where that serves the rest
        assert report.differing < 0.1
        assert report.silenced <= 1
        assert abs(report.rate - report.rate_float) < 0.02
    wanted = np.load(file.with_suffix(".out.npy"))
    (output,) = made.network.outputs.values()
    got = reference.run(made.network, np.load(data)).spikes[output.source]
    late = len(made.reports) - STEPS_LATER.get(tool, 0)  # each population is one map deeper
    differing = (got[:, late:] != wanted[:, : wanted.shape[1] - late]).mean()
    assert differing < 0.1
    # What the report says of the last population is what the tool's own output says, but for its last steps.
    assert abs(differing - made.reports[-1].differing) < 0.01
