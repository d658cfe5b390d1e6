"""NIR files of other tools, written by their own exporters: their floats are understood, their integers come near.

The tools run in children of SDSNN_READERS (an interpreter that has them), default this one; see writers.py.
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
from sdsnn.export.float_import.run import FloatDynamics, float_run, simulate, start_steps, writers_rates
from sdsnn_core import reference

SCRIPT = Path(__file__).parents[2] / "writers.py"
DT = {"norse": 1e-3, "rockpool": 1e-3, "snntorch": 1e-4, "spikingjelly": 1e-4, "sinabs": 1e-4}
CASES = [
    ("norse", "lif"), ("norse", "cuba"), ("snntorch", "lif"), ("snntorch", "loop"), ("snntorch", "conv"),
    ("spikingjelly", "if"), ("spikingjelly", "lif"), ("spikingjelly", "averaging"), ("spikingjelly", "cuba"),
    ("spikingjelly", "conv"), ("sinabs", "lif"), ("sinabs", "conv"), ("rockpool", "lif"), ("rockpool", "cuba"),
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, python_with: Callable[[str], str]) -> Any:
    """Return a function (tool, name) -> the file, with input and output beside it; every tool runs once."""
    folders: dict[str, Path] = {}

    def file(tool: str, name: str) -> Path:
        python = python_with(tool)
        if tool not in folders:
            folders[tool] = tmp_path_factory.mktemp(tool)
            command = [python, str(SCRIPT), tool, str(folders[tool])]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert answer.returncode == 0, answer.stderr[-2000:]
        return folders[tool] / f"{name}.nir"

    return file


def named(tool: str) -> str | None:
    """Sinabs writes r = 1 with tau in steps, which NIR to the letter reads otherwise: it has to be named."""
    return tool if tool == "sinabs" else None


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
    if tool == "rockpool":  # below threshold: it can only subtract
        np.testing.assert_allclose(voltages, wanted, rtol=1e-4, atol=1e-4)
        assert np.abs(wanted).max() > 1
        return
    assert 0.02 < wanted.mean() < 0.8
    np.testing.assert_array_equal(spikes, wanted)


@pytest.mark.parametrize(
    ("tool", "writer"), [("snntorch", "snntorch"), ("sinabs", "sinabs-norm"), ("rockpool", "rockpool")]
)
def test_what_a_tools_neurons_do_by_default_is_what_the_table_says(tool: str, writer: str, written: Any) -> None:
    """Subtraction, at once or late, several spikes a step, a spike at the threshold: every bin is the tool's."""
    file = written(tool, "default")
    graph = read_graph(read_float_file(file), DT[tool], writer)
    x = np.load(file.with_suffix(".npy")).reshape(3, 50, -1)
    inputs = {name: np.pad(x, ((0, 0), (0, 1), (0, 0))) for name in graph.inputs}
    (output,) = graph.outputs.values()
    got = simulate(graph, inputs, FloatDynamics(graph, WRITERS[writer].firing))[0][output][:, 1:]
    wanted = np.load(file.with_suffix(".out.npy"))
    assert wanted.mean() > 0.02
    np.testing.assert_array_equal(got, wanted)
    assert (float_run(graph, inputs)[0][output][:, 1:] != wanted).any()
    assert writers_rates(graph, inputs)[writer][output] == pytest.approx(wanted.sum() / (3 * 51 * wanted.shape[2]))


@pytest.mark.parametrize(("tool", "name"), [case for case in CASES if case[0] != "rockpool"])
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
    late = len(made.reports)  # each population is one map deeper
    differing = (got[:, late:] != wanted[:, : wanted.shape[1] - late]).mean()
    assert differing < 0.1
    # What the report says of the last population is what the tool's own output says, but for its last steps.
    assert abs(differing - made.reports[-1].differing) < 0.01
