"""Conversion of a user's spikes to the engine's input, (samples, steps, size) uint8, and batches within a limit."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import event_dtype, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Input, Network, Shape

MOST_BINS: Final = 2**32  # of one sample of events


def as_numpy(values: Any) -> npt.NDArray[Any]:
    """Return a numpy array of an array, a nested list or a torch tensor of any device, without importing torch."""
    if hasattr(values, "detach"):  # a tensor refuses to become an array while it is on a device or wants a gradient
        values = values.detach()
        values = values.to_dense() if getattr(values, "is_sparse", False) else values
        return np.asarray(values.cpu().numpy())
    return np.asarray(values)


def is_events(values: Any) -> bool:
    """Return whether `values` is a structured array of events, as in tonic's data sets (fields t and x)."""
    names = getattr(getattr(values, "dtype", None), "names", None)
    return names is not None and {"t", "x"} <= set(names)


def events_to_dense(
    events: npt.NDArray[Any],
    shape: Shape,
    bin_width: float,
    n_steps: int | None = None,
    *,
    max_value: int = 1,
    sensor_shape: Shape | None = None,
) -> npt.NDArray[np.uint8]:
    """Bin events into (steps, size) uint8. Step 0 begins at t = 0.

    Args:
        events: structured (n,) with fields t, x and, where the shape has them, y and p; any order.
        shape: of the network's input.
        bin_width: duration of a step in the unit of t (microseconds in tonic).
        n_steps: later events are dropped. Default: enough for the last event.
        max_value: cap of a bin.
        sensor_shape: (channels, height, width) of the sensor, where the input is flat, (N,), and a pixel's channel is
            (p * height + y) * width + x.

    Raises:
        NetworkError: events do not fit.
    """
    if not is_events(events):
        raise NetworkError(f"events: expected fields t, x, y, p, got {getattr(events, 'dtype', type(events))}")
    if not bin_width > 0:
        raise NetworkError(f"events: expected a positive bin width, got {bin_width}")
    axes = sensor_shape or shape
    if math.prod(axes) != math.prod(shape):
        raise NetworkError(f"events: expected a sensor of {math.prod(shape)} channels, got shape {axes}")
    wanted = ("p", "y", "x") if len(axes) == 3 else ("x",)
    present = events.dtype.names or ()
    if missing := [name for name in wanted if name not in present and not (name == "p" and axes[0] == 1)]:
        raise NetworkError(f"events: expected field {missing[0]} for shape {axes}, got {', '.join(present)}")
    channel = np.zeros(len(events), np.int64)
    for name, size in zip(wanted, axes, strict=True):
        values = events[name].astype(np.int64) if name in present else np.zeros(len(events), np.int64)
        if name == "p" and size == 1:
            values = np.zeros(len(events), np.int64)
        if values.size and (values.min() < 0 or values.max() >= size):
            raise NetworkError(f"events: field {name}: expected 0..{size - 1}, got {values.min()}..{values.max()}")
        channel = channel * size + values
    if len(events) and events["t"].min() < 0:
        raise NetworkError(f"events: field t: expected 0 or more, got {events['t'].min()}")
    step = np.floor_divide(events["t"], bin_width).astype(np.int64)
    steps = n_steps if n_steps is not None else int(step.max(initial=-1)) + 1
    if steps * math.prod(shape) > MOST_BINS:
        raise NetworkError(
            f"events: expected at most {MOST_BINS // math.prod(shape):,} steps of {math.prod(shape)} channels, got "
            f"{steps:,} steps, as far as t = {events['t'].max()}; give n_steps, or let the clock start at 0"
        )
    if steps < 1:
        raise NetworkError("events: expected a number of steps (n_steps), for there are no events")
    inside = step < steps
    cells = step[inside] * math.prod(shape) + channel[inside]
    if max_value == 1:
        dense = np.zeros(steps * math.prod(shape), np.uint8)
        dense[cells] = 1
    else:
        counts = np.bincount(cells, minlength=steps * math.prod(shape))
        dense = np.minimum(counts, max_value).astype(np.uint8 if max_value < 256 else np.int32)
    return dense.reshape(steps, -1)


