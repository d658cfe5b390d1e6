"""Energy and time of an inference, from counted activity and published prices. Every figure names its source.

`price` multiplies counts by each price list and puts the lists side by side. Nothing is filled in: a term without a
price is listed with the reason, and a total that lacks one says 'partial'. The definitions are in docs/energy.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from ..placement.types import Placement
from .baselines import Baseline, baselines
from .counts import count
from .dense_shapes import Unpruned
from .prices import QUANTITIES, TERMS, PriceList, default_price_lists
from .time import StaticShare, StepTime, static_share, step_time
from .types import Counts, Span

PICO = 1e-12


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


@dataclass(frozen=True, eq=False)
class EnergyReport:
    """Energy per inference (one sample, all its steps) by every price list, with what it was made of.

    chip: the chip the network is meant for. range: joules, over the lists of role 'chip' only. baselines: the
    unpruned network and the dense ANN. step_time, static: by list, where it gives times; None without a placement.
    """

    chip: str
    counts: Counts
    priced: tuple[Priced, ...]
    baselines: tuple[Baseline, ...]
    step_times: tuple[StepTime, ...] = ()
    static: tuple[StaticShare, ...] = ()
    placed: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)

    def by_list(self, name: str) -> Priced:
        """Return the pricing by the list called `name`."""
        return next(item for item in self.priced if item.prices.name == name)

    @property
    def range_j(self) -> Span | None:
        """Joules over all lists made for a neuromorphic chip, least to greatest; None if there is none."""
        chip = [item.total for item in self.priced if item.prices.role == "chip"]
        return Span(min(t.low for t in chip), max(t.high for t in chip)) if chip else None

    @property
    def label(self) -> str:
        """'complete' if every chip list priced every term, else 'partial'."""
        chip = [item for item in self.priced if item.prices.role == "chip"]
        return "partial" if any(item.unpriced for item in chip) or not chip else "complete"

    @property
    def wording(self) -> str:
        """How to call the joules of the range, for example 'Loihi-1-priced'."""
        return ", ".join(sorted({item.wording for item in self.priced if item.prices.role == "chip"}))

    def headline(self) -> str:
        """Return the range in one line, with its wording, label and sources."""
        if self.range_j is None:
            return "energy: no price list of a neuromorphic chip was given"
        chip = [item for item in self.priced if item.prices.role == "chip"]
        names = " to ".join(f"{item.prices.title} [{item.prices.grade}]" for item in chip)
        return f"{format_joules(self.range_j)} per inference, {self.label}, {self.wording}: {names}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able data; the schema is in docs/report.md."""
        from .result import energy_to_json

        return energy_to_json(self)

    def lines(self) -> list[str]:
        """Return the report as lines of text, sources included."""
        from .result import energy_lines

        return energy_lines(self)


def price(
    activity: Activity,
    network: Network,
    tables: Sequence[PriceList] | None = None,
    *,
    placement: Placement | None = None,
    unpruned: Unpruned = None,
    unpruned_activity: Activity | None = None,
    chip: str = "loihi2",
) -> EnergyReport:
    """Price `activity` of `network` by every list of `tables` (default: all that come with the package).

    placement: where the neurons sit; without it packets and hops are unpriced and there is no time. unpruned: the
    network before pruning, its shapes, or {node: units it had}; with unpruned_activity (of an unpruned Network) its
    own counts are priced, otherwise the events of the same spikes on full matrices. chip: what the network is meant
    for; lists made for another chip are worded '<that chip>-priced'. Raises NetworkError if activity and network do
    not match.
    """
    lists = default_price_lists() if tables is None else list(tables)
    counts = count(network, activity, placement)
    inputs_graded = [name for name, node in network.inputs.items() if node.max_value > 1]
    notes = []
    if not all(span.exact for span in counts.active.values()):
        notes.append("spikes were not recorded: active neuron updates are known only as bounds")
    if inputs_graded:
        notes.append(f"graded input {', '.join(inputs_graded)}: an event counts once, whatever its value")
    if counts.packets_between_chips:
        notes.append(f"{counts.packets_between_chips:,.4g} packets go to another chip; that link is not priced")
    return EnergyReport(
        chip=chip,
        counts=counts,
        priced=tuple(price_counts(counts, table, chip) for table in lists),
        baselines=tuple(baselines(network, activity, counts, lists, unpruned, unpruned_activity, chip)),
        step_times=tuple(step_time(counts, table) for table in lists if table.times_ns and placement is not None),
        static=tuple(static_share(counts, lists, placement, network.dt_s)) if placement is not None else (),
        placed=placement is not None,
        notes=tuple(notes),
    )


