"""Costs of pieces on a core: axons, synaptic memory, tables; and the error of a node that fits no core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdsnn_core.errors import SdsnnError

from .chip import RESOURCES, Chip
from .synapse_lists import Lists
from .types import Ints


class DoesNotFit(SdsnnError, ValueError):
    """A node that no core of the chip can take: which node, which limit, how much it would need."""

    def __init__(self, node: str, resource: str, amount: int, limit: int, chip: str, hint: str = "") -> None:
        self.node, self.resource, self.amount, self.limit = node, resource, int(amount), int(limit)
        words = RESOURCES.get(resource, resource)
        super().__init__(
            f"node {node!r} does not fit {chip}: {words}: expected at most {limit:,} per core, got {amount:,}"
            + (f" ({hint})" if hint else "")
        )


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


def core_use(pieces: Sequence[Piece], sources: Mapping[str, str], chip: Chip) -> dict[str, int]:
    """Return what pieces sharing one core use of each resource, output axons left out.

    sources: projection -> name of its source. An axon serves every list of one source neuron in the core, since the
    format is chosen per block; a convolution's axons are apart, since they carry a base address.
    """
    layout = chip.synapses
    assert layout is not None
    neurons = sum(piece.neurons.size for piece in pieces)
    memory, formats = 0, set()
    for piece in pieces:
        for lists in piece.lists.values():
            bits, is_sparse = lists.bits(neurons, layout)
            memory += int(bits.sum())
            n_sparse = int(np.count_nonzero(is_sparse))
            kinds = ([True] if n_sparse else []) + ([False] if n_sparse < is_sparse.size else [])
            formats |= {(lists.form.synapse_bits, lists.form.signs, kind) for kind in kinds}
    return {
        "neurons": neurons,
        "input_axons": sum(distinct(a).size for a in axon_sources(pieces, sources).values()),
        "synapse_bits": memory,
        "neuron_configs": len(frozenset().union(*(piece.configs for piece in pieces))),
        "threshold_configs": len(frozenset().union(*(piece.thresholds for piece in pieces))),
        "synapse_formats": len(formats),
    }


def axon_sources(pieces: Sequence[Piece], sources: Mapping[str, str]) -> dict[tuple[str, bool], list[Ints]]:
    """Return (source node, through a convolution) -> the source neurons of each list of `pieces`."""
    parts: dict[tuple[str, bool], list[Ints]] = {}
    for piece in pieces:
        for name, lists in piece.lists.items():
            parts.setdefault((sources[name], lists.convolution), []).append(lists.source)
    return parts


def distinct(parts: Sequence[Ints]) -> Ints:
    """Return the numbers that occur in `parts`, in order. Each part holds a number once."""
    if len(parts) == 1:
        return parts[0]
    every = np.sort(np.concatenate(parts))
    return every[np.flatnonzero(np.diff(every, prepend=-1))]


def neuron_limit(pieces: Sequence[Piece], chip: Chip) -> int:
    """Return how many neurons the core may hold, long delays taken into account."""
    return chip.neurons(max((piece.max_delay for piece in pieces), default=0))


def excess(pieces: Sequence[Piece], sources: Mapping[str, str], chip: Chip) -> dict[str, float]:
    """Return use divided by limit of each limited resource, for pieces on one core."""
    use = core_use(pieces, sources, chip)
    shares = {"neurons": use["neurons"] / neuron_limit(pieces, chip)}
    for resource, amount in use.items():
        limit = chip.limit(resource)
        if resource != "neurons" and limit is not None:
            shares[resource] = amount / limit
    return shares
