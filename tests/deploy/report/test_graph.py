"""The drawings of the report: the graph of a network, and what stands under the pointer."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from networks import random_network
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn.deploy.report.charts import line_chart, raster
from sdsnn.deploy.report.graph import network_graph
from sdsnn.deploy.simulate.measure import spikes_at
from sdsnn_core.network import Convolution, Network


def titles(svg: str) -> list[str]:
    return [
        title.text or "" for title in ElementTree.fromstring(svg.split("</svg>")[0] + "</svg>").iterfind(".//{*}title")
    ]


@pytest.mark.parametrize("seed", range(30))
def test_a_random_graph_has_every_node_and_every_projection(seed: int) -> None:
    """Each in a hint with its size, boxes of a row apart from each other and within the drawing."""
    network = random_network(np.random.default_rng(seed))
    svg = network_graph(network)
    hints = titles(svg)
    for name, node in network.nodes.items():
        [hint] = [hint for hint in set(hints) if hint.startswith(f"{name}: ")]
        assert name in network.outputs or f"{node.size:,} " in hint or f"{node.size} " in hint
    for name, projection in network.projections.items():
        count = projection.synapses(network.shape_of(projection.source)).weight.size
        [hint] = {hint for hint in hints if hint.startswith(f"{name}, {projection.source} to {projection.target}: ")}
        assert f"{count:,} synapses" in hint
        latest = int(projection.delay.max(initial=0))
        assert (str(latest) in hint.partition("delay")[2]) == (latest > 0)
        assert ("convolution" in hint) == isinstance(projection, Convolution)
    boxes = [
        (float(x), float(y), float(wide))
        for x, y, wide in re.findall(r'<rect class="node" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', svg)
    ]
    assert len(boxes) == len(network.nodes)
    for i, (x, y, wide) in enumerate(boxes):
        assert x >= 0
        assert x + wide <= float(re.findall(r'viewBox="0 0 ([\d.]+) ', svg)[0])
        assert not any(y == other[1] and x < other[0] + other[2] and other[0] < x + wide for other in boxes[:i])


def test_feed_forward_arrows_point_down() -> None:
    nodes = {"in": sdsnn.Input((4,)), "b": sdsnn.Population((3,), 0, 0, 5), "a": sdsnn.Population((2,), 0, 0, 5),
             "out": sdsnn.Output("b")}  # fmt: skip
    wires = {
        "late": sdsnn.Synapses("a", "b", [0, 1], [0, 1], [3, 4], np.array([2, 5], np.uint8)),
        "first": sdsnn.Synapses("in", "a", [0], [0], [3]),
    }
    svg = network_graph(Network(nodes, wires))
    rows = {name: float(y) for y, name in re.findall(r'class="label" x="[\d.]+" y="([\d.]+)"[^>]*>(\w+)<', svg)}
    assert rows["in"] < rows["a"] < rows["b"] < rows["out"]
    assert "late, a to b: 2 synapses, delay 2 to 5" in titles(svg)


def test_every_mark_of_a_line_and_a_raster_has_a_hint() -> None:
    hints = titles(line_chart([0, 1, 2], {"training": [0.5, None, 0.75]}, "epoch", "accuracy (%)", scale=100))
    assert hints == ["training", "training, epoch 0: 50", "training, epoch 2: 75"]
    hints = titles(raster({"dense1": (4, [(0, 3), (2, 3), (1, 0)])}, 5, 1e-3))
    assert hints == ["dense1, neuron 3: 2 spikes", "dense1, neuron 0: 1 spike"]
    long = titles(line_chart(list(range(500)), {"a": [1.0] * 500}, "step", "rate"))
    assert len(long) < 70


def test_simulate_draws_the_first_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "zoo:digits", "--rate", "0.3", "--steps", "6", "--samples", "2"]
    done = CliRunner().invoke(app, [*words, "--plot", "spikes.svg"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 samples on engine: no labels" in done.output
    drawn = titles((tmp_path / "spikes.svg").read_text())
    network = sdsnn.load("zoo:digits")
    activity = sdsnn.simulate(network, spikes_at(network, 0.3, 2, 6)["input"])
    counts = activity.spikes["dense1"][0].sum(axis=0)
    shown = {hint for hint in drawn if hint.startswith("dense1, neuron")}
    assert shown == {f"dense1, neuron {n}: {k} spike{'s' * (k > 1)}" for n, k in enumerate(counts.tolist()) if k}
    for more, message in (
        (["--plot", "spikes.png"], "picture spikes.png: expected a file that ends in .svg, got .png"),
        (["data.npz"], "--rate: random spikes in the place of data, got both --rate and data.npz"),
    ):
        refused = CliRunner().invoke(app, [*words, *more])
        assert (refused.exit_code, refused.output) == (2, f"sdsnn: {message}\n")
