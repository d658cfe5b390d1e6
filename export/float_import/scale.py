"""The free number of each neuron: how many state units a float unit is.

Only weight * gain / threshold and bias / threshold of a neuron can be observed, so every neuron (every channel where a
kernel is shared over places) has one scale of its own. `S` is in state units per unit of what the weights sum up:

    weight = round(W S / 64), even, -256..254       s = S / |gain|, state units per unit of voltage
    threshold = round(theta s / 64)    bias = round(c s)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.arithmetic import DECAY_UNITY, Ints, decay, saturate, wrap_current
from sdsnn_core.network import BIAS_MAX, THRESHOLD_MAX

from .nodes import FloatNeurons
from .operators import Convolved, Floats, Identity, Matrix, Operator, matrix_of

LOWEST, HIGHEST, STEP = -256, 254, 2  # even weights: 8 bits with a sign, legal on a chip and in netx
CANDIDATES: Final = 32  # scales looked at, over two octaves below the largest that clips nothing
TRIED: Final = 5  # of them run on data, and as many that clip the largest weights
EXACT: Final = 4  # scales at which whole weights stay exact
GRID: Final = 1e-6  # of the unit of whole weights
CLIPPING: Final = (1.1, 1.25, 1.5, 2.0)
UNWEIGHTED: Final = 4096.0  # state units per unit of voltage where no weight says what would be good


@dataclass(frozen=True, eq=False)
class Arrival:
    """One map into the neurons at hand, with the sign of their gain in its weights; delay in steps, (size,)."""

    name: str
    source: str
    operator: Operator
    delay: Ints


class Rounded(NamedTuple):
    """Integers for weights in 1/64, and how many were clipped, how many became 0, the largest error of a weight."""

    weights: Ints
    clipped: int
    vanished: int
    error: float


def integer_weights(wanted: Floats) -> Rounded:
    """Return even integers for weights in 1/64; the error is relative to the largest weight."""
    rounded = STEP * np.rint(wanted / STEP)
    clipped = np.clip(rounded, LOWEST, HIGHEST)
    largest = float(np.abs(wanted).max(initial=0.0))
    error = float(np.abs(clipped - wanted).max(initial=0.0)) / largest if largest else 0.0
    return Rounded(
        clipped.astype(np.int64),
        int((rounded != clipped).sum()),
        int(((clipped == 0) & (wanted != 0)).sum()),
        error,
    )


def signed(operator: Operator, neurons: FloatNeurons, where: str) -> Operator:
    """Return an operator with the sign of its neurons' gain in its weights."""
    sign = np.sign(neurons.gain)
    if (sign > 0).all():
        return operator
    matrix = sparse.diags(sign) @ matrix_of(operator, where)
    return Matrix(operator.shape, operator.out_shape, sparse.csr_matrix(matrix))


class Groups:
    """Which neurons share a scale: each for itself, or those of a channel where a kernel is shared over places."""

    def __init__(self, neurons: FloatNeurons, arrivals: list[Arrival]) -> None:
        size = neurons.a.size
        self.by_channel = any(isinstance(arrival.operator, Convolved) for arrival in arrivals)
        self.n = neurons.shape[0] if self.by_channel else size
        self.of_neuron = np.arange(size) // (size // self.n)

    def of_weights(self, operator: Operator) -> Ints:
        """Return the group of each stored weight, in the order of `weights_of`."""
        if isinstance(operator, Convolved):
            return np.repeat(np.arange(operator.kernel.shape[0]), operator.kernel[0].size)
        if isinstance(operator, Identity):
            return self.of_neuron
        rows = np.repeat(np.arange(operator.weights.shape[0]), np.diff(operator.weights.indptr))
        return np.asarray(self.of_neuron[rows])


def weights_of(operator: Operator) -> Floats:
    """Return the stored weights of an operator, flat."""
    if isinstance(operator, Convolved):
        return operator.kernel.reshape(-1)
    if isinstance(operator, Identity):
        return np.ones(int(np.prod(operator.shape)))
    return np.asarray(operator.weights.data)


def with_weights(operator: Operator, weights: npt.NDArray[Any]) -> Operator:
    """Return an operator with other weights in the places of the old ones."""
    if isinstance(operator, Convolved):
        return replace(operator, kernel=weights.reshape(operator.kernel.shape))
    size = int(np.prod(operator.shape))
    old = sparse.identity(size, format="csr") if isinstance(operator, Identity) else operator.weights
    shape = (int(np.prod(operator.out_shape)), size)
    return Matrix(
        operator.shape, operator.out_shape, sparse.csr_matrix((weights, old.indices, old.indptr), shape=shape)
    )


