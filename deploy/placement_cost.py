"""What a piece of a population costs on a core: axons, synaptic memory with the better encoding per list, tables.

The memory count is nengo-loihi's for Loihi 1 (Synapse.bits_per_axon): a list of n synapses is cut into blocks of at
most 64; each takes n * (weight + delay + tag + index bits) + 10 bits and is rounded up to 64. A dense list has no
index bits, and stores every target from the first to the last that it reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.errors import SdsnnError
from sdsnn_core.network import Population, Projection, Synapses

from .chip import RESOURCES, Chip, SynapseFormat
from .placement_types import Ints


class DoesNotFit(SdsnnError, ValueError):
    """A node that no core of the chip can take: which node, which limit, how much it would need."""

    def __init__(self, node: str, resource: str, amount: int, limit: int, chip: str, hint: str = "") -> None:
        self.node, self.resource, self.amount, self.limit = node, resource, int(amount), int(limit)
        words = RESOURCES.get(resource, resource)
        super().__init__(
            f"node {node!r} does not fit {chip}: {words}: needs {amount:,}, allowed {limit:,} per core"
            + (f"; {hint}" if hint else "")
        )

    @classmethod
    def told(cls, message: str) -> DoesNotFit:
        """Return the error that said `message`, to raise it after everything else was shown."""
        error = cls.__new__(cls, message)
        Exception.__init__(error, message)
        return error


@dataclass(frozen=True)
class ListFormat:
    """Bits of one synapse of a projection: weight (sign included), delay, tag. exact: no weight bit is lost."""

    weight_bits: int
    delay_bits: int
    tag_bits: int
    signs: str
    exact: bool
    max_delay: int

    @property
    def synapse_bits(self) -> int:
        """Bits of a synapse without its index."""
        return self.weight_bits + self.delay_bits + self.tag_bits


def list_format(projection: Projection, layout: SynapseFormat) -> ListFormat:
    """Choose the narrowest format that holds a projection's weights, sharing one power of two, and its delays."""
    weights = projection.weight if isinstance(projection, Synapses) else projection.kernel[projection.kernel != 0]
    values = weights.astype(np.int64)
    max_delay = int(projection.delay.max()) if projection.delay.size else 0
    if not values.size:
        return ListFormat(layout.weight_bits[0], 0, layout.tag_bits, "none", True, 0)
    low, high = int(values.min()), int(values.max())
    together = int(np.bitwise_or.reduce(np.abs(values)))
    shift = (together & -together).bit_length() - 1
    low, high = low >> shift, high >> shift
    if low < 0 < high:
        needed, signs = max(high.bit_length(), (-low - 1).bit_length()) + 1, "mixed"
    else:
        needed, signs = max(abs(low), abs(high)).bit_length(), "excitatory" if high > 0 else "inhibitory"
    wide = [bits for bits in layout.weight_bits if bits >= needed]
    return ListFormat(
        wide[0] if wide else layout.weight_bits[-1],
        max_delay.bit_length(),
        layout.tag_bits,
        signs,
        bool(wide),
        max_delay,
    )


