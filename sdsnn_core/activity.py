"""Activity: what a simulation returns and what accuracy and energy are read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from .errors import NetworkError
from .network import Convolution, Input, Network, Output, Population, Projection


@final
@dataclass(frozen=True, eq=False)
class Activity:
    """Spikes and synaptic events per node, sample and step.

    n_steps: steps simulated. n_samples: independent samples, each from the initial state.
    counts: node -> (n_samples, size) int64, spikes of every neuron (or input channel) over all steps.
    spikes: node -> (n_samples, n_steps, size) uint8, for the nodes that were recorded; column t holds what the node
        emitted in step t (an input's own column t is what was fed in step t).
    events: projection -> (n_samples, n_steps) int64, synaptic operations: stored synapses that a spike crossed,
        booked in the step in which the source spiked. A graded input event counts once, whatever its value.
    spikes_per_step: node -> (n_samples, n_steps) int64, how many neurons spiked.
    current, voltage: population -> (n_samples, n_steps, size) int32 state units, where recorded; the voltage is the
        one after reset, as Lava's probes show it.
    """

    n_steps: int
    n_samples: int
    counts: Mapping[str, npt.NDArray[np.int64]]
    spikes_per_step: Mapping[str, npt.NDArray[np.int64]]
    events: Mapping[str, npt.NDArray[np.int64]]
    spikes: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    current: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    voltage: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)

    def synaptic_operations(self) -> float:
        """Mean number of synaptic operations of one sample over all its steps."""
        return float(sum(int(events.sum()) for events in self.events.values())) / self.n_samples

    def total_spikes(self, nodes: Mapping[str, Any]) -> float:
        """Mean number of spikes of one sample, summed over `nodes` (for example `network.populations`)."""
        return float(sum(int(self.counts[name].sum()) for name in nodes)) / self.n_samples


def prepare_inputs(
    network: Network, spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike], n_steps: int | None = None
) -> tuple[dict[str, npt.NDArray[np.uint8]], int, int]:
    """Check and shape the input of a simulation.

    spikes: (steps, *shape), (samples, steps, *shape) or the same with the node's axes flattened; a mapping by input
    name where there are several. n_steps: default the steps given; fewer cut, more pad with silence.
    Returns ({input: (samples, n_steps, size) uint8}, samples, n_steps). Raises NetworkError where data do not match.
    """
    given = dict(spikes) if isinstance(spikes, Mapping) else {next(iter(network.inputs)): spikes}
    if set(given) != set(network.inputs):
        raise NetworkError(f"input: got {sorted(given)}, the network takes {sorted(network.inputs)}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, values in given.items():
        node = network.inputs[name]
        array = np.asarray(values)
        tail = array.ndim - len(node.shape)
        if array.ndim in (2, 3) and array.shape[-1] == node.size:
            array = array.reshape(-1, *array.shape[-2:]) if array.ndim == 3 else array[None]
        elif tail in (1, 2) and array.shape[tail:] == node.shape:
            array = array.reshape(*((1,) if tail == 1 else ()), *array.shape[:tail], node.size)
        else:
            raise NetworkError(
                f"input {name!r}: got shape {array.shape}, allowed (steps, {node.size}) "
                f"or (samples, steps, {node.size})"
            )
        if array.size and (array.min() < 0 or array.max() > node.max_value or np.any(array != array.astype(np.uint8))):
            raise NetworkError(
                f"input {name!r}: got values {array.min()}..{array.max()}, allowed integers 0..{node.max_value}"
            )
        arrays[name] = array.astype(np.uint8)
    extents = {array.shape[:2] for array in arrays.values()}
    if len(extents) != 1:
        raise NetworkError(f"input: the ports disagree on (samples, steps): {sorted(extents)}")
    samples, steps = extents.pop()
    length = steps if n_steps is None else n_steps
    if samples < 1 or length < 1:
        raise NetworkError(f"input: got {samples} samples of {length} steps, allowed at least one of each")
    for name, array in arrays.items():
        cut = array[:, :length]
        if cut.shape[1] < length:
            cut = np.concatenate([cut, np.zeros((samples, length - cut.shape[1], cut.shape[2]), np.uint8)], axis=1)
        arrays[name] = np.ascontiguousarray(cut)
    return arrays, samples, length


def output_counts(network: Network, activity: Activity) -> npt.NDArray[np.int64]:
    """Return the spike counts (n_samples, size) of the first output, which a rate readout classifies by."""
    output: Output = next(iter(network.outputs.values()))
    if output.signal != "spikes":
        raise NetworkError(f"output of {output.source!r} is a voltage; it has no spike counts")
    return np.asarray(activity.counts[output.source])


def fan_out(network: Network, projection: Projection) -> npt.NDArray[np.int64]:
    """Return how many stored synapses leave each neuron of the source: (n_pre,) int64."""
    source = network.nodes[projection.source]
    assert isinstance(source, Input | Population)  # Network checks it
    if not isinstance(projection, Convolution):
        return np.bincount(projection.pre, minlength=source.size).astype(np.int64)
    _, height, width = source.shape
    _, h_out, w_out = projection.output_shape(source.shape)
    kernel, groups = projection.kernel, projection.groups
    # One slice per kernel place: the inputs it touches, times the output channels that have a weight there.
    channels = (kernel.reshape(groups, -1, *kernel.shape[1:]) != 0).sum(axis=1).reshape(-1, *kernel.shape[2:])
    result = np.zeros(source.shape, np.int64)
    for ky in range(kernel.shape[2]):
        for kx in range(kernel.shape[3]):
            y = np.arange(h_out) * projection.stride[0] - projection.padding[0] + ky * projection.dilation[0]
            x = np.arange(w_out) * projection.stride[1] - projection.padding[1] + kx * projection.dilation[1]
            y, x = y[(y >= 0) & (y < height)], x[(x >= 0) & (x < width)]
            result[:, y[:, None], x] += channels[:, ky, kx, None, None]
    return result.reshape(-1)


def events_from_spikes(network: Network, spikes: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the synaptic events that spikes cause, for back ends that record only spikes.

    spikes: every source of a projection -> (n_samples, n_steps, size). Returns projection -> (n_samples, n_steps)
    int64 as in `Activity.events`.
    """
    return {name: np.asarray((spikes[p.source] != 0) @ fan_out(network, p)) for name, p in network.projections.items()}
