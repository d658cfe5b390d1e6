"""Lists of synapses, one for each source neuron of a core, and the memory that they take.

The memory count is nengo-loihi's for Loihi 1 (Synapse.bits_per_axon): a list of n synapses is cut into blocks of at
most 64; each takes n * (weight + delay + tag + index bits) + 10 bits and is rounded up to 64. A dense list has no
index bits, and stores every target from the first to the last that it reaches.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.network import Convolution, Network, Projection, Synapses
from sdsnn_core.rules import Rules

from .chip import SynapseFormat
from .types import Bools, Ints

WEIGHTS: Rules[Callable[[Any], npt.NDArray[Any]]] = Rules("placement: stored weights")
WEIGHTS.of(Synapses)(lambda p: p.weight)
WEIGHTS.of(Convolution)(lambda p: p.kernel[p.kernel != 0])
_LONGEST = 1 << 14  # lists whose memory is looked up rather than computed


@dataclass(frozen=True)
class ListFormat:
    """Bits of one synapse of a projection.

    weight_bits: sign included. synapse_bits: of weight, delay and tag, without an index. exact: no weight bit is lost.
    """

    weight_bits: int
    synapse_bits: int
    signs: str
    exact: bool
    max_delay: int


def list_format(projection: Projection, layout: SynapseFormat) -> ListFormat:
    """Choose the narrowest format that holds a projection's weights, sharing one power of two, and its delays."""
    values = WEIGHTS.for_(projection)(projection).astype(np.int64)
    max_delay = int(projection.delay.max()) if projection.delay.size else 0
    if not values.size:
        return ListFormat(layout.weight_bits[0], layout.weight_bits[0] + layout.tag_bits, "none", True, 0)
    low, high = int(values.min()), int(values.max())
    together = int(np.bitwise_or.reduce(np.abs(values)))
    shift = (together & -together).bit_length() - 1
    low, high = low >> shift, high >> shift
    if low < 0 < high:
        needed, signs = max(high.bit_length(), (-low - 1).bit_length()) + 1, "mixed"
    else:
        needed, signs = max(abs(low), abs(high)).bit_length(), "excitatory" if high > 0 else "inhibitory"
    wide = [bits for bits in layout.weight_bits if bits >= needed]
    bits = wide[0] if wide else layout.weight_bits[-1]
    return ListFormat(bits, bits + max_delay.bit_length() + layout.tag_bits, signs, bool(wide), max_delay)


def list_bits(n: npt.ArrayLike, bits_per_synapse: int, layout: SynapseFormat) -> Ints:
    """Return the memory of lists of n synapses, bits, rounded up block by block. n: int array."""
    count = np.asarray(n, np.int64)
    if not count.size or count.max() < _LONGEST:
        return _bits_table(bits_per_synapse, layout.word_bits, layout.block, layout.header_bits)[count]
    return _bits(count, bits_per_synapse, layout.word_bits, layout.block, layout.header_bits)


@functools.lru_cache(maxsize=256)
def _bits_table(each: int, word: int, block: int, header: int) -> Ints:
    return _bits(np.arange(_LONGEST), each, word, block, header)


