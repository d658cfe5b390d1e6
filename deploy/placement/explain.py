"""A placement with what explains it: the limit that binds, changes that save cores, the network before pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdsnn_core.network import Network

from ..energy.dense_shapes import Unpruned, unpruned_network
from .advice import Change, advise, without_limits
from .chip import Chip
from .cost import DoesNotFit
from .place import place
from .types import Placement


@dataclass(frozen=True, eq=False)
class PlacementReport:
    """A placement with what explains it.

    refusal: the error if nothing was placed, or None. changes: variants, best first. lifted: the network without each
    limit in turn. unpruned: the placement of the network before pruning, the message if it does not fit, or None where
    it is not known.
    """

    chip: Chip
    network: Network
    placement: Placement | None
    refusal: DoesNotFit | None
    changes: Sequence[Change]
    lifted: Sequence[Change]
    unpruned: Placement | str | None

    @property
    def best_change(self) -> Change | None:
        """The variant that saves most: cores first, then bits; None if none saves anything."""
        best = self.changes[0] if self.changes else None
        if best is None or best.cores is None or best.bits is None:
            return None
        if self.placement is None:
            return best
        now = (self.placement.n_cores, self.placement.synapse_bits)
        return best if (best.cores, best.bits) < now else None

    @property
    def binding(self) -> tuple[str, int] | None:
        """The limit that costs most, and how many cores fewer would do without it; None if none costs any."""
        if self.placement is None:
            return None
        saved = [(self.placement.n_cores - c.cores, c.kind) for c in self.lifted if c.cores is not None]
        amount, resource = max(saved, default=(0, ""))
        return (resource, amount) if amount > 0 else None


def explain(
    network: Network, chip: Chip, unpruned: Unpruned = None, *, advice: bool = True, tight_bound: bool = False
) -> PlacementReport:
    """Place a network and its variants.

    Args:
        network: the network to place.
        chip: a placeable chip.
        unpruned: the network before pruning, its shapes, or node -> units it had.
        advice: also place variants: one thing changed in the network, and one limit lifted.
        tight_bound: compute the tighter of the two lower bounds.

    Raises:
        NetworkError: `unpruned` does not fit the network.
    """
    placement: Placement | None = None
    refusal: DoesNotFit | None = None
    try:
        placement = place(network, chip, tight_bound=tight_bound)
    except DoesNotFit as error:
        refusal = error
    full = unpruned_network(network, unpruned)
    dense: Placement | str | None = None
    try:
        dense = None if full is None else place(full, chip)
    except DoesNotFit as error:
        dense = str(error)
    changes = advise(network, chip, placement) if advice else []
    lifted = without_limits(network, chip) if advice else []
    return PlacementReport(chip, network, placement, refusal, changes, lifted, dense)
