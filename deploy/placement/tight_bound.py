"""The tight lower bound on cores: `sdsnn place --bound`.

`bound.py` divides what all neurons need by what one core offers. That misses two costs. A source that feeds neurons on
many cores needs an axon on each of them. And a sparse list pays for indices, which are wider the more neurons share a
core, while a short run of neurons has shorter lists and shares fewer axons.

So cores are sorted into kinds by the most neurons that they hold, each with the least need of a neuron on it. Then the
limits are given weights that add up to one. On every core the weighted sum of its shares (use divided by limit) is at
most one. Hence the number of cores is at least the sum over all neurons of their weighted shares, each neuron taken on
the kind of core where that is least. This holds for any weights; a search finds good ones.

A core is taken to hold at most one run of consecutive neurons of each population. (Populations under a convolution may
lie in any order.) The list of one source in such a run takes n * (weight + delay + index bits) + header bits, in blocks
and words, if it is sparse. If it is dense it needs no index but stores the gaps between its synapses. The cost of a
list is divided among its synapses so that no run is charged more than its lists take:

* sparse: a synapse pays the least share that it can have in a list of at most so many synapses;
* dense: a synapse pays for itself and the gap before it, the first one for itself and the header;
* it is charged the lesser of the two.

One case breaks this. Where a run begins in the middle of a list, its first synapse was charged for a gap that the run
does not store. `overcharge` is the most that this can be on one core; the tight bound adds it to the core's memory.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sdsnn_core.network import Network, Synapses

from .bound import LIMITED, NEEDS, SLACK, lower_bounds, neuron_rooms
from .chip import Chip, SynapseFormat
from .synapse_lists import ListFormat, list_bits, list_format
from .types import CONVOLUTION_SLOTS, Bools, Floats, Ints

DETAIL = 3_000_000  # synapses beyond which the length of lists in a run is not considered
_STEPS = 4  # kinds of core for each width of indices
_GRID = 8  # weights are first tried in eighths
_SAMPLE = 2000  # neurons by which weights are compared


def tight_bounds(network: Network, chip: Chip, *, cores: int) -> dict[str, int]:
    """Return the least number of cores for each limited resource, tighter than `lower_bounds`.

    The key 'together' is added where all limits at once need more cores than each of them alone.
    """
    bounds = lower_bounds(network, chip, cores=cores)
    if cores == 1:
        return bounds
    shares, fixed = _least_shares(network, chip)
    for name in bounds:
        bounds[name] = max(bounds[name], _cores(shares, fixed, list(dict.fromkeys(["neurons", name]))))
    together = _cores(shares, fixed, list(bounds))
    return {**bounds, "together": together} if together > max(bounds.values()) else bounds


def _least_shares(network: Network, chip: Chip) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return resource -> (kinds, neurons) least share of a core for each neuron, and the share needed once."""
    layout, neurons = chip.synapses, chip.neurons(0)
    assert layout is not None
    forms = {name: list_format(p, layout) for name, p in network.projections.items()}
    rooms = neuron_rooms(network, chip, forms)
    many = sum(p.n_weights for p in network.projections.values()) > DETAIL
    kinds = core_kinds(neurons, layout, 1 if many else _STEPS)
    most = np.array([[kind.neurons] for kind in kinds], np.float64)
    needs = {name: [np.zeros((len(kinds), size.size)) for size in network.populations.values()] for name in LIMITED}
    once = dict.fromkeys(LIMITED, 0.0)
    overcharge = np.zeros((len(kinds), 1))
    matrices = [p.source for p in network.projections.values() if isinstance(p, Synapses)]  # they may share axons
    axons: dict[tuple[str, bool], Bools] = {}
    for i, (population, neurons_of) in enumerate(network.populations.items()):
        needs["state_words"][i] += neurons_of.state_words
        incoming = {name: NEEDS.for_(p)(network, p, forms[name], layout) for name, p in network.incoming(population)}
        in_order = not any(need.convolution for need in incoming.values())
        for name, need in incoming.items():
            p = network.projections[name]
            if isinstance(p, Synapses):
                size = network.size_of(population)
                if in_order:
                    least = least_in_order(p, size, kinds, forms[name], layout, chip.limit("input_axons"))
                else:  # the synapses themselves
                    bits = np.bincount(p.post, minlength=size) * np.float64(forms[name].synapse_bits)
                    least = LeastCost(bits, np.zeros(size), np.zeros(len(kinds)))
                overcharge += least.overcharge[:, None]
                needs["synapse_bits"][i] += least.bits
                needs["input_axons"][i] += least.axons / matrices.count(p.source)
                if p.source in rooms:
                    needs["output_axons"][i] += least.axons / matrices.count(p.source)
            else:
                once["synapse_bits"] += need.bits
            if not in_order:
                key = (p.source, need.convolution)
                axons[key] = axons.get(key, np.zeros_like(need.sources)) | need.sources
    for (source, convolution), sources in axons.items():
        n = int(sources.sum()) / (1 if convolution else matrices.count(source))
        once["input_axons"] += n
        once["output_axons"] += n * (CONVOLUTION_SLOTS if convolution else 1) * (source in rooms)
    room = np.concatenate([np.full(p.size, rooms[name]) for name, p in network.populations.items()])
    shares, fixed = {"neurons": 1 / np.minimum(room, most)}, {"neurons": 0.0}
    for name in LIMITED:
        if (limit := chip.limit(name)) is not None:
            offered = limit + (overcharge if name == "synapse_bits" else 0 * overcharge)
            shares[name], fixed[name] = np.concatenate(needs[name], axis=1) / offered, once[name] / float(offered.max())
    return shares, fixed