def _bits(count: Ints, each: int, word: int, block: int, header: int) -> Ints:
    full, rest = count // block, count % block
    one = -(-(block * each + header) // word) * word
    last = np.where(rest > 0, -(-(rest * each + header) // word) * word, 0)
    return np.asarray(full * one + last, np.int64)


def index_width(n_targets: int, layout: SynapseFormat) -> int | None:
    """Return the index bits that address n_targets, or None if no index of the chip is wide enough."""
    needed = max(n_targets - 1, 0).bit_length()
    wide = [bits for bits in layout.index_bits if bits >= needed]
    return wide[0] if wide else None


@dataclass(frozen=True, eq=False)
class Lists:
    """Synapse lists that one projection brings to a piece.

    needed: (n_source,) sources that reach it and need an axon. stored: (n_lists,) synapses of each stored list;
    span: (n_lists,) targets from its first to its last. shared: gives the list of each axon; None: each has its own.
    """

    needed: Bools
    stored: Ints
    span: Ints
    form: ListFormat
    convolution: bool
    shared: Callable[[], Ints] | None = None

    @property
    def pattern(self) -> Ints:
        """(n_axons,) which list each axon uses."""
        return np.arange(self.stored.size) if self.shared is None else self.shared()

    def bits(self, n_targets: int, layout: SynapseFormat) -> tuple[Ints, Bools]:
        """Return (bits, stored as sparse) of each stored list, in a core of n_targets neurons."""
        dense = list_bits(self.span, self.form.synapse_bits, layout)
        index = index_width(n_targets, layout)
        if not layout.sparse_encoding or index is None:
            return dense, np.zeros(dense.shape, np.bool_)
        indexed = list_bits(self.stored, self.form.synapse_bits + index, layout)
        return np.minimum(dense, indexed), indexed < dense


@dataclass(frozen=True, eq=False)
class Piece:
    """Neurons of one population that sit together on a core.

    neurons: (m,) flat indices. lists: by projection. configs, thresholds: distinct settings of its neurons.
    """

    population: str
    neurons: Ints
    lists: Mapping[str, Lists]
    configs: frozenset[int]
    thresholds: frozenset[int]

    @property
    def max_delay(self) -> int:
        """Longest delay of the projections that end here, steps."""
        return max((item.form.max_delay for item in self.lists.values()), default=0)


Cores = list[list[Piece]]


class Incoming:
    """Synapses of one projection sorted by target, to cut pieces out of quickly."""

    boxed = False  # its targets are cut into runs

    def __init__(self, network: Network, projection: Synapses, layout: SynapseFormat) -> None:
        n_pre, n_post = network.size_of(projection.source), network.size_of(projection.target)
        # The target before, in order, of the same source: a run that starts behind it needs an axon for this synapse.
        previous = np.zeros(projection.pre.size, np.int32)
        previous[1:] = np.where(np.diff(projection.pre) == 0, projection.post[:-1].astype(np.int32) + 1, 0)
        matrix = sparse.csc_matrix((previous, (projection.pre, projection.post)), shape=(n_pre, n_post))
        self.source, self.start, self.n_pre = matrix.indices, matrix.indptr, n_pre
        self.previous = matrix.data - 1
        self.form = list_format(projection, layout)

    def axons(self, first: int, last: int) -> Ints:
        """Return (last - first,) how many axons the runs first..k need, for k = first + 1, ..., last."""
        begin, end = int(self.start[first]), int(self.start[last])
        new = np.concatenate([[0], np.cumsum(self.previous[begin:end] < first)])
        return np.asarray(new[self.start[first + 1 : last + 1] - begin], np.int64)

    def cut(self, first: int, last: int) -> Lists:
        """Return the lists that reach targets first..last-1."""
        begin, end = int(self.start[first]), int(self.start[last])
        return self._lists(self.source[begin:end], self.start[first : last + 1] - begin)

    def pick(self, neurons: Ints) -> Lists:
        """Return the lists that reach `neurons`, which sit on the core in that order."""
        begin, size = self.start[neurons].astype(np.int64), np.diff(self.start)[neurons]
        pointer = np.concatenate([[0], np.cumsum(size)])
        where = np.repeat(begin - pointer[:-1], size) + np.arange(pointer[-1])
        return self._lists(self.source[where], pointer)

    def _lists(self, source: Any, pointer: Any) -> Lists:
        targets = pointer.size - 1
        if self.n_pre > source.size:  # few of many sources: sort those
            key = np.sort(source.astype(np.int64) * targets + np.repeat(np.arange(targets), np.diff(pointer)))
            axon = key // targets
            first = np.flatnonzero(np.concatenate([[True], axon[1:] != axon[:-1]])) if key.size else key
            n = np.diff(np.append(first, key.size))
            axon = axon[first]
            span = key[first + n - 1] - key[first] + 1
        else:
            ones = np.ones(source.size, np.int8)
            rows = sparse.csc_matrix((ones, source, pointer), shape=(self.n_pre, targets)).tocsr()
            count = np.diff(rows.indptr)
            axon = np.flatnonzero(count)
            n = count[axon].astype(np.int64)
            span = (rows.indices[rows.indptr[axon + 1] - 1] - rows.indices[rows.indptr[axon]] + 1).astype(np.int64)
        needed = np.zeros(self.n_pre, np.bool_)
        needed[axon] = True
        return Lists(needed, n, span, self.form, False)
