"""Numbers and tables of the report by hand: NeuroBench's metrics, intervals, axes, and tables on narrow screens."""

from __future__ import annotations

import numpy as np
import pytest

from sdsnn.deploy.energy.dense_shapes import DenseShapes
from sdsnn.deploy.report.build import spread
from sdsnn.deploy.report.metrics import data_name, neurobench, wilson
from sdsnn.deploy.report.page import templates
from sdsnn.deploy.report.svg import number, ticks
from sdsnn_core import reference
from sdsnn_core.network import Convolution, Input, Network, Output, Population


def test_neurobench_by_hand() -> None:
    nodes = {"input": Input((1, 3, 3)), "a": Population((2, 2, 2), 0, 0, 1), "output": Output("a")}
    kernel = np.array([[[[2, 0], [0, 4]]], [[[0, 0], [6, 0]]]])
    network = Network(nodes, {"c": Convolution("input", "a", kernel)})
    spikes = np.zeros((1, 3, 9), np.uint8)
    spikes[0, 0, 4] = 1  # the middle pixel: each of the three weights lands on it once
    found = neurobench(network, reference.run(network, spikes), None, 0.5)
    assert found["ClassificationAccuracy"] == 0.5
    assert found["Footprint"] == 8 + 8 * 16
    assert found["ConnectionSparsity"] == 1 - 3 / 8
    assert found["SynapticOperations"] == {"Effective_MACs": 0.0, "Effective_ACs": 3.0, "Dense": 8 * 4 * 3.0}
    fired = sum(reference.run(network, spikes).spikes_per_step["a"][0])
    assert found["ActivationSparsity"] == 1 - fired / 24
    before = DenseShapes({"a": (4, 2, 2)}, {"c": ((4, 1, 2, 2), 1)})
    assert neurobench(network, None, before, None)["ConnectionSparsity"] == 1 - 3 / 16


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 7, [0, 2, 4, 6]), (3, 3, [3]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_raster_of_a_large_layer_meets_every_column() -> None:
    assert spread(10, 256).tolist() == list(range(10))
    shown = spread(32 * 16 * 16, 256)
    assert shown.size == 256
    assert set(shown.tolist()) <= set(range(32 * 16 * 16))
    assert np.unique(shown % 16).size == 16


def test_numbers_on_axes() -> None:
    shown = [number(v) for v in (0, 0.2, 12, 999, 1000, 20000, 1500, 2.5e6, 1e-4)]
    assert shown == ["0", "0.2", "12", "999", "1000", "20k", "1.5k", "2.5M", "0.0001"]


def test_interval_of_an_accuracy_by_hand() -> None:
    # 88 of 100: (0.88 + 3.8415/200 -+ 1.96 sqrt(0.1056/100 + 3.8415/40000)) / (1 + 3.8415/100)
    found = wilson(88, 100)
    assert found["low"] == pytest.approx(0.80195, abs=1e-4)
    assert found["high"] == pytest.approx(0.93000, abs=1e-4)
    everything = wilson(10, 10)
    assert everything["low"] == pytest.approx(10 / (10 + 1.959963984540054**2))
    assert everything["high"] == pytest.approx(1)


def test_name_of_the_data() -> None:
    assert data_name('[data]\nname = "nmnist"\ndirectory = "/x"\n') == "nmnist"
    assert data_name('[data]\nname = "folder"\ndirectory = "/x"\n') == "folder /x"
    assert data_name(None) is data_name("[data") is data_name("data = 3") is None


def table(columns: list[str], cells: list[str]) -> str:
    text = '{% from "parts.html" import row, table %}{% call table(columns) %}{{ row(columns, cells) }}{% endcall %}'
    return templates().from_string(text).render(columns=columns, cells=cells)


def test_long_tables_carry_their_headings_for_narrow_screens() -> None:
    short = table(["a", "b"], ["1", "2"])
    assert "stacked" not in short
    assert "data-label" not in short
    wide = table(["a", ">b", "c", "d", "e<"], ["1", "2", "3", "4", "5"])
    assert '<table class="stacked">' in wide
    assert '<td data-label="a">1</td><td class="n" data-label="b">2</td>' in wide
    assert '<td data-label="e&lt;">5</td>' in wide
    assert '<table class="stacked">' in table(["a", "<b"], ["1", "long text"])