def largest_scales(neurons: FloatNeurons, arrivals: list[Arrival], groups: Groups) -> Floats:
    """Return for each group the largest S that clips neither a weight nor a threshold."""
    high, low = np.zeros(groups.n), np.zeros(groups.n)
    for arrival in arrivals:
        weights, group = weights_of(arrival.operator), groups.of_weights(arrival.operator)
        np.maximum.at(high, group, weights)
        np.minimum.at(low, group, weights)
    with np.errstate(divide="ignore"):
        largest = 64 * np.minimum(
            np.where(high > 0, HIGHEST / high, np.inf), np.where(low < 0, LOWEST / np.minimum(low, -1e-300), np.inf)
        )
        gain = np.abs(neurons.gain)
        limit = np.where(neurons.threshold > 0, 64 * THRESHOLD_MAX * gain / neurons.threshold, np.inf)
    if neurons.fires:
        np.minimum.at(largest, groups.of_neuron, np.where(gain > 0, limit, np.inf))
    plain = np.full(groups.n, np.inf)
    np.minimum.at(plain, groups.of_neuron, UNWEIGHTED * np.where(gain > 0, gain, 1.0))
    return np.where((high == 0) & (low == 0), np.minimum(largest, plain), largest)


def search_scales(
    neurons: FloatNeurons,
    arrivals: list[Arrival],
    differing: Callable[[Floats], Ints] | None,
) -> tuple[Floats, Floats]:
    """Return S of each group: the best that clips nothing, and the best of all.

    Among CANDIDATES scales those whose integers keep weight / threshold best; `differing` (S of each group -> bins that
    differ in each group) then decides between the TRIED best of them and some that clip. Without it both are the same.
    """
    groups = Groups(neurons, arrivals)
    largest = largest_scales(neurons, arrivals, groups)
    scales = np.stack(
        [*(largest * 2.0 ** -np.linspace(0, 2, CANDIDATES)[:, None]), *exact_scales(largest, arrivals, groups)]
    )
    errors = np.stack([_static_error(neurons, arrivals, groups, scale) for scale in scales])
    exact = errors[CANDIDATES:] < GRID**2 * (64 * HIGHEST / largest) ** 2
    errors[CANDIDATES:][exact] = -1.0  # before those that only keep the ratio to the threshold
    ranked = np.take_along_axis(scales, np.argsort(errors, axis=0, kind="stable"), axis=0)
    if differing is None or not neurons.fires:
        return ranked[0], ranked[0]
    trials = np.stack([*ranked[:TRIED], *(largest * factor for factor in CLIPPING)])
    counts = np.stack([differing(scale) for scale in trials])
    columns = np.arange(groups.n)
    unclipped = trials[np.argmin(counts[:TRIED], axis=0), columns]
    return unclipped, trials[np.argmin(counts, axis=0), columns]


def exact_scales(largest: Floats, arrivals: list[Arrival], groups: Groups) -> list[Floats]:
    """Return scales at which the weights of a group are integers, where all are multiples of one; [] where none are.

    Of these the largest that clip nothing; a group whose weights have no common unit keeps its largest scale.
    """
    weights = np.concatenate([weights_of(arrival.operator) for arrival in arrivals] or [np.zeros(0)])
    group = np.concatenate([groups.of_weights(arrival.operator) for arrival in arrivals] or [np.zeros(0, np.int64)])
    unit = np.full(groups.n, np.inf)
    np.minimum.at(unit, group[weights != 0], np.abs(weights[weights != 0]))
    ratio = weights / unit[group]
    uneven = np.bincount(group, np.abs(ratio - np.rint(ratio)) > GRID, groups.n) > 0
    most = np.floor(largest * unit / (64 * STEP) * (1 + GRID))  # times STEP: the integer that the unit may become
    whole = np.isfinite(unit) & ~uneven & (most >= 1) & np.isfinite(largest)
    if not whole.any():
        return []
    times = (np.maximum(most - less, 1) for less in range(EXACT))
    with np.errstate(invalid="ignore"):
        return [np.where(whole, 64 * STEP * k / unit, largest) for k in times]


def _static_error(neurons: FloatNeurons, arrivals: list[Arrival], groups: Groups, scale: Floats) -> Floats:
    """Return for each group the mean squared error of its weights per threshold, as far as rounding makes it."""
    ratio = np.ones(groups.n)
    if neurons.fires:
        gain = np.abs(neurons.gain)
        whole = (
            neurons.threshold * np.divide(scale[groups.of_neuron], gain, out=np.ones_like(gain), where=gain > 0) / 64
        )
        one = np.divide(np.maximum(np.rint(whole), 0.5), whole, out=np.ones_like(whole), where=whole > 0)
        ratio = np.bincount(groups.of_neuron, one, groups.n) / np.bincount(groups.of_neuron, minlength=groups.n)
    total, count = np.zeros(groups.n), np.zeros(groups.n)
    for arrival in arrivals:
        weights, group = weights_of(arrival.operator), groups.of_weights(arrival.operator)
        integers = STEP * np.rint(weights * scale[group] / (64 * STEP))
        total += np.bincount(group, (integers * 64 / (scale * ratio)[group] - weights) ** 2, groups.n)
        count += np.bincount(group, weights != 0, groups.n)
    return total / np.maximum(count, 1)


