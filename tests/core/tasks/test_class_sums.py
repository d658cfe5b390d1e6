"""Several neurons per class: sums against a plain recount, and what a file may say about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdsnn_core import reference
from sdsnn_core.errors import ConfigError, NetworkError
from sdsnn_core.network import NEVER_FIRES, Input, Network, Output, Population, Synapses
from sdsnn_core.tasks.decoding import decode, task_of
from sdsnn_core.tasks.task import Task, task_settings


def network(rng: np.random.Generator, size: int, signal: Any, task: dict[str, Any]) -> Network:
    threshold = NEVER_FIRES if signal == "voltage" else 90
    nodes = {"in": Input((5,)), "a": Population((size,), 4096, 400, threshold), "out": Output("a", signal)}
    weights = Synapses.from_dense("in", "a", rng.integers(-60, 90, (size, 5)))
    return Network(nodes, {"w": weights}, provenance={"task": task})


def recount(values: np.ndarray, per_class: int) -> list[list[int]]:
    """Sums of (samples, neurons) per class, one neuron after another."""
    result = []
    for row in values.tolist():
        sums = [0] * (len(row) // per_class)
        for neuron, value in enumerate(row):
            sums[neuron // per_class] += value
        result.append(sums)
    return result


@pytest.mark.parametrize("per_class", [1, 2, 3, 4])
@pytest.mark.parametrize("signal", ["spikes", "voltage"])
def test_the_class_has_the_largest_sum_of_its_neurons(signal: str, per_class: int, rng: np.random.Generator) -> None:
    net = network(rng, 12, signal, {"kind": "label", "outputs_per_class": per_class})
    spikes = (rng.random((200, 6, 5)) < rng.random((200, 1, 1))).astype(np.uint8)
    activity = reference.run(net, spikes, record=["a"], record_state=["a"])
    trains = activity.spikes["a"] if signal == "spikes" else activity.voltage["a"]
    sums = recount(trains.astype(np.int64).sum(1), per_class)
    expected = [-1 if signal == "spikes" and not any(row) else row.index(max(row)) for row in sums]
    assert decode(net, activity).tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("kind", ["label", "step_labels", "several_labels"])
@pytest.mark.parametrize("signal", ["spikes", "voltage"])
def test_a_task_reads_groups_as_it_reads_their_sums(kind: Any, signal: Any, rng: np.random.Generator) -> None:
    output = (rng.random((7, 12, 9)) < 0.4).astype(np.float32)
    if signal == "voltage":
        output *= rng.integers(-4096, 4096, output.shape) / 4096
    sums = np.zeros((7, 4, 9))
    for neuron in range(12):
        sums[:, neuron // 3] += output[:, neuron]
    if kind == "several_labels":
        sums /= 3  # a class is present from `level` spikes per neuron and step on
    grouped, plain = Task(kind, window=2, outputs_per_class=3), Task(kind, window=2)
    readings, expected = grouped.read(output, signal), plain.read(sums, signal)
    np.testing.assert_allclose(readings, expected, rtol=1e-12)
    np.testing.assert_array_equal(grouped.predictions(readings), plain.predictions(expected))


def test_a_file_carries_the_neurons_per_class_and_none_for_one() -> None:
    assert task_settings(Task("step_labels", window=3, outputs_per_class=5))["outputs_per_class"] == 5
    assert "outputs_per_class" not in task_settings(Task("step_labels", window=3))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"outputs_per_class": 5}, NetworkError, "expected an output of 5 neurons per class, got 12 neurons"),
        ({"outputs_per_class": "3"}, NetworkError, "expected a number as outputs_per_class, got str"),
        ({"outputs_per_class": 1.5}, NetworkError, "expected a number as outputs_per_class, got float"),
        ({"outputs_per_class": 0}, ConfigError, "outputs_per_class: expected at least 1 neuron, got 0"),
        ({"window": "4"}, NetworkError, "expected a number as window, got str"),
        ({"tau": None}, NetworkError, "expected a number as tau, got NoneType"),
        (
            {"kind": "values", "outputs_per_class": 2},
            ConfigError,
            "outputs_per_class: expected 1 for task values, which has no classes, got 2",
        ),
    ],
)
def test_a_damaged_task_is_one_line(
    settings: dict[str, Any], error: type[Exception], message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(error, match=message) as caught:
        task_of(network(rng, 12, "spikes", settings))
    assert "\n" not in str(caught.value)
