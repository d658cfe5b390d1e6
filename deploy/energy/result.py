"""The result of pricing: rows, totals per price list, baselines, and the report that holds them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .prices import PriceList
from .types import Counts, Span, format_joules


@dataclass(frozen=True)
class Row:
    """One priced quantity: how many, what each costs (picojoules), and the product (joules)."""

    term: str
    quantity: str
    count: Span
    pj_each: Span
    joules: Span
    note: str = ""


@dataclass(frozen=True)
class Priced:
    """One inference priced by one list.

    total: joules, of the priced terms only. unpriced: term -> reason. included: term -> the price it is part of.
    wording: how to call the number, for example 'Loihi-1-priced' for counts of another chip.
    """

    prices: PriceList
    rows: tuple[Row, ...]
    total: Span
    unpriced: Mapping[str, str]
    included: Mapping[str, str]
    wording: str

    @property
    def label(self) -> str:
        """'complete' if every term is priced, else 'partial'."""
        return "partial" if self.unpriced else "complete"


@dataclass(frozen=True)
class Baseline:
    """A comparison: what it is, under which assumption, its synaptic operations, and joules by price list name."""

    name: str
    title: str
    assumption: str
    operations: float
    joules: Mapping[str, Span]


@dataclass(frozen=True)
class StepTime:
    """Mean time of one step by one list's times, seconds.

    busiest_core_s: what the busiest core needs, its events and updates one after the other. mean_core_s: the mean over
    cores; their ratio shows how uneven the work is. step_s: with the least and the greatest barrier time added.
    busiest_core_per_step: whether the busiest core was taken step by step (spikes recorded) or on the mean.
    """

    list: str
    busiest_core: int
    busiest_core_s: float
    mean_core_s: float
    step_s: Span
    bound: str
    busiest_core_per_step: bool


@dataclass(frozen=True)
class StaticShare:
    """Static energy of one inference, joules, at one step time; shown beside the totals and not added to them."""

    at: str
    watts: float
    step_s: Span
    joules: Span
    source: str
    in_total: bool = False


@dataclass(frozen=True)
class LinkTime:
    """Packets to other chips in a step, and the seconds that they take if all go over one link.

    It stands beside the time of a step: how packets spread over links is not known.
    """

    packets: float
    seconds: float
    source: str


class SecondOpinion(Protocol):
    """Figures of another simulator, such as a replay on SANA-FE."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""

    def lines(self) -> list[str]:
        """Return lines of text."""


@dataclass(frozen=True, eq=False)
class EnergyReport:
    """Energy per inference (one sample, all its steps) by every price list, with what it was made of.

    chip: the chip the network is meant for. range: joules, over the lists of role 'chip' only. baselines: the
    unpruned network and the dense ANN. step_time, static: by list, where it gives times; None without a placement.
    link: where packets go to another chip, and its chip's file has the rate of a link.
    second: figures of another simulator beside ours.
    """

    chip: str
    counts: Counts
    priced: tuple[Priced, ...]
    baselines: tuple[Baseline, ...]
    step_times: tuple[StepTime, ...] = ()
    static: tuple[StaticShare, ...] = ()
    placed: bool = False
    notes: tuple[str, ...] = ()
    second: SecondOpinion | None = None
    link: LinkTime | None = None

    def by_list(self, name: str) -> Priced:
        """Return the pricing by the list called `name`."""
        return next(item for item in self.priced if item.prices.name == name)

    @property
    def of_chips(self) -> list[Priced]:
        """The pricings by lists made for a neuromorphic chip."""
        return [item for item in self.priced if item.prices.role == "chip"]

    @property
    def range_j(self) -> Span | None:
        """Joules over all lists made for a neuromorphic chip, least to greatest; None if there is none."""
        chip = [item.total for item in self.of_chips]
        return Span(min(t.low for t in chip), max(t.high for t in chip)) if chip else None

    @property
    def label(self) -> str:
        """'complete' if every chip list priced every term, else 'partial'."""
        return "partial" if any(item.unpriced for item in self.of_chips) or not self.of_chips else "complete"

    @property
    def wording(self) -> str:
        """How to call the joules of the range, for example 'Loihi-1-priced'."""
        return ", ".join(sorted({item.wording for item in self.of_chips}))

    def headline(self) -> str:
        """Return the range in one line, with its wording, label and sources."""
        if self.range_j is None:
            return "energy: no price list of a neuromorphic chip was given"
        names = " to ".join(f"{item.prices.title} [{item.prices.grade}]" for item in self.of_chips)
        return f"{format_joules(self.range_j)} per inference, {self.label}, {self.wording}: {names}"
