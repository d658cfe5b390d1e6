"""Counts of an inference times the prices of one list: energy, time of a step, and the static energy meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..placement.types import Placement
from .prices import QUANTITIES, TERMS, PriceList
from .result import Priced, Row, StaticShare, StepTime
from .types import Counts, Span

PICO, NANO = 1e-12, 1e-9


def price_counts(counts: Counts, prices: PriceList, chip: str = "loihi2") -> Priced:
    """Price counts by one list. A quantity the list or the counts lack makes its term unpriced."""
    unpriced = dict(prices.unpriced)
    rows: list[Row] = []
    terms = prices.terms
    events = [(kind, "synaptic events", Span(n, n)) for kind, n in counts.events_by_kind.items()]
    # Nothing public says whether a chip spends an event on a zero that a dense list stores: none, or all.
    events += [(kind, "stored zeros crossed", Span(0.0, n)) for kind, n in counts.zeros_by_kind.items()]
    for kind, label, amount in events:
        if (each := _event_price(kind, prices)) is not None:
            rows.append(_row("synaptic_event", f"{label} ({kind})", amount, each, prices))
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
        if quantity in terms and number is None:
            unpriced[QUANTITIES[quantity]] = "needs a placement: the cores that a spike goes to"
        elif quantity in terms and number is not None:
            rows.append(_row(quantity, label, Span(number, number), None, prices))
    covered = {row.term for row in rows} | set(unpriced) | set(prices.included)
    unpriced |= {term: "no price in this list" for term in TERMS if term not in covered}
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
    each = each or Span(prices.terms[quantity].pj, prices.terms[quantity].pj)
    joules = Span(amount.low * each.low * PICO, amount.high * each.high * PICO)
    return Row(QUANTITIES[quantity], label, amount, each, joules, known.note if known else "")


def _wording(prices: PriceList, chip: str) -> str:
    names = {"loihi1": "Loihi-1", "loihi2": "Loihi-2"}
    if prices.chip == chip:
        return f"priced for {names.get(chip, chip)}"
    return f"{names.get(prices.chip, prices.chip)}-priced"


def step_time(counts: Counts, prices: PriceList) -> StepTime:
    """Bound the mean step time from below by the busiest core. Needs counts made with a placement."""
    assert counts.load is not None
    assert prices.times_ns is not None
    times, load = prices.times_ns, counts.load
    updates = load.active * times.neuron_update_active + (load.neurons - load.active) * times.neuron_update_inactive
    each = (load.events * times.synaptic_event + updates) * NANO
    busiest = int(np.argmax(each))
    core = float(each[busiest])
    if load.worst_events is not None:
        # The busiest core may change from step to step; its events alone are another lower bound.
        core = max(core, load.worst_events * times.synaptic_event * NANO)
    return StepTime(
        prices.name,
        core,
        Span(core + times.barrier_min * NANO, core + times.barrier_max * NANO),
        busiest,
        float(each.mean()),
        load.worst_events is not None,
    )


def static_share(
    counts: Counts, lists: Sequence[PriceList], placement: Placement, dt_s: float
) -> Iterator[StaticShare]:
    """Yield static energy at the step time of each list and in real time (steps of dt_s), if a power is published."""
    power = placement.static_power
    if power is None:
        return
    watts = power.value * placement.n_chips
    runs = [(f"as fast as {t.name} allows", step_time(counts, t).span_s) for t in lists if t.times_ns]
    runs.append((f"in real time, {dt_s * 1e3:g} ms steps", Span(dt_s, dt_s)))
    for title, span in runs:
        yield StaticShare(title, span, watts, span.times(watts * counts.n_steps), power.citation)
