"""Pieces of populations that sit together on a core, and the error of a node that fits no core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sdsnn_core.errors import SdsnnError

from .chip import RESOURCES
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
