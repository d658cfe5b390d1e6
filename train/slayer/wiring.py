"""Projections of a Network from the weights of a block and what its input is made of.

A sum of spikes in front of a synapse is several projections with the same weights, a concatenation several ones with
a slice of them. Every projection costs one step, whatever lies between its ends: bin t of a block is bin t of its
population on every path.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.geometry import Window, connections
from sdsnn_core.network import DELAY_MAX, Convolution, Projection, Shape, Synapses

from .integers import Array

Ints = npt.NDArray[np.int64]


class Feed(NamedTuple):
    """What one node of the Network contributes to the input of a block.

    source: the node. source_shape: its shape. units: int64 of the shape of the input, the flat index of its unit whose
    spikes arrive there, -1 for none. delay: steps of its axons, () or one value per channel of the source. late: steps
    by which places of the input are late beyond that, () or of its shape.
    """

    source: str
    source_shape: Shape
    units: Ints
    delay: Array
    late: Array

    @property
    def whole(self) -> bool:
        """Whether the input is the source, unit by unit."""
        size = math.prod(self.source_shape)
        return self.units.size == size and bool((self.units.reshape(-1) == np.arange(size)).all())

    def delays(self) -> Array:
        """Return the delay of each place of the input, () or flat."""
        if not self.delay.ndim and not self.late.any():
            return self.delay
        by_unit = np.broadcast_to(per_unit(self.delay, self.source_shape), math.prod(self.source_shape))
        return by_unit[np.maximum(self.units, 0).reshape(-1)] + self.late.reshape(-1)


class Matrix(NamedTuple):
    """Weights of all pairs: (units of the target, places of the input) int64."""

    weight: Array

    def entries(self) -> tuple[Array, Array, Array]:
        """Return input places, units of the target and weights, in order."""
        place, post = np.nonzero(self.weight.T)
        return place, post, self.weight[post, place]


class Kernel(NamedTuple):
    """Weights shared over places, (C_out, C_in / groups, kh, kw), and the shape of the input, (C, H, W)."""

    weight: Array
    window: Window
    shape: Shape

    def entries(self) -> tuple[Array, Array, Array]:
        """Return input places, units of the target and weights."""
        place, post, entry = connections(self.shape, self.weight, self.window)
        return place, post, self.weight[entry]


class Pairs(NamedTuple):
    """Weights of single connections: input places, units of the target and weights, each (n,)."""

    place: Array
    post: Array
    weight: Array

    def entries(self) -> tuple[Array, Array, Array]:
        """Return its three parts."""
        return self.place, self.post, self.weight


Weights = Matrix | Kernel | Pairs


def per_unit(values: Array, shape: Shape) -> Array:
    """Return one value, or values of channels as values of the units of `shape`, flat."""
    return np.repeat(values, math.prod(shape) // len(values)) if values.ndim else values


def projections(weights: Weights, feeds: Sequence[Feed], target: str) -> Iterator[tuple[str, Projection]]:
    """Yield the projections, and their names, that bring the spikes of `feeds` to population `target`.

    Raises:
        UnsupportedNode: delays that add up to more than a synapse has.
    """
    for source in dict.fromkeys(feed.source for feed in feeds):
        own = [feed for feed in feeds if feed.source == source]
        for number, projection in enumerate(_from_source(weights, own, target)):
            yield f"{source}-{target}" + (f".{number}" if number else ""), projection


def _from_source(weights: Weights, feeds: list[Feed], target: str) -> Iterator[Projection]:
    if isinstance(weights, Kernel):
        as_kernels = [_convolutions(weights, feed, target) for feed in feeds]
        if all(each is not None for each in as_kernels):
            yield from (projection for each in as_kernels for projection in each or ())
            return
    elif isinstance(weights, Matrix) and len(feeds) == 1 and feeds[0].whole:
        feed = feeds[0]
        yield Synapses.from_dense(feed.source, target, weights.weight, _checked(feed.delays()))
        return
    yield from _synapses(weights, feeds, target)


def _synapses(weights: Weights, feeds: list[Feed], target: str) -> Iterator[Synapses]:
    """Yield projections; two synapses between the same units lie in different ones."""
    place, post, weight = weights.entries()
    parts = []
    for feed in feeds:
        pre = feed.units.reshape(-1)[place]
        delay = np.broadcast_to(feed.delays(), feed.units.size)[place]
        parts.append(np.stack([pre, post, weight, delay])[:, pre >= 0])
    entries = np.concatenate(parts, axis=1)
    entries = entries[:, np.lexsort((entries[1], entries[0]))]  # stable
    new = np.ones(entries.shape[1], bool)
    new[1:] = (np.diff(entries[:2], axis=1) != 0).any(axis=0)
    index = np.arange(len(new))
    rank = index - np.maximum.accumulate(np.where(new, index, 0)) if len(new) else index
    for number in range(int(rank.max(initial=0)) + 1):
        pre, post, weight, delay = entries[:, rank == number]
        one = all(not feed.delays().ndim for feed in feeds) and len({int(feed.delay) for feed in feeds}) == 1
        delays = feeds[0].delay if one else _shortest(delay)
        yield Synapses(feeds[0].source, target, pre, post, weight, _checked(delays))


def _shortest(delay: Array) -> Array:
    """Return one value where all are equal."""
    return delay[0] if delay.size and (delay == delay[0]).all() else delay


def _convolutions(weights: Kernel, feed: Feed, target: str) -> list[Projection] | None:
    """Return convolutions of channels of the source; None where the input is not made of whole channels."""
    source, kernel, window = feed.source, weights.weight, weights.window
    if feed.source_shape == weights.shape and feed.whole:
        late = np.broadcast_to(feed.late, weights.shape).reshape(weights.shape[0], -1)
        if (late == late[:, :1]).all():
            delay = feed.delay + late[:, 0] if late.any() else feed.delay
            return [Convolution(source, target, kernel, *window, _checked(delay))]
    size = math.prod(weights.shape[1:])
    if len(feed.source_shape) != 3 or feed.source_shape[1:] != weights.shape[1:]:
        return None
    units, late = feed.units.reshape(len(feed.units), -1), np.broadcast_to(feed.late, feed.units.shape)
    channel = np.where(units[:, 0] >= 0, units[:, 0] // size, -1)
    expected = np.where(channel[:, None] >= 0, channel[:, None] * size + np.arange(size), -1)
    late = late.reshape(len(units), -1)
    if (units != expected).any() or (late != late[:, :1]).any():
        return None
    full = _ungrouped(kernel, window.groups)
    count = feed.source_shape[0]
    result: list[Projection] = []
    while (channel >= 0).any():  # a channel that arrives in two places takes two projections
        names, first = np.unique(channel, return_index=True)
        names, first = names[names >= 0], first[names >= 0]
        part = np.zeros((len(full), count, *kernel.shape[2:]), np.int64)
        part[:, names] = full[:, first]
        delay = np.broadcast_to(feed.delay, count).copy() if feed.late.any() else feed.delay
        if feed.late.any():
            delay[names] += late[first, 0]
            delay = _shortest(delay)
        result.append(Convolution(source, target, part, *window[:3], 1, _checked(delay)))
        channel[first] = -1
    return result


def _ungrouped(kernel: Array, groups: int) -> Array:
    """Return the kernel over all channels, zero between groups."""
    n_out, n_in = len(kernel) // groups, kernel.shape[1]
    full = np.zeros((len(kernel), n_in * groups, *kernel.shape[2:]), np.int64)
    for group in range(groups):
        rows = slice(group * n_out, (group + 1) * n_out)
        full[rows, group * n_in : (group + 1) * n_in] = kernel[rows]
    return full


def later(projection: Projection, shape: Shape, steps: Array, before: Array) -> Projection:
    """Return a projection that delays what reaches a unit of its target by `steps`, (units,), beyond its own delays.

    shape: of the source. before: steps by which its own spikes are late already, () or (units of the source,).
    Raises UnsupportedNode where a delay would not lie in 0..62.
    """
    if isinstance(projection, Convolution):
        if len(set(steps.tolist())) == 1 and not before.any():
            return replace(projection, delay=_checked(projection.delay + steps[0]))
        projection = projection.synapses(shape)
    delay = projection.delay.astype(np.int64) + steps[projection.post]
    if before.ndim:
        delay = delay - before[projection.pre]
    return replace(projection, delay=_checked(delay))


def _checked(delay: Array) -> Array:
    """Return delays that a synapse can have."""
    delay = np.asarray(delay)
    if delay.size and (delay.min() < 0 or delay.max() > DELAY_MAX):
        raise UnsupportedNode(
            f"delays: expected sums of 0..{DELAY_MAX} steps on a path, got {delay.min()}..{delay.max()}"
        )
    return delay
