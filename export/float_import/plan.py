"""One population on its way to integers: what arrives, what drives it, and the scales that its data choose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import Ints, before_decay
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import BIAS_EXP_MAX, BIAS_MAX, DELAY_MAX, WEIGHT_EXP_MAX

from .graph import FloatGraph
from .nodes import FloatNeurons
from .operators import Convolved, Floats, Matrix, Operator, matrix_of
from .run import Trains, delayed, map_delays, simulate, start_steps
from .scale import (
    HIGHEST,
    LOWEST,
    Arrival,
    Groups,
    IntegerNeurons,
    Rounded,
    State,
    after_bias,
    integer_drive,
    integer_neurons,
    integer_spikes,
    integer_weights,
    on_grid,
    signed,
    step,
    weights_of,
    with_weights,
)


@dataclass
class Plan:
    """One population on its way to integers: what arrives, the constant drive, and the scale of each group."""

    neurons: FloatNeurons
    arrivals: list[Arrival]
    groups: Groups
    settled: Floats  # what the biases of the maps reach behind a leaky current, zeros where they act at once
    constant: Floats
    start: int
    unclipped: Floats = field(default_factory=lambda: np.zeros(0))
    scale: Floats = field(default_factory=lambda: np.zeros(0))

    def per_neuron(self) -> Floats:
        """Return s: state units per unit of voltage, (size,)."""
        gain = np.abs(self.neurons.gain)
        return np.divide(self.scale[self.groups.of_neuron], gain, out=np.ones_like(gain), where=gain > 0)

    def exponent(self) -> int:
        """Return the smallest bias_exp that holds the constant drive of all neurons, or the largest there is."""
        largest = np.abs(self.constant * self.per_neuron()).max(initial=0.0)
        return next((e for e in range(BIAS_EXP_MAX) if largest <= BIAS_MAX << e), BIAS_EXP_MAX)

    def on_grid(self) -> bool:
        """Return whether all voltages are whole threshold units, so that a spike at the threshold itself is exact."""
        made = self.integers()
        return bool(on_grid(made.current_decay, made.voltage_decay, made.bias, made.start).all())

    def rounded(self, arrival: Arrival) -> Rounded:
        """Return the integer weights of a map into these neurons, and what rounding them did."""
        scale = self.scale[self.groups.of_weights(arrival.operator)]
        return integer_weights(weights_of(arrival.operator) * scale / 64)

    def integers(self) -> IntegerNeurons:
        """Return the integer parameters, started so that `start` steps of bias lead to the float start."""
        neurons = integer_neurons(self.neurons, self.constant, self.per_neuron(), self.exponent())
        return neurons._replace(start=start_voltage(neurons, self.start))


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
        settled = np.zeros_like(through)
        if neurons.through_current:
            np.divide(through, neurons.a, out=settled, where=neurons.a > 0)
        constant = neurons.bias + (settled if neurons.through_current else through)
        plans[name] = Plan(neurons, arrivals, Groups(neurons, arrivals), settled, constant, start[name])
    return plans


def _kept_small(operator: Operator, neurons: FloatNeurons) -> Operator:
    """Return a convolution as single weights where its image is not the neurons' own."""
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
        drive, (weights, exponent) = integer_drive(plan.arrivals, plan.groups, scale, late), settling_drive(plan)
        drive[:, plan.start : plan.start + 1] += weights << exponent
        spikes = integer_spikes(plan.integers(), drive, plan.start)
        bins = (spikes[:, plan.start :] != wanted[:, plan.start :]).sum(axis=(0, 1))
        return np.bincount(plan.groups.of_neuron, bins, plan.groups.n).astype(np.int64)

    return differing if plan.arrivals else None


class IntegerDynamics:
    """The chip's integers that stand for a float graph, for `simulate`: what reference.py says of the network."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self.neurons = {name: plan.integers() for name, plan in plans.items()}
        self.fires = {name: plan.neurons.fires for name, plan in plans.items()}
        self.resting = {name: after_bias(self.neurons[name], plan.start) for name, plan in plans.items()}
        self.settling = {name: settling_drive(plan) for name, plan in plans.items()}
        self.operators = {}
        for plan in plans.values():
            for arrival in plan.arrivals:
                weights = plan.rounded(arrival).weights.astype(np.float64)
                self.operators[arrival.name] = with_weights(arrival.operator, weights)

    def rest(self, name: str, n_samples: int) -> Any:
        """Return the state before the first step, and the drive that comes in that step alone."""
        weights, exponent = self.settling[name]
        return State(*(np.tile(part, (n_samples, 1)) for part in self.resting[name])), weights << exponent

    def apply(self, key: str, spikes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the sums of integer weights."""
        return np.rint(self.operators[key].apply(spikes.astype(np.float64))).astype(np.int64)

    def constant(self, name: str) -> npt.NDArray[Any]:
        """Return 0: constants are in the bias."""
        return np.zeros(self.neurons[name].start.size, np.int64)

    def step(self, name: str, state: Any, drive: npt.NDArray[Any]) -> Any:
        """Return one step of the chip's neuron."""
        own, once = state
        own, spike, voltage = step(self.neurons[name], own, drive + once, self.fires[name])
        return (own, 0), spike, voltage


def settling_drive(plan: Plan) -> tuple[Ints, int]:
    """Return the weights (size,) and their exponent by which the settling of a constant starts; zeros where none does.

    After n steps a constant behind a leaky current has reached settled * (1 - (1 - a)^n). Its bias acts in full, so a
    current of -settled * (1 - a) that decays by a has to be added in the first step.
    """
    neurons = plan.neurons
    if not 1 <= plan.start <= DELAY_MAX + 1:
        return np.zeros(neurons.a.size, np.int64), 0
    wanted = -plan.settled * (1 - neurons.a) * plan.per_neuron() / 64
    largest = np.abs(wanted).max(initial=0.0)
    exponent = next((e for e in range(WEIGHT_EXP_MAX) if largest <= HIGHEST << e), WEIGHT_EXP_MAX)
    return np.clip(2 * np.rint(wanted / 2 ** (exponent + 1)), LOWEST, HIGHEST).astype(np.int64), exponent


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
        spikes, states = simulate(graph, inputs, IntegerDynamics(plans))
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
