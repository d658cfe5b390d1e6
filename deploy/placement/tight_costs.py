"""Least costs of a neuron, by kind of core: synaptic memory and input axons, for the tight bound.

A core holds at most one run of consecutive neurons of a population. The list of one source in such a run takes
n * (weight + delay + index bits) + header bits, in blocks and words, if it is sparse. If it is dense it needs no index
but stores the gaps between its synapses. The cost of a list is handed out to its synapses so that no run is charged
more than its lists take:

* sparse: a synapse pays the least share that it can have in a list of at most so many synapses;
* dense: a synapse pays for itself and the gap before it, the first one for itself and the header;
* it is charged the lesser of the two.

One case breaks this. Where a run begins in the middle of a list, its first synapse was charged for a gap that the run
does not store. `overcharge` is the most that this can be on one core; the tight bound adds it to the core's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdsnn_core.network import Synapses

from .chip import SynapseFormat
from .synapse_lists import ListFormat, list_bits
from .types import Floats, Ints

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
            dense = np.where(first, each + layout.header_bits, distance * float(each))
            charged = np.minimum(dense, np.repeat(share, size))
            # A list within one word takes that word, dense or sparse, and so do its parts.
            start = np.where(size * share > layout.word_bits, np.maximum(share - each - layout.header_bits, 0.0), 0.0)
            overcharge[k] = _greatest(start, lists)
        bits[k] = np.bincount(post, charged, n_post)
    return LeastCost(bits, axons, overcharge)


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
