"""Our figures beside those of SANA-FE, term by term, with the reason of each difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sdsnn_core.activity import Activity
from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Network

from ..energy.prices import PriceList, load_price_list
from ..energy.pricing import price_counts
from ..energy.types import Counts, Span, format_joules
from ..placement.objective.drive import drive_of
from ..placement.objective.work import core_work
from ..placement.types import Placement
from .replay import ReplayCost, Timing, replay, require_sanafe

TARGETS = ("sanafe",)
LIST = "sanafe2025"  # the price list with a price and a time of every event that SANA-FE counts
UNITS = {
    "synapse": (("synaptic_event",), "synaptic events"),
    "soma": (("neuron_update", "spike_sent"), "neuron updates, spikes made"),
    "network": (("packet", "hop"), "packets, hops"),
}
REASONS = {
    "synapse": "the same events at the same prices",
    "soma": "an update counts as active there where an event arrived in the step before; with us also where a current "
    "remains, a bias acts, or the neuron spikes; delays are not replayed, so no event arrives after the end",
    "network": "the same packets and hops; it merges the packets of a convolution and of plain synapses from one "
    "neuron to one core",
}


@dataclass(frozen=True)
class Term:
    """Joules of an inference of one hardware unit: ours, SANA-FE's, and why they differ."""

    unit: str
    what: str
    ours_j: float
    sanafe_j: float
    reason: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """A replay beside our figures by the same price list. ours_step_s: seconds of a step by our model."""

    cost: ReplayCost
    terms: Sequence[Term]
    ours_step_s: float

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {**self.cost.to_json(), "ours_step_s": self.ours_step_s, "terms": [asdict(term) for term in self.terms]}

    def lines(self) -> list[str]:
        """Return lines of text."""
        cost = self.cost
        step = float(cost.step_s.mean()) * 1e6
        lines = [
            f"SANA-FE {cost.version} ({cost.timing}), {cost.prices}: {_joules(cost.total)}, {step:.3g} us per step "
            f"(ours {self.ours_step_s * 1e6:.3g} us); {cost.bins:,} bins of replayed spikes compared, none differs"
        ]
        for term in self.terms:
            share = term.sanafe_j / term.ours_j - 1 if term.ours_j else 0.0
            lines.append(
                f"  {term.unit} ({term.what}): ours {_joules(term.ours_j)}, SANA-FE {_joules(term.sanafe_j)} "
                f"({share:+.2%}): {term.reason}"
            )
        return lines


def _joules(amount: float) -> str:
    return format_joules(Span(amount, amount))


def check_target(target: str | None) -> None:
    """Raise ConfigError for an unknown target, MissingDependency where its package is missing or too old."""
    if target is None:
        return
    if target not in TARGETS:
        raise ConfigError([f"target: expected one of {', '.join(TARGETS)}, got {target}"])
    require_sanafe()


def compare(
    network: Network,
    activity: Activity,
    placement: Placement,
    counts: Counts,
    *,
    prices: str | PriceList = LIST,
    timing: Timing = "detailed",
) -> Comparison:
    """Replay an activity and set our figures beside the result. counts: of the same activity and placement.

    Raises what `replay` raises.
    """
    table = prices if isinstance(prices, PriceList) else load_price_list(prices)
    cost = replay(network, activity, placement, prices=table, timing=timing)
    # SANA-FE spends no event on the zeros that dense lists store, so the low end of ours is compared.
    rows = price_counts(counts, table).rows
    terms = []
    for unit, (names, what) in UNITS.items():
        ours = sum(row.joules.low for row in rows if row.term in names)
        terms.append(Term(unit, what, ours, cost.joules[unit], REASONS[unit]))
    work = core_work(network, placement, drive_of(network, activity, table))
    return Comparison(cost, tuple(terms), work.step)
