"""Activity: what a simulation returns and what accuracy and energy are read from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from . import geometry
from .errors import NetworkError
from .network import Convolution, Input, Network, Node, Projection, Shape, Synapses
from .rules import Rules

# (projection, shape of its source) -> (n_pre,) int64: how many stored synapses leave each unit
FAN_OUT: Rules[Callable[[Any, Shape], npt.NDArray[np.int64]]] = Rules("fan-out: projection")


@final
@dataclass(frozen=True, eq=False)
class Activity:
    """Spikes and synaptic events per node, sample and step.

    Args:
        n_steps: Steps simulated.
        n_samples: Independent samples, each from the initial state.
        counts: Node -> (n_samples, size) int64, spikes of every neuron (or input channel) over all steps.
        spikes_per_step: Node -> (n_samples, n_steps) int64, how many neurons spiked.
        events: Projection -> (n_samples, n_steps) int64, synaptic operations: stored synapses that a spike crossed,
            booked in the step in which the source spiked. A graded input event counts once, whatever its value.
        spikes: Node -> (n_samples, n_steps, size) uint8, for the nodes that were recorded; column t holds what the node
            emitted in step t (an input's own column t is what was fed in step t). Graded messages are int32.
        current: Population -> (n_samples, n_steps, size) int32 state units, where recorded. Of a Resonator it is the
            real part, of sigma-delta neurons the sum.
        voltage: As `current`; the voltage after reset, as Lava's probes show it. Of a Resonator it is the imaginary
            part, of sigma-delta neurons the activation.
        measured: What the probes of a chip measured: probe -> means per sample; a total, where it is an integer.

    Examples:
        >>> counts = {"a": np.array([[3, 1]])}
        >>> Activity(10, 1, counts, {}, {"w": np.full((1, 10), 2)}).synaptic_operations()
        20.0
    """

    n_steps: int
    n_samples: int
    counts: Mapping[str, npt.NDArray[np.int64]]
    spikes_per_step: Mapping[str, npt.NDArray[np.int64]]
    events: Mapping[str, npt.NDArray[np.int64]]
    spikes: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    current: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    voltage: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    def synaptic_operations(self) -> float:
        """Mean number of synaptic operations of one sample over all its steps."""
        return float(sum(int(events.sum()) for events in self.events.values())) / self.n_samples

    def total_spikes(self, nodes: Mapping[str, Any]) -> float:
        """Mean number of spikes of one sample, summed over `nodes` (for example `network.populations`)."""
        return float(sum(int(self.counts[name].sum()) for name in nodes)) / self.n_samples


def event_dtype(node: Node) -> type[np.uint8] | type[np.int32]:
    """Return the dtype of what an input or a population emits: spikes and counts are uint8, messages int32."""
    return np.int32 if (node.wide if isinstance(node, Input) else getattr(node, "graded", False)) else np.uint8


def prepare_inputs(
    network: Network,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    n_steps: int | None = None,
    fewest: int = 1,
) -> tuple[dict[str, npt.NDArray[Any]], int, int]:
    """Check and shape the input of a simulation.

    spikes: (steps, *shape), (samples, steps, *shape) or the same with the node's axes flattened; a mapping by input
    name where there are several. n_steps: default the steps given; fewer cut, more pad with silence. fewest: steps that
    there must be.
    Returns ({input: (samples, n_steps, size) of `event_dtype`}, samples, n_steps). Raises NetworkError where data do
    not match.
    """
    by_name = dict(spikes) if isinstance(spikes, Mapping) else {next(iter(network.inputs)): spikes}
    if set(by_name) != set(network.inputs):
        raise NetworkError(
            f"input: expected {', '.join(sorted(network.inputs))}, got {', '.join(sorted(by_name)) or 'none'}"
        )
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, values in by_name.items():
        node = network.inputs[name]
        array = np.asarray(values)
        lead = array.ndim - len(node.shape)
        if lead in (1, 2) and array.shape[lead:] == node.shape:
            array = array.reshape(*array.shape[:lead], node.size)
        if array.ndim not in (2, 3) or array.shape[-1] != node.size:
            raise NetworkError(
                f"input {name!r}: expected shape (steps, {node.size}) or (samples, steps, {node.size}), "
                f"got {array.shape}"
            )
        array = array[None] if array.ndim == 2 else array
        with np.errstate(invalid="ignore"):  # of NaN
            whole = array.astype(event_dtype(node))
        low, high = node.min_value, node.max_value
        if array.size and (array.min() < low or array.max() > high or np.any(array != whole)):
            raise NetworkError(f"input {name!r}: expected integers {low}..{high}, got {array.min()}..{array.max()}")
        arrays[name] = whole
    extents = {array.shape[:2] for array in arrays.values()}
    if len(extents) != 1:
        raise NetworkError(
            f"input: expected as many samples and steps at every port, got {', '.join(map(str, sorted(extents)))}"
        )
    samples, steps = extents.pop()
    length = steps if n_steps is None else n_steps
    if samples < 1 or length < fewest:
        raise NetworkError(f"input: expected at least one sample of one step, got {samples} samples of {length} steps")
    arrays = {name: np.ascontiguousarray(array[:, :length]) for name, array in arrays.items()}
    if length > steps:
        arrays = {name: np.pad(array, ((0, 0), (0, length - steps), (0, 0))) for name, array in arrays.items()}
    return arrays, samples, length


def fan_out(network: Network, projection: Projection) -> npt.NDArray[np.int64]:
    """Return how many stored synapses leave each neuron of the source: (n_pre,) int64."""
    return FAN_OUT.for_(projection)(projection, network.shape_of(projection.source))


@FAN_OUT.of(Synapses)
def _of_synapses(projection: Synapses, source: Shape) -> npt.NDArray[np.int64]:
    return np.bincount(projection.pre, minlength=math.prod(source)).astype(np.int64)


@FAN_OUT.of(Convolution)
def _of_convolution(projection: Convolution, source: Shape) -> npt.NDArray[np.int64]:
    return geometry.fan_out(source, projection.kernel, projection.window).reshape(-1)


def events_from_spikes(network: Network, spikes: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the synaptic events that spikes cause, for back ends that record only spikes.

    spikes: every source of a projection -> (n_samples, n_steps, size). Returns projection -> (n_samples, n_steps)
    int64 as in `Activity.events`.
    """
    return {name: np.asarray((spikes[p.source] != 0) @ fan_out(network, p)) for name, p in network.projections.items()}


def first_difference(
    a: Mapping[str, npt.NDArray[Any]], b: Mapping[str, npt.NDArray[Any]]
) -> tuple[str, int, int, int] | None:
    """Return (node, sample, step, neuron) of the earliest difference in (samples, steps, size) arrays, or None."""
    first: list[tuple[str, int, int, int]] = []
    for name in a:
        if name in b and (where := np.argwhere(np.asarray(a[name]) != np.asarray(b[name]))).size:
            sample, step, neuron = where[np.argmin(where[:, 1])].tolist()
            first.append((name, sample, step, neuron))
    return min(first, key=lambda difference: difference[2], default=None)


def random_spikes(
    rng: np.random.Generator, network: Network, n_samples: int, n_steps: int
) -> dict[str, npt.NDArray[Any]]:
    """Draw input (n_samples, n_steps, size) of `event_dtype` for every input, at a rate between 2 and 80 %."""
    result = {}
    for name, node in network.inputs.items():
        size = (n_samples, n_steps, node.size)
        fired = rng.random(size) < rng.choice([0.02, 0.1, 0.4, 0.8])
        low = node.min_value if node.min_value < 0 else 1
        result[name] = (fired * rng.integers(low, node.max_value + 1, size)).astype(event_dtype(node))
    return result
