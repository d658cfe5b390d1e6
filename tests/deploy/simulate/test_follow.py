"""Events that come in line by line give what one run over all their bins gives, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from networks import random_network
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.simulate.follow import follow
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.errors import FileError
from sdsnn_core.network import Input, Network, Output, Population, Sigma, Synapses

WIDTH = 2.5  # of a step, in the unit of the times


def relay(port: Input) -> Network:
    """Return a network whose output repeats its input."""
    unit = np.eye(port.size, dtype=int)
    nodes = {"input": port, "a": Population((port.size,), 4096, 4096, 0), "output": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("input", "a", unit)})


def as_lines(rng: np.random.Generator, port: Input, bins: np.ndarray) -> Iterator[str]:
    """Yield the events of bins (steps, size), shuffled inside a step, and now and then a time alone."""
    yield "# time and place\n"
    yield "100\n"
    for step, row in enumerate(bins):
        for place in rng.permutation(np.flatnonzero(row)).tolist():
            when = 100 + WIDTH * (step + rng.random() * 0.99)
            if len(port.shape) == 1:
                where = [place]
            else:
                p, y, x = np.unravel_index(place, port.shape)
                where = [int(x), int(y), int(p)][: 2 + (port.shape[0] > 1)]
            value = [int(row[place])] if port.graded else []
            yield rng.choice([",", " ", ", "]).join(str(each) for each in [when, *where, *value]) + "\n"
    yield f"{100 + WIDTH * (len(bins) - 1)}\n"


@pytest.mark.parametrize("seed", range(6))
def test_lines_give_what_one_run_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, models=seed % 2 == 1, graded=True)
    port = network.inputs["input"]
    most = min(port.max_value, 200)
    bins = rng.integers(1, most + 1, (30, port.size)) * (rng.random((30, port.size)) < 0.2)
    bins[10:14] = 0
    out: list[str] = []
    delays = follow(network, as_lines(rng, port, bins), out.append, bin_width=WIDTH)
    source = network.outputs["output"].source
    values = reference.run(network, bins, record=[source]).spikes[source][0]
    expected = [f"{t},{i},{values[t, i]}" for t, i in zip(*np.nonzero(values), strict=True)]
    assert "".join(out).splitlines() == expected
    assert delays.seconds.size == 30


def test_voltages_of_every_neuron_are_printed_in_every_step() -> None:
    nodes = {"input": Input((1,), 9), "sum": Sigma((2,)), "output": Output("sum", "voltage")}
    network = Network(nodes, {"w": Synapses.from_dense("input", "sum", [[2], [-1]])})
    out: list[str] = []
    follow(network, ["0 0 3", "2 0 1", "3"], out.append)
    assert "".join(out).splitlines() == ["0,0,0", "0,1,0", "1,0,6", "1,1,-3", "2,0,6", "2,1,-3", "3,0,8", "3,1,-4"]


def test_a_step_is_printed_as_soon_as_the_next_one_begins() -> None:
    printed: list[str] = []

    def lines() -> Iterator[str]:
        yield "0 1"
        yield "1"
        assert not printed
        yield "2"
        assert printed == ["1,1,1\n"]

    follow(relay(Input((2,))), lines(), printed.append)


@pytest.mark.parametrize(
    ("port", "lines", "message"),
    [
        (Input((2, 3, 3)), ["0 1 1 1", "5 2 2"], "line 2: expected time x y p, got 5 2 2"),
        (Input((4,)), ["0 1", "x 1"], "line 2: expected time channel, got x 1"),
        (Input((4,), 3), ["nan 1 1"], "line 1: expected time channel and a value, got nan 1 1"),
        (Input((4,), 3), ["0 1 3", "1 1 4"], "line 2: expected a value of 0..3, got 4"),
        (Input((4,), 3, -2), ["0 1 -3"], "line 1: expected a value of -2..3, got -3"),
        (Input((4,)), ["0 4"], "line 1: expected a place in an input of shape (4,), got 4"),
        (Input((1, 3, 3)), ["0 3 0"], "line 1: expected a place in an input of shape (1, 3, 3), got 3 0"),
        (Input((4,)), ["0 1", "3 1", "2 1"], "line 3: expected events from step 3 on, got one of step 2, which has "),
    ],
)
def test_lines_that_are_no_events_are_named(port: Input, lines: list[str], message: str) -> None:
    with pytest.raises(FileError) as caught:
        follow(relay(port), lines, lambda _: None)
    assert str(caught.value).startswith(message)


def test_the_command_follows_a_file_and_standard_input(tmp_path: Path) -> None:
    file, events = write_nir(relay(Input((2,))), tmp_path / "n.nir"), tmp_path / "events.csv"
    events.write_text("10,0\n12,1\n", encoding="utf-8")
    command = ["simulate", str(file), "--bin-width", "2", "--follow"]
    for source, text in ((str(events), None), ("-", events.read_text(encoding="utf-8"))):
        result = CliRunner().invoke(app, [*command, source], input=text)
        assert result.exit_code == 0, result.output
        assert result.stdout == "1,0,1\n"
        assert "2 steps" in result.stderr
    events.write_text("10,0\n14,1\n11,1\n", encoding="utf-8")
    back = CliRunner().invoke(app, [*command, str(events)])
    assert back.exit_code == 2
    assert f"--follow {events}: line 3: expected events from step 2 on, got one of step 0" in back.output.replace(
        "\n", ""
    )
    missing = CliRunner().invoke(app, [*command, str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "expected lines of text, got FileNotFoundError" in missing.output
