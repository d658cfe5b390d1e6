"""One population on its way to integers: what arrives, what drives it, and the scales that its data choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import before_decay, decay
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import DELAY_MAX

from .graph import FloatGraph
from .nodes import FloatNeurons
from .operators import Convolved, Floats, Matrix, Operator, matrix_of
from .run import Trains, delayed, map_delays, simulate, start_steps
from .scale import (
    Arrival,
    Groups,
    IntegerNeurons,
    integer_drive,
    integer_neurons,
    integer_spikes,
    integer_weights,
    signed,
    weights_of,
    with_weights,
)

Ints = npt.NDArray[np.int64]


@dataclass
class Plan:
    """One population on its way to integers: what arrives, the constant drive, and the scale of each group."""

    neurons: FloatNeurons
    arrivals: list[Arrival]
    groups: Groups
    constant: Floats
    start: int
    unclipped: Floats = field(default_factory=lambda: np.zeros(0))
    scale: Floats = field(default_factory=lambda: np.zeros(0))

    def per_neuron(self) -> Floats:
        """Return s: state units per unit of voltage, (size,)."""
        gain = np.abs(self.neurons.gain)
        return np.divide(self.scale[self.groups.of_neuron], gain, out=np.ones_like(gain), where=gain > 0)

    def integers(self) -> IntegerNeurons:
        """Return the integer parameters, started so that `start` steps of bias lead to the float start."""
        made = integer_neurons(self.neurons, self.constant, self.per_neuron())
        return made._replace(start=start_voltage(made, self.start))


def plans_of(graph: FloatGraph) -> dict[str, Plan]:
    """Return a plan for each set of neurons, still without scales."""
    delays, start = _checked_delays(graph), start_steps(graph)
    plans = {}
    for name, neurons in graph.neurons.items():
        arrivals = [
            Arrival(key, m.source, _kept_small(signed(m.operator, neurons, f"node {name!r}"), neurons), delays[key])
            for key, m in graph.maps.items()
            if m.target == name
        ]
        through = neurons.gain * graph.biases[name]
        settled = np.divide(through, neurons.a, out=np.zeros_like(through), where=neurons.a > 0)
        constant = neurons.bias + (settled if neurons.through_current else through)
        plans[name] = Plan(neurons, arrivals, Groups(neurons, arrivals), constant, start[name])
    return plans


def _kept_small(operator: Operator, neurons: FloatNeurons) -> Operator:
    """Return a convolution as single weights where its image is not the neurons' own or its scales would differ."""
    if not isinstance(operator, Convolved):
        return operator
    if operator.out_shape == neurons.shape and len(operator.shape) == 3:
        return operator
    return Matrix(operator.shape, operator.out_shape, matrix_of(operator, "a convolution into other shapes"))


def _checked_delays(graph: FloatGraph) -> dict[str, Ints]:
    """Return the delays of every map in steps; negative ones, of feedback over several layers, are 0."""
    result = {name: np.maximum(steps, 0) for name, steps in map_delays(graph).items()}
    for name, steps in result.items():
        if steps.size and steps.max() > DELAY_MAX:
            raise NetworkError(
                f"node {name!r}: expected delays of up to {DELAY_MAX} steps (with what keeps paths of different length "
                f"in step), got {int(steps.max())}"
            )
    return result


def judge_of(plan: Plan, everything: Mapping[str, npt.NDArray[Any]], wanted: npt.NDArray[np.uint8]) -> Any:
    """Return a function S -> differing bins of each group, driven by what the float graph's sources emit."""
    late = {arrival.name: delayed(everything[arrival.source], arrival.delay) for arrival in plan.arrivals}

    def differing(scale: Floats) -> Ints:
        plan.scale = scale
        spikes = integer_spikes(plan.integers(), integer_drive(plan.arrivals, plan.groups, scale, late), plan.start)
        bins = (spikes[:, plan.start :] != wanted[:, plan.start :]).sum(axis=(0, 1))
        return np.bincount(plan.groups.of_neuron, bins, plan.groups.n).astype(np.int64)

    return differing if plan.arrivals else None


class IntegerDynamics:
    """The integers that stand for a float graph, for `simulate`."""

    def __init__(self, graph: FloatGraph, plans: Mapping[str, Plan]) -> None:
        self.neurons = {name: plan.integers() for name, plan in plans.items()}
        self.fires = {name: plan.neurons.fires for name, plan in plans.items()}
        self.operators = {}
        for plan in plans.values():
            for arrival in plan.arrivals:
                group = plan.groups.of_weights(arrival.operator)
                rounded = integer_weights(weights_of(arrival.operator) * plan.scale[group] / 64)
                self.operators[arrival.name] = with_weights(arrival.operator, rounded.weights.astype(np.float64))

    def rest(self, name: str, n_samples: int) -> Any:
        """Return current 0 and the voltage that neurons start from."""
        start = self.neurons[name].start
        return np.zeros((n_samples, start.size), np.int64), np.tile(start, (n_samples, 1))

    def apply(self, key: str, spikes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the sums of integer weights."""
        return np.rint(self.operators[key].apply(spikes.astype(np.float64))).astype(np.int64)

    def constant(self, name: str) -> npt.NDArray[Any]:
        """Return 0: constants are in the bias."""
        return np.zeros(self.neurons[name].start.size, np.int64)

    def step(self, name: str, state: Any, drive: npt.NDArray[Any]) -> Any:
        """Return one step of the chip's neuron; sums do not wrap here."""
        neurons, (u, v) = self.neurons[name], state
        u = decay(u, neurons.current_decay) + 64 * drive
        v = decay(v, neurons.voltage_decay) + u + neurons.bias
        spike = v > 64 * neurons.threshold if self.fires[name] else np.zeros(v.shape, bool)
        return (u, np.where(spike, 0, v)), spike, v


def keep_clips_that_pay(
    graph: FloatGraph,
    plans: Mapping[str, Plan],
    inputs: Mapping[str, npt.NDArray[Any]],
    trains: Trains,
    voltages: Mapping[str, Floats],
) -> None:
    """Undo the clipping of a population's weights where the outputs are nearer to the float graph without it."""
    sources = list(dict.fromkeys(graph.outputs.values()))

    def cost() -> float:
        spikes, states = simulate(graph, inputs, IntegerDynamics(graph, plans))
        total = 0.0
        for source in sources:
            if graph.neurons[source].fires:
                total += float((spikes[source] != trains[source]).mean())
            else:
                spread = float(np.std(voltages[source])) or 1.0
                total += float(np.abs(states[source] / plans[source].per_neuron() - voltages[source]).mean()) / spread
        return total

    best = cost()
    for plan in plans.values():
        if np.array_equal(plan.scale, plan.unclipped):
            continue
        chosen = plan.scale
        plan.scale = plan.unclipped
        if (now := cost()) < best:
            best = now
        else:
            plan.scale = chosen


def start_voltage(neurons: IntegerNeurons, steps: int) -> Ints:
    """Return the voltage from which `steps` steps of bias alone lead to the start; where b = 1 nothing carries over."""
    voltage = neurons.start
    for _ in range(steps):
        voltage = before_decay(voltage - neurons.bias, neurons.voltage_decay)
    return voltage
