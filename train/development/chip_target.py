"""Development towards a chip: how many synapses a network may keep so that its stop criteria of the chip hold."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch

from sdsnn_core.development import stop_criteria
from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.development.config import DevelopmentConfig

from .chip_prices import LayerCost, Prices, prices_of
from .masks import MaskedLayer

LOGGER = logging.getLogger("sdsnn.development")
TOLERANCE = 0.01  # of the number of synapses, in the last step
COARSE = 0.1  # in the steps before it
SEARCHES = 5  # in a stage, beside that of the last step
MORE = 1.25  # times the present synapses, that a chip with room left permits at a time
FAR = 3  # times the number of synapses that the chip permits: so far away no epoch is measured
_MOST = 24  # measurements of a search
_LONGEST = 16.0  # factor of a step of a search
_LEAST_STEP = 1.06  # likewise the shortest, where a fraction of a core does not say how far to go


@final
class ChipTarget:
    """Finds the number of synapses with which a model meets the stop criteria of its chip, by measuring the model.

    Args:
        model: the model, masked.
        config: with the criteria.
        measure: model -> its cost on the chip: lowered, compacted and placed.
        layers: the masked layers of the model; without them all synapses cost the same.
        names: the node that each of them becomes in the network.

    Attributes:
        latest: the cost of the model at the end of the latest epoch; None where that was not measured.
        keep: the number of synapses found last; None before the first search, or where no number is small enough.
        prices: what the synapses cost, by the latest measurement; None before the first.
        by_units: neurons decide how much fits, so only whole units help; by the last search that saw a limit.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: DevelopmentConfig,
        measure: Callable[[torch.nn.Module], ChipCost],
        layers: Sequence[MaskedLayer] = (),
        names: Sequence[str] = (),
    ) -> None:
        self.model, self.config, self.measure = model, config, measure
        self.layers, self.names = layers, names
        self.latest: ChipCost | None = None
        self.keep: int | None = None
        self.prices: Prices | None = None
        self.by_units = False
        self._warned = False
        self._next = 0.0  # phase of the stage from which on the next search takes place

    def met(self) -> bool:
        """Return True if the criteria of the chip held at the end of the latest epoch."""
        return self.latest is not None and not stop_criteria.unmet_on_chip(self.config, self.latest)

    def update(self, present: int = 0) -> None:
        """Measure the model as it is, unless it is far from its target. present: its synapses."""
        self.latest = None
        if self.keep is None or present <= FAR * self.keep:
            self.latest = self.measure(self.model)
            self._price(self.latest)

    def _price(self, cost: ChipCost) -> None:
        """Note what synapses cost under the limit that binds; memory where it is neurons, which go whole or not."""
        if cost.marginal is not None and self.layers:
            limit = stop_criteria.binding_on_chip(self.config, cost)
            limit = "synapse_bits" if limit == "neurons" else limit
            bits = cost.bits if limit == "synapse_bits" else 0
            self.prices = prices_of(self.layers, self.names, cost.marginal(limit), bits)

    def search_again(self) -> None:
        """Let the next call of `search` search, whatever its phase: what synapses cost has changed."""
        self._next = 0.0

    def search(self, apply: Callable[[int], None], least: int, present: int, phase: float = 1.0) -> int | None:
        """Return the greatest number of synapses that meets the criteria, to within TOLERANCE; None if none does.

        apply: masks the model down to so many synapses; the model is put back afterwards. least, present: numbers
        between which to search. phase: of the stage, 0 to 1; before its end a number found earlier may be returned, or
        one to within COARSE, or, where all that are present meet the criteria, up to MORE times as many. Where even
        `least` does not do, says so once, with what binds.
        """
        if phase < min(self._next, 1.0) and self.keep is not None:
            return self.keep if phase < 1 else min(self.keep, present)
        self._next = phase + 1 / SEARCHES
        tried: list[tuple[int, float, ChipCost]] = []

        def excess(keep: int) -> float:
            cost = self._measured(apply, keep)
            tried.append((keep, stop_criteria.excess_on_chip(self.config, cost), cost))
            return tried[-1][1]

        start = self._start() or present
        fine = phase >= 1 or self.by_units  # a unit of few synapses may have many neurons
        self.keep = _greatest(excess, least, present, start, TOLERANCE if fine else COARSE)
        fewest = min(tried, key=lambda one: one[0])[2]
        if too_much := [one for one in tried if one[1] > 1]:
            nearest = min(too_much, key=lambda one: one[0])[2]
            self.by_units = stop_criteria.binding_on_chip(self.config, nearest) == "neurons"
        _, over, cost = next((one for one in tried if one[0] == self.keep), (0, math.inf, fewest))
        self._price(cost)
        if self.keep is None:
            self._warn(least, fewest)
        elif self.keep == present and phase < 1 and over < 1:
            self.keep = int(present * min(MORE, 1 / max(over, 1e-9)))
        return self.keep

    def _start(self) -> int:
        """Return the number of synapses that a search begins with."""
        total = sum(synapse.mask.numel() for layer in self.layers for synapse in layer.synapses)
        return self.keep or round((1 - self.config.synapse_target) * total)

    def _measured(self, apply: Callable[[int], None], keep: int) -> ChipCost:
        """Return the cost of the model with `keep` synapses, and put the model back."""
        saved = {name: value.clone() for name, value in self.model.state_dict().items()}
        with torch.no_grad():
            apply(keep)
        cost = self.measure(self.model)
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                value.copy_(saved[name])
        return cost

    def _warn(self, least: int, cost: ChipCost) -> None:
        if not self._warned:
            sentences = "; ".join(stop_criteria.unmet_on_chip(self.config, cost))
            binds = stop_criteria.binding_on_chip(self.config, cost)
            LOGGER.warning("development.%s with %d synapses; %s binds", sentences, least, binds)
        self._warned = True

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        prices = None
        if self.prices is not None:
            layers = [None if cost is None else list(cost) for cost in self.prices.layers]
            prices = {"layers": layers, "inputs": self.prices.inputs, "bits": self.prices.bits}
        latest = None if self.latest is None else self.latest.as_dict()
        return {
            "keep": self.keep, "next": self._next, "latest": latest, "prices": prices, "by_units": self.by_units
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.keep, self._next, self.by_units = state["keep"], state["next"], state.get("by_units", False)
        self.latest = None if state["latest"] is None else ChipCost(**state["latest"])
        if (prices := state.get("prices")) is not None:
            layers = tuple(None if cost is None else LayerCost(*cost) for cost in prices["layers"])
            self.prices = Prices(layers, prices["inputs"], prices["bits"])


def _greatest(excess: Callable[[int], float], least: int, present: int, start: int, tolerance: float) -> int | None:
    """Return the greatest number in least..present with excess of at most 1, to within `tolerance`; None if none has.

    excess: what is used divided by what may be used; about a power of the number, or nearly constant where neurons
        decide. It is measured first at `start`.
    """
    low, high = None, present + 1  # `low` meets the limit, `high` does not
    at, known = max(least, min(start, present)), list[tuple[int, float]]()
    for number in range(_MOST):
        over = excess(at)
        known.append((at, over))
        if over <= 1:
            low = at
        else:
            high = at
        if low is None and high <= least:
            return None
        if low is not None and high - low <= max(1, tolerance * low):
            return low
        at = _next(known, tolerance)
        if low is not None and high <= present and (number % 3 == 2 or not low < at < high):
            at = round(math.sqrt(low * high))
        at = max(least if low is None else low + 1, min(at, high - 1))
    return low


def _next(known: Sequence[tuple[int, float]], tolerance: float) -> int:
    """Return where excess should lie just below 1, from the last two numbers where it was measured."""
    at, over = known[-1]
    slope = 1.0
    if len(known) > 1 and known[-2][0] != at and min(known[-2][1], over) > 0:
        slope = math.log(over / known[-2][1]) / math.log(at / known[-2][0])
    factor = ((1 - tolerance / 2) / max(over, 1e-9)) ** (1 / min(max(slope, 0.25), 3.0))
    same = next((i for i, (_, each) in enumerate(reversed(known)) if (each > 1) != (over > 1)), len(known))
    least = math.pow(_LEAST_STEP, 2 ** (same - 1))  # steps double as long as they cross no limit
    factor = min(factor, 1 / least) if over > 1 else max(factor, least)
    return int(at * min(max(factor, 1 / _LONGEST), _LONGEST))