def list_bits(n: npt.ArrayLike, bits_per_synapse: int, layout: SynapseFormat) -> Ints:
    """Return the memory of lists of n synapses, bits, rounded up block by block. n: int array."""
    count = np.asarray(n, np.int64)
    word = layout.word_bits

    def rounded(bits: Ints) -> Ints:
        return -(-bits // word) * word

    full, rest = count // layout.block, count % layout.block
    one = rounded(np.asarray(layout.block * bits_per_synapse + layout.header_bits))
    last = np.where(rest > 0, rounded(rest * bits_per_synapse + layout.header_bits), 0)
    return np.asarray(full * one + last, np.int64)


def index_width(n_targets: int, layout: SynapseFormat) -> int | None:
    """Return the index bits that address n_targets, or None if no index of the chip is wide enough."""
    needed = max(n_targets - 1, 0).bit_length()
    wide = [bits for bits in layout.index_bits if bits >= needed]
    return wide[0] if wide else None


@dataclass(frozen=True, eq=False)
class Lists:
    """Synapse lists that one projection brings to a piece.

    source: (n_axons,) source neuron. pattern: (n_axons,) which stored list the axon uses. synapses: (n_axons,).
    stored: (n_patterns,) synapses of each stored list; span: (n_patterns,) targets from its first to its last.
    """

    source: Ints
    pattern: Ints
    synapses: Ints
    stored: Ints
    span: Ints
    form: ListFormat
    convolution: bool

    def bits(self, n_targets: int, layout: SynapseFormat) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return (bits, stored as sparse) of each stored list, in a core of n_targets neurons."""
        dense = list_bits(self.span, self.form.synapse_bits, layout)
        index = index_width(n_targets, layout)
        if not layout.sparse_encoding or index is None:
            return dense, np.zeros(dense.shape, np.bool_)
        indexed = list_bits(self.stored, self.form.synapse_bits + index, layout)
        return np.minimum(dense, indexed), indexed < dense


@dataclass(frozen=True, eq=False)
class Piece:
    """Neurons of one population that sit together on a core. neurons: (m,) flat indices; lists: by projection."""

    population: str
    neurons: Ints
    lists: Mapping[str, Lists]
    configs: frozenset[tuple[int, int]]
    thresholds: frozenset[int]

    @property
    def max_delay(self) -> int:
        """Longest delay of the projections that end here, steps."""
        return max((item.form.max_delay for item in self.lists.values()), default=0)


class Incoming:
    """Synapses of one projection sorted by target, to cut pieces out of quickly."""

    def __init__(self, projection: Synapses, n_pre: int, n_post: int, layout: SynapseFormat) -> None:
        ones = np.ones(projection.pre.size, np.int8)
        matrix = sparse.csc_matrix((ones, (projection.pre, projection.post)), shape=(n_pre, n_post))
        self.source, self.start, self.n_pre = matrix.indices, matrix.indptr, n_pre
        self.form = list_format(projection, layout)

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
        height, names = self.n_pre, None
        if self.n_pre > 4 * source.size:  # few of many sources: number only those
            names, source = np.unique(source, return_inverse=True)
            height = names.size
        ones = np.ones(source.size, np.int8)
        rows = sparse.csc_matrix((ones, source, pointer), shape=(height, pointer.size - 1)).tocsr()
        count = np.diff(rows.indptr)
        used = np.flatnonzero(count)
        span = rows.indices[rows.indptr[used + 1] - 1] - rows.indices[rows.indptr[used]] + 1
        n = count[used].astype(np.int64)
        axon = used if names is None else names[used]
        return Lists(axon.astype(np.int64), np.arange(n.size), n, n, span.astype(np.int64), self.form, False)


class Tables:
    """Distinct neuron and threshold settings of a population, per neuron."""

    def __init__(self, population: Population) -> None:
        self.decays = (population.per_neuron("current_decay"), population.per_neuron("voltage_decay"))
        self.threshold = population.per_neuron("threshold")

    def of(self, neurons: Ints) -> tuple[frozenset[tuple[int, int]], frozenset[int]]:
        """Return the distinct (current decay, voltage decay) and thresholds of `neurons`."""
        pairs = np.unique(np.stack([part[neurons] for part in self.decays]), axis=1)
        return frozenset(map(tuple, pairs.T.tolist())), frozenset(np.unique(self.threshold[neurons]).tolist())


def core_use(pieces: Sequence[Piece], sources: Mapping[str, str], chip: Chip) -> dict[str, int]:
    """Return what pieces sharing one core use of each resource, output axons left out.

    sources: projection -> name of its source. An axon serves every list of one source neuron in the core, since the
    format is chosen per block; a convolution's axons are apart, since they carry a base address.
    """
    layout = chip.synapses
    assert layout is not None
    neurons = sum(piece.neurons.size for piece in pieces)
    axons: dict[tuple[str, bool], list[Ints]] = {}
    memory, formats = 0, set()
    for piece in pieces:
        for name, lists in piece.lists.items():
            axons.setdefault((sources[name], lists.convolution), []).append(lists.source)
            bits, is_sparse = lists.bits(neurons, layout)
            memory += int(bits.sum())
            formats |= {(lists.form.synapse_bits, lists.form.signs, bool(kind)) for kind in np.unique(is_sparse)}
    return {
        "neurons": neurons,
        "input_axons": sum(np.unique(np.concatenate(a)).size if len(a) > 1 else a[0].size for a in axons.values()),
        "synapse_bits": memory,
        "neuron_configs": len(frozenset().union(*(piece.configs for piece in pieces))),
        "threshold_configs": len(frozenset().union(*(piece.thresholds for piece in pieces))),
        "synapse_formats": len(formats),
    }


def neuron_limit(pieces: Sequence[Piece], chip: Chip) -> int:
    """Return how many neurons the core may hold, long delays taken into account."""
    limit = chip.limit("neurons")
    assert limit is not None
    longest = max((piece.max_delay for piece in pieces), default=0)
    budget = chip.delay_buffer.get("state_budget", 0)
    if budget and longest > chip.delay_buffer.get("free_steps", 0):
        slots = 1 << longest.bit_length()
        limit = min(limit, budget // slots)
    return limit


def excess(pieces: Sequence[Piece], sources: Mapping[str, str], chip: Chip) -> dict[str, float]:
    """Return use divided by limit of each limited resource, for pieces on one core."""
    use = core_use(pieces, sources, chip)
    found = {"neurons": use["neurons"] / neuron_limit(pieces, chip)}
    for resource, amount in use.items():
        limit = chip.limit(resource)
        if resource != "neurons" and limit is not None:
            found[resource] = amount / limit
    return found