def integer_drive(arrivals: list[Arrival], groups: Groups, scale: Floats, late: Mapping[str, npt.NDArray[Any]]) -> Ints:
    """Return the sum of integer weights that reaches each neuron in each step: (samples, steps, size) int64.

    late: arrival -> what its source emitted, as late as it arrives, (samples, steps, size).
    """
    total: Any = 0
    for arrival in arrivals:
        group = groups.of_weights(arrival.operator)
        rounded = integer_weights(weights_of(arrival.operator) * scale[group] / 64)
        train = late[arrival.name]
        flat = train.reshape(-1, train.shape[2]).astype(np.float64)
        sums = with_weights(arrival.operator, rounded.weights.astype(np.float64)).apply(flat)
        total = total + np.rint(sums).astype(np.int64).reshape(*train.shape[:2], -1)
    return np.asarray(total)


class IntegerNeurons(NamedTuple):
    """Integer parameters (size,) int64 of neurons, in a Network's units; bias in state units."""

    current_decay: Ints
    voltage_decay: Ints
    threshold: Ints
    bias: Ints
    start: Ints
    refractory: int = 0


class State(NamedTuple):
    """Current, voltage, and the steps that remain of a refractory period."""

    u: Ints
    v: Ints
    remaining: Ints


def integer_neurons(neurons: FloatNeurons, constant: Floats, s: Floats, exponent: int) -> IntegerNeurons:
    """Return the integers of neurons with `s` (size,) state units per unit. constant: float drive of every step."""
    bias = np.clip(np.rint(constant * s / 2**exponent), -BIAS_MAX, BIAS_MAX).astype(np.int64) << exponent
    start = np.rint(neurons.start * s).astype(np.int64)
    decays = [np.rint(DECAY_UNITY * values).astype(np.int64) for values in (neurons.a, neurons.b)]
    wanted = neurons.threshold * s / 64
    threshold = np.rint(wanted)
    if neurons.at_threshold:
        threshold -= on_grid(decays[0], decays[1], bias, start) & (np.abs(wanted - threshold) < 1e-6)
    whole = np.clip(threshold, 0, THRESHOLD_MAX).astype(np.int64)
    return IntegerNeurons(decays[0], decays[1], whole, bias, start, neurons.refractory)


def on_grid(current_decay: Ints, voltage_decay: Ints, bias: Ints, start: Ints) -> npt.NDArray[np.bool_]:
    """Return which neurons only have voltages of whole threshold units, so that v >= k is v > k - 1 there."""
    exact = (current_decay == 0) | (current_decay == DECAY_UNITY)
    exact &= (voltage_decay == 0) | (voltage_decay == DECAY_UNITY)
    return np.asarray(exact & (bias % 64 == 0) & (start % 64 == 0))


def step(
    neurons: IntegerNeurons, state: State, drive: Ints, fires: bool = True
) -> tuple[State, npt.NDArray[np.bool_], Ints]:
    """Return the state after one step of the chip, the spikes, and the voltage before reset."""
    u, v, remaining = state
    u = wrap_current(decay(u, neurons.current_decay) + 64 * drive)
    v = np.where(remaining > 0, 0, saturate(decay(v, neurons.voltage_decay) + u + neurons.bias))
    spike = fires & (v > 64 * neurons.threshold)
    remaining = np.where(spike, neurons.refractory, np.maximum(remaining - 1, 0))
    return State(u, np.where(spike, 0, v), remaining), spike, v


def after_bias(neurons: IntegerNeurons, steps: int) -> State:
    """Return the state, each part (size,), after `steps` steps from the start in which a bias alone acts."""
    none = np.zeros_like(neurons.start)
    state = State(none, neurons.start, none)
    for _ in range(steps):
        state, _, _ = step(neurons, state, none)
    return state


def integer_spikes(neurons: IntegerNeurons, drive: Ints, first: int) -> npt.NDArray[np.uint8]:
    """Return the spikes of integer neurons from step `first` on, (samples, steps, size)."""
    n_samples, n_steps, _ = drive.shape
    spikes = np.zeros(drive.shape, np.uint8)
    state = State(*(np.tile(part, (n_samples, 1)) for part in after_bias(neurons, first)))
    for t in range(first, n_steps):
        state, spikes[:, t], _ = step(neurons, state, drive[:, t])
    return spikes