def _events(
    network: Network, name: str, values: Any, n_steps: int | None, bin_width: float | None, sensor_shape: Shape | None
) -> npt.NDArray[np.uint8]:
    """Bin one sample's events, or several samples', for input `name`: (samples, steps, size)."""
    node = network.inputs[name]
    samples = [values] if is_events(values) else list(values)
    if bin_width is None:
        raise NetworkError(
            f"input {name}: expected the duration of a step in the unit of the events' t (bin_width, --bin-width)"
        )
    binned = [
        events_to_dense(sample, node.shape, bin_width, n_steps, max_value=node.max_value, sensor_shape=sensor_shape)
        for sample in samples
    ]
    return padded(binned)


def gather(
    network: Network,
    spikes: Any,
    n_steps: int | None = None,
    bin_width: float | None = None,
    sensor_shape: Shape | None = None,
    fewest: int = 1,
) -> tuple[dict[str, npt.NDArray[Any]], int, int, int]:
    """Return ({input: (samples, given steps, size) of its events}, samples, given steps, steps to run).

    Accepts what `prepare_inputs` accepts, torch tensors, and events (one sample or a sequence of samples). Arrays of
    uint8 and bool, and of int32 for messages, are shared, not copied, and their values are left to the compiled code to
    check. fewest: steps that there must be.
    """
    by_name = dict(spikes) if isinstance(spikes, Mapping) else {next(iter(network.inputs)): spikes}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, values in by_name.items():
        if name not in network.inputs:
            raise NetworkError(f"input: expected {', '.join(sorted(network.inputs))}, got {', '.join(sorted(by_name))}")
        first = values[0] if isinstance(values, list | tuple) and values else values
        if is_events(values) or is_events(first):
            values = _events(network, name, values, n_steps, bin_width, sensor_shape)
        arrays[name] = as_numpy(values)
    shaped = {name: _shaped(array, network.inputs[name]) for name, array in arrays.items()}
    extents = {array.shape[:2] for array in shaped.values() if array is not None}
    plain = all(array is not None for array in shaped.values()) and len(extents) == 1
    if not plain or set(arrays) != set(network.inputs) or (n_steps is not None and n_steps < fewest):
        checked, samples, steps = prepare_inputs(network, arrays, n_steps, fewest)  # converts, or raises
        return checked, samples, steps, steps
    samples, steps = extents.pop()
    if samples < 1 or (steps < fewest and n_steps is None):
        prepare_inputs(network, arrays, n_steps)
    return {k: v for k, v in shaped.items() if v is not None}, samples, steps, steps if n_steps is None else n_steps


def _shaped(array: npt.NDArray[Any], node: Input) -> npt.NDArray[Any] | None:
    """Return an array that has the dtype of the node's events as (samples, steps, size), else None.

    `prepare_inputs` must check the others. bool goes for uint8.
    """
    shape, dtype = node.shape, event_dtype(node)
    if array.dtype != dtype and not (array.dtype == np.bool_ and dtype is np.uint8):
        return None
    size, tail = math.prod(shape), array.ndim - len(shape)
    array = np.ascontiguousarray(array).view(dtype)
    if array.ndim in (2, 3) and array.shape[-1] == size:
        return array[None] if array.ndim == 2 else array
    if tail in (1, 2) and array.shape[tail:] == shape:
        return array.reshape(*((1,) if tail == 1 else ()), *array.shape[:tail], size)
    return None


def padded(samples: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return samples (steps, size) as one array (samples, steps, size), padded with silence to the longest."""
    x: npt.NDArray[np.uint8] = np.zeros((len(samples), max(map(len, samples)), samples[0].shape[1]), samples[0].dtype)
    for row, sample in zip(x, samples, strict=True):
        row[: len(sample)] = sample
    return x


def batches(
    samples: Iterable[npt.NDArray[np.uint8]],
    n_steps: int | None,
    need: Callable[[int, int], int],
    limit: int,
    most: int,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield batches of at most `most` samples, so that a batch with its results and working memory fits the limit.

    n_steps: what samples will be run for, default their own length. need: (samples, steps) -> bytes. limit: bytes.
    """
    waiting: list[npt.NDArray[np.uint8]] = []
    longest = 0
    for sample in samples:
        steps = n_steps or len(sample)
        following = max(longest, steps)
        if waiting and (need(len(waiting) + 1, following) > limit or len(waiting) >= most):
            yield padded(waiting)
            waiting, following = [], steps
        waiting.append(sample)
        longest = following
    if waiting:
        yield padded(waiting)
