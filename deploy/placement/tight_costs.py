"""Least costs of a neuron, by kind of core: synaptic memory and input axons, for the linear program of the tight bound.

A core holds at most one run of consecutive neurons of a population. The list of one source in such a run takes
n * (weight + delay + index bits) + header bits, in blocks and words, if it is sparse. If it is dense it needs no index
but stores the gaps between its synapses. The cost of a list is handed out to its synapses so that no run is charged
more than its lists take:

* sparse: a synapse pays the least share that it can have in a list of at most so many synapses;
* dense: a synapse pays for itself and the gap before it, the first one for itself and the header;
* it is charged the lesser of the two.

One case breaks this. Where a run begins in the middle of a list, its first synapse was charged for a gap that the run
does not store. `overcharge` is the most that this can amount to on one core; the program adds it to the core's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdsnn_core.network import Synapses

from .chip import SynapseFormat
from .synapse_lists import ListFormat, list_bits
from .types import Bools, Floats, Ints

DETAIL = 3_000_000  # synapses beyond which the length of lists in a run is not looked at


@dataclass(frozen=True)
class CoreKind:
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


@dataclass(frozen=True, eq=False)
class LeastCost:
    """By kind of core: bits, axons: (kinds, neurons) float64. overcharge: (kinds,) bits too many on a core."""

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
            charged, overcharge[k] = _lesser(share, size, first, distance, form, layout, lists)
        bits[k] = np.bincount(post, charged, n_post)
    return LeastCost(bits, axons, overcharge)


def _lesser(
    share: Floats, size: Ints, first: Bools, distance: Ints, form: ListFormat, layout: SynapseFormat, lists: int
) -> tuple[Floats, float]:
    """Return (charge of each synapse, overcharge of a core of so many lists) the tighter of two ways to charge.

    One charges every synapse the lesser of dense and sparse; where a run starts inside a list, the header may be less
    than what its first synapse was charged. The other charges sparse throughout, and spares each list what the best
    stretch of it would save if it were dense.
    """
    each = float(form.synapse_bits)
    sparse = np.repeat(share, size)
    charged = np.minimum(np.where(first, each + layout.header_bits, distance * each), sparse)
    start = share - each - layout.header_bits
    # A list within one word takes that word, dense or sparse, and so do its parts.
    long = size * share > layout.word_bits
    overcharge = _greatest(np.where(long, np.maximum(start, 0.0), 0.0), lists)
    if sparse.size > DETAIL:
        return charged, overcharge
    saved = np.cumsum(np.where(first, 0.0, sparse - distance * each))
    starts = np.flatnonzero(first)
    saved -= np.repeat(saved[starts], size)
    # The running minimum starts again with every list, because each lies below the one before.
    below = np.repeat(np.arange(size.size) * (float(saved.max() - saved.min()) + 1.0), size)
    best = np.maximum.reduceat(saved - (np.minimum.accumulate(saved - below) + below), starts)
    other = _greatest(np.where(long, np.maximum(best + start, 0.0), 0.0), lists)
    cores = float(sparse.sum()) / 2**20  # about how many cores there will be: it only decides which is tighter
    tighter = float(sparse.sum()) - cores * other > float(charged.sum()) - cores * overcharge
    return (sparse, other) if tighter else (charged, overcharge)


def _greatest(each: Floats, n: int) -> float:
    return float(np.sort(each)[::-1][:n].sum())


def least_in_any_order(p: Synapses, n_post: int, kinds: list[CoreKind], form: ListFormat) -> LeastCost:
    """Return what the targets of `p` need at least in whatever order: the synapses themselves."""
    bits = np.bincount(p.post, minlength=n_post) * float(form.synapse_bits)
    return LeastCost(np.tile(bits, (len(kinds), 1)), np.zeros((len(kinds), n_post)), np.zeros(len(kinds)))


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