def _cores(shares: dict[str, Floats], fixed: dict[str, float], resources: Sequence[str]) -> int:
    """Return the bound by the best weights of `resources` that the search finds."""
    every = shares["neurons"].shape[1]
    step = -(-every // _SAMPLE)

    def bound(weights: Sequence[float], step: int = step) -> float:
        weighed: Floats = np.asarray(
            sum(w * shares[name][:, ::step] for w, name in zip(weights, resources, strict=True))
        )
        once: float = sum(w * fixed[name] for w, name in zip(weights, resources, strict=True))
        return float(weighed.min(axis=0).mean() * every) + once

    best = max(_simplex(len(resources), _GRID), key=bound)
    size = 1 / _GRID
    while size > 1e-3:
        moved = [
            tuple(w + size * ((i == up) - (i == down)) for i, w in enumerate(best))
            for up in range(len(best))
            for down in range(len(best))
            if up != down and best[down] >= size
        ]
        better = max(moved, key=bound, default=best)
        best, size = (better, size) if bound(better) > bound(best) * (1 + 1e-9) else (best, size / 2)
    return max(1, math.ceil(bound(best, 1) - SLACK))


def _simplex(n: int, parts: int) -> Iterator[tuple[float, ...]]:
    """Yield all ways to hand out `parts` equal parts of one to n weights."""
    for cut in np.ndindex(*[parts + 1] * (n - 1)):
        if sum(cut) <= parts:
            yield (*(c / parts for c in cut), (parts - sum(cut)) / parts)


class CoreKind(NamedTuple):
    """A kind of core: the width of its indices (None: none is wide enough), and the most neurons it then holds."""

    index_bits: int | None
    neurons: int


def core_kinds(neurons: int, layout: SynapseFormat, steps: int) -> list[CoreKind]:
    """Return the kinds of core that hold up to `neurons`, fewest first, `steps` of them for each width of indices."""
    if not layout.sparse_encoding:
        return [CoreKind(None, neurons)]
    widths = [bits for bits in sorted(layout.index_bits) if bits == min(layout.index_bits) or 1 << (bits - 1) < neurons]
    # Shorter runs share fewer axons and have shorter lists: the finer the steps, the tighter the bound.
    most = [(bits, (1 << (bits - 1)) * (steps + i) // steps) for bits in widths for i in range(1, steps + 1)]
    kinds = [CoreKind(bits, n) for bits, n in most if n < neurons]
    return [*kinds, CoreKind(next((bits for bits in widths if 1 << bits >= neurons), None), neurons)]


class LeastCost(NamedTuple):
    """bits, axons: (neurons,) or by kind of core (kinds, neurons). overcharge: (kinds,) bits too many on a core."""

    bits: Floats
    axons: Floats
    overcharge: Floats


def least_in_order(
    p: Synapses, n_post: int, kinds: list[CoreKind], form: ListFormat, layout: SynapseFormat, most: int | None
) -> LeastCost:
    """Return what the targets of `p` need at least where they keep their order. most: axons of a core, if limited."""
    each = form.synapse_bits
    post = p.post.astype(np.int64)
    bits, axons = np.zeros((len(kinds), n_post)), np.zeros((len(kinds), n_post))
    overcharge = np.zeros(len(kinds))
    if not post.size:
        return LeastCost(bits, axons, overcharge)
    first = np.concatenate([[True], np.diff(p.pre) != 0])
    distance = np.where(first, np.iinfo(np.int32).max, np.diff(post, prepend=0))
    starts = np.flatnonzero(first)
    size = np.diff(np.append(starts, post.size))
    lists = min(size.size, most or size.size)
    full = bool((distance[~first] == 1).all())
    for k, kind in enumerate(kinds):
        axons[k] = np.bincount(post[distance >= kind.neurons], minlength=n_post)
        longest = _longest(post, starts, size, kind.neurons, layout.block)
        if kind.index_bits is None:
            charged = np.where(first, 1.0, distance) * each
            overcharge[k] = 0.0 if full else lists * float(charged.max())
        elif full:  # dense or sparse, no gap is stored
            dense = _shares(each, layout)[longest]
            charged = np.repeat(np.minimum(dense, _shares(each + kind.index_bits, layout)[longest]), size)
        else:
            share = _shares(each + kind.index_bits, layout)[longest]
            dense = np.where(first, each + layout.header_bits, distance * float(each))
            charged = np.minimum(dense, np.repeat(share, size))
            # A list within one word takes that word, dense or sparse, and so do its parts.
            start = np.where(size * share > layout.word_bits, np.maximum(share - each - layout.header_bits, 0.0), 0.0)
            overcharge[k] = np.sort(start)[::-1][:lists].sum()
        bits[k] = np.bincount(post, charged, n_post)
    return LeastCost(bits, axons, overcharge)


def _shares(each: int, layout: SynapseFormat) -> Floats:
    """Return (block + 1,) the least bits per synapse of lists of up to n synapses of `each` bits."""
    n = np.arange(1, layout.block + 1)
    return np.concatenate([[0.0], np.minimum.accumulate(list_bits(n, each, layout) / n)])


def _longest(post: Ints, starts: Ints, size: Ints, neurons: int, block: int) -> Ints:
    """Return (lists,) the most targets, up to a block, that each list has among so many consecutive neurons."""
    if post.size > DETAIL:
        return np.minimum(size, min(block, neurons))
    wide = int(post.max()) + neurons + 1
    key = np.repeat(np.arange(size.size), size) * wide + post
    inside = np.searchsorted(key, key + neurons) - np.arange(key.size)
    return np.minimum(np.maximum.reduceat(inside, starts), block)
