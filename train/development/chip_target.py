"""Development towards a chip: how many synapses a network may keep so that its stop criteria of the chip hold."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.development import stop_criteria
from sdsnn_core.development.chip_costs import ChipCost, list_costs
from sdsnn_core.development.config import DevelopmentConfig

from .masked_synapse import MaskedSynapse

LOGGER = logging.getLogger("sdsnn.development")
TOLERANCE = 0.01  # of the number of synapses, in the last step
COARSE = 0.05  # in the steps before it
SEARCHES = 5  # in a stage, beside that of the last step
_WIDEN = 1.05  # factor by which a search around the last number widens


@final
class ChipTarget:
    """Finds the number of synapses with which a model meets the stop criteria of its chip, by measuring the model.

    Args:
        model: the model, masked.
        config: with the criteria.
        measure: model -> its cost on the chip: lowered, compacted and placed.

    Attributes:
        latest: the cost of the model at the end of the latest epoch; None before the first.
        keep: the number of synapses found last; None before the first search, or where no number is small enough.
    """

    def __init__(
        self, model: torch.nn.Module, config: DevelopmentConfig, measure: Callable[[torch.nn.Module], ChipCost]
    ) -> None:
        self.model, self.config, self.measure = model, config, measure
        self.latest: ChipCost | None = None
        self.keep: int | None = None
        self._warned = False
        self._next = 0.0  # phase of the stage from which on the next search takes place

    def met(self) -> bool:
        """Return True if the criteria of the chip held at the end of the latest epoch."""
        return self.latest is not None and not stop_criteria.unmet_on_chip(self.config, self.latest)

    def update(self) -> None:
        """Measure the model as it is."""
        self.latest = self.measure(self.model)

    def search(self, apply: Callable[[int], None], least: int, present: int, phase: float = 1.0) -> int | None:
        """Return the greatest number of synapses that meets the criteria, to within TOLERANCE; None if none does.

        apply: masks the model down to so many synapses; the model is put back afterwards. least, present: numbers
        between which to search. phase: of the stage, 0 to 1; before its end a number found earlier may be returned, or
        one to within COARSE. Where even `least` does not do, says so once, with what binds.
        """
        if phase < min(self._next, 1.0) and self.keep is not None:
            return min(self.keep, present)
        self._next = phase + 1 / SEARCHES
        saved = {name: value.clone() for name, value in self.model.state_dict().items()}

        def meets(keep: int) -> bool:
            with torch.no_grad():
                apply(keep)
            self.latest = self.measure(self.model)
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    value.copy_(saved[name])
            return not stop_criteria.unmet_on_chip(self.config, self.latest)

        low, high = self._bracket(meets, least, present)
        if low is None:
            self._warn(least)
            self.keep = None
            return None
        tolerance = TOLERANCE if phase >= 1 else COARSE
        while high - low > max(1, tolerance * low):
            middle = max(low + 1, round(math.sqrt(low * high)))  # small networks are measured quickly
            low, high = (middle, high) if meets(middle) else (low, middle)
        self.keep = low
        return low

    def _bracket(self, meets: Callable[[int], bool], least: int, present: int) -> tuple[int | None, int]:
        """Return (a number that meets the criteria or None, one that does not), close to each other if possible."""
        if meets(present):
            return present, present + 1
        if self.keep is None or not least < self.keep < present:
            return (least, present) if meets(least) else (None, present)
        low, high, step = None, present, _WIDEN
        at = self.keep
        while low is None:
            if meets(at):
                low = at
            elif at <= least:
                return None, high
            else:
                high, at, step = at, max(least, int(at / step)), step * step
        if high == present and (above := int(low * _WIDEN)) < present and not meets(above):
            high = above
        return low, high

    def _warn(self, least: int) -> None:
        assert self.latest is not None
        if not self._warned:
            sentences = "; ".join(stop_criteria.unmet_on_chip(self.config, self.latest))
            LOGGER.warning("development.%s with %d synapses; %s binds", sentences, least, self.latest.binds)
        self._warned = True

    def costs(self, index: int, synapse: MaskedSynapse) -> Tensor | None:
        """Return what each synapse of the layer `index` costs, relative to the mean; None where all cost the same."""
        if self.latest is None or synapse.kernelwise:
            return None
        pieces = self.latest.pieces[index] if index < len(self.latest.pieces) else 1
        mask = synapse.mask.flatten(1)
        return list_costs(mask, pieces, self.latest.binds, self.latest.bits).reshape(synapse.mask.shape)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"keep": self.keep, "next": self._next, "latest": None if self.latest is None else self.latest._asdict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.keep, self._next = state["keep"], state["next"]
        self.latest = None if state["latest"] is None else ChipCost(**state["latest"])
