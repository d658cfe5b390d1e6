"""Counts of an inference times the prices of one list: energy, time of a step, and the static energy meanwhile."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..placement.types import Placement
from .counts import MESSAGE
from .prices import QUANTITIES, TERMS, PriceList
from .result import LinkTime, Priced, Row, StaticShare, StepTime
from .types import Counts, Span

PICO, NANO = 1e-12, 1e-9


def price_counts(counts: Counts, prices: PriceList, chip: str = "loihi2") -> Priced:
    """Price counts by one list. A quantity the list or the counts lack makes its term unpriced."""
    events = [("synaptic events", kind, Span(n, n)) for kind, n in counts.events_by_kind.items()]
    # Nothing public says whether a chip spends an event on a zero that a dense list stores: none, or all.
    events += [("stored zeros crossed", kind, Span(0.0, n)) for kind, n in counts.zeros_by_kind.items()]
    active, updates = counts.total_active, counts.total_updates
    others: list[tuple[str, str, Span | None]] = [
        ("neuron_update_active", "neuron updates, active", active),
        ("neuron_update_inactive", "neuron updates, inactive", Span(updates - active.high, updates - active.low)),
        ("spike_sent", "spikes made", Span(counts.population_spikes, counts.population_spikes)),
        ("packet", "packets", _exactly(counts.packets)),
        ("hop_east_west", "hops east-west", _exactly(counts.hops_east_west)),
        ("hop_north_south", "hops north-south", _exactly(counts.hops_north_south)),
        ("packet_between_chips", "packets to another chip", _exactly(counts.packets_between_chips)),
        ("barrier", "barriers", Span(counts.n_steps, counts.n_steps)),
    ]
    pj = {quantity: term.pj for quantity, term in prices.terms.items()}
    note = prices.terms["synaptic_event"].note if "synaptic_event" in pj else ""
    rows = [
        _row("synaptic_event", f"{label} ({kind})", amount, each, note)
        for label, kind, amount in events
        if kind != MESSAGE and (each := _event_price(kind, pj)) is not None
    ]
    unpriced, included = dict(prices.unpriced), dict(prices.included)
    if not counts.packets_between_chips:  # one chip needs no price of links
        unpriced.pop("link", None)
        included["link"] = "no packet goes to another chip"
    if any(kind == MESSAGE for _, kind, _ in events):
        unpriced[QUANTITIES["synaptic_event"]] = "nobody has published a price of events whose value has up to 32 bits"
    for quantity, label, number in others:
        if QUANTITIES[quantity] in included:
            continue
        if quantity in pj and number is None:
            unpriced[QUANTITIES[quantity]] = "needs a placement: the cores that a spike goes to"
        elif quantity in pj and number is not None:
            rows.append(_row(quantity, label, number, Span(pj[quantity], pj[quantity]), prices.terms[quantity].note))
    covered = {row.term for row in rows} | set(unpriced) | set(included)
    unpriced |= {term: "no price in this list" for term in TERMS if term not in covered}
    total = sum((row.joules for row in rows), Span(0.0, 0.0))
    if "neuron_update_active" in pj and not active.exact:
        # An update that is not active is inactive: the ends of the two rows do not add up independently.
        rest = sum((r.joules for r in rows if r.term != "neuron_update"), Span(0.0, 0.0))
        ends = sorted(
            (n * pj["neuron_update_active"] + (updates - n) * pj["neuron_update_inactive"]) * PICO
            for n in (active.low, active.high)
        )
        total = rest + Span(*ends)
    ordered = {term: unpriced[term] for term in TERMS if term in unpriced}
    return Priced(prices, tuple(rows), total, ordered, included, _wording(prices, chip))


def _exactly(number: float | None) -> Span | None:
    return None if number is None else Span(number, number)


def _event_price(kind: str, pj: Mapping[str, float]) -> Span | None:
    """Return picojoules of one synaptic event; a range where no placement chose between dense and sparse storage."""
    graded = pj.get("synaptic_event_graded") if kind == "graded" else None
    one = graded if graded is not None else pj.get("synaptic_event", pj.get(f"synaptic_event_{kind}"))
    if one is not None:
        return Span(one, one)
    ends = [pj[name] for name in ("synaptic_event_dense", "synaptic_event_sparse") if name in pj]
    return Span(min(ends), max(ends)) if ends else None


def _row(quantity: str, label: str, amount: Span, each: Span, note: str) -> Row:
    joules = Span(amount.low * each.low * PICO, amount.high * each.high * PICO)
    return Row(QUANTITIES[quantity], label, amount, each, joules, note)


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
    span = Span(core + times.barrier_min * NANO, core + times.barrier_max * NANO)
    per_step = load.worst_events is not None
    return StepTime(prices.name, busiest, core, float(each.mean()), span, "lower bound", per_step)


def link_time(counts: Counts, placement: Placement) -> LinkTime | None:
    """Return how long the packets to other chips take; None where there are none, or no rate was published."""
    rate = placement.link
    if rate is None or not counts.packets_between_chips:
        return None
    packets = counts.packets_between_chips / counts.n_steps
    return LinkTime(packets, packets / rate.value, rate.citation)


def static_share(
    counts: Counts, lists: Sequence[PriceList], placement: Placement, dt_s: float
) -> Iterator[StaticShare]:
    """Yield static energy at the step time of each list and in real time (steps of dt_s), if a power is published."""
    power = placement.static_power
    if power is None:
        return
    watts = power.value * placement.n_chips
    runs = [(f"as fast as {t.name} allows", step_time(counts, t).step_s) for t in lists if t.times_ns]
    runs.append((f"in real time, {dt_s * 1e3:g} ms steps", Span(dt_s, dt_s)))
    for title, span in runs:
        yield StaticShare(title, watts, span, span.times(watts * counts.n_steps), power.citation)