def price_counts(counts: Counts, prices: PriceList, chip: str = "loihi2") -> Priced:
    """Price counts by one list. A quantity the list or the counts lack makes its term unpriced."""
    unpriced = dict(prices.unpriced)
    rows: list[Row] = []
    terms = prices.terms
    for kind, amount in counts.events_by_kind.items():
        each = _event_price(kind, prices)
        if each is not None:
            rows.append(_row("synaptic_event", f"synaptic events ({kind})", Span(amount, amount), each, prices))
    for kind, amount in counts.zeros_by_kind.items():
        each = _event_price(kind, prices)
        if each is not None:
            # Nothing public says whether a chip spends an event on a zero that a dense list stores: none, or all.
            rows.append(_row("synaptic_event", f"stored zeros crossed ({kind})", Span(0.0, amount), each, prices))
    if "neuron_update_active" in terms:
        active = counts.total_active
        idle = Span(counts.total_updates - active.high, counts.total_updates - active.low)
        rows.append(_row("neuron_update_active", "neuron updates, active", active, None, prices))
        rows.append(_row("neuron_update_inactive", "neuron updates, inactive", idle, None, prices))
    measured = {
        "spike_sent": ("spikes made", counts.population_spikes),
        "packet": ("packets", counts.packets),
        "hop_east_west": ("hops east-west", counts.hops_east_west),
        "hop_north_south": ("hops north-south", counts.hops_north_south),
        "barrier": ("barriers", float(counts.n_steps)),
    }
    for quantity, (label, number) in measured.items():
        if quantity not in terms:
            continue
        if number is None:
            unpriced[QUANTITIES[quantity]] = "needs a placement: the cores that a spike goes to"
        else:
            rows.append(_row(quantity, label, Span(number, number), None, prices))
    covered = {row.term for row in rows} | set(unpriced) | set(prices.included)
    for term in TERMS:
        if term not in covered:
            unpriced[term] = "no price in this list"
    total = sum((row.joules for row in rows), Span(0.0, 0.0))
    if "neuron_update_active" in terms and not counts.total_active.exact:
        # An update that is not active is inactive: the ends of the two rows do not add up independently.
        a, i = terms["neuron_update_active"].pj, terms["neuron_update_inactive"].pj
        rest = sum((r.joules for r in rows if r.term != "neuron_update"), Span(0.0, 0.0))
        ends = sorted(
            (n * a + (counts.total_updates - n) * i) * PICO for n in (counts.total_active.low, counts.total_active.high)
        )
        total = rest + Span(ends[0], ends[1])
    ordered = {term: unpriced[term] for term in TERMS if term in unpriced}
    return Priced(prices, tuple(rows), total, ordered, dict(prices.included), _wording(prices, chip))


def _event_price(kind: str, prices: PriceList) -> Span | None:
    terms = prices.terms
    one = terms.get("synaptic_event")
    if kind == "graded" and "synaptic_event_graded" in terms:
        one = terms["synaptic_event_graded"]
    if one is not None:
        return Span(one.pj, one.pj)
    variants = {k: terms.get(f"synaptic_event_{k}") for k in ("dense", "sparse", "convolution")}
    known = {k: p.pj for k, p in variants.items() if p is not None}
    if not known:
        return None
    if kind in known:
        return Span(known[kind], known[kind])
    # Without a placement nobody decided between dense and sparse storage, so both ends stand.
    ends = [known["dense"], known["sparse"]]
    return Span(min(ends), max(ends))


def _row(quantity: str, label: str, amount: Span, each: Span | None, prices: PriceList) -> Row:
    known = prices.terms.get(quantity)
    if each is None:
        assert known is not None
        each = Span(known.pj, known.pj)
    joules = Span(amount.low * each.low * PICO, amount.high * each.high * PICO)
    return Row(QUANTITIES[quantity], label, amount, each, joules, known.note if known else "")


def _wording(prices: PriceList, chip: str) -> str:
    names = {"loihi1": "Loihi-1", "loihi2": "Loihi-2"}
    if prices.chip == chip:
        return f"priced for {names.get(chip, chip)}"
    return f"{names.get(prices.chip, prices.chip)}-priced"


def format_joules(amount: Span) -> str:
    """Return joules with a fitting prefix; a range as 'low to high'."""
    scale, unit = 1e-12, "pJ"
    for size, name in ((1e-12, "pJ"), (1e-9, "nJ"), (1e-6, "uJ"), (1e-3, "mJ"), (1.0, "J")):
        if amount.high >= size:
            scale, unit = size, name
    low, high = f"{amount.low / scale:.3g}", f"{amount.high / scale:.3g}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
