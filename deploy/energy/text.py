"""An energy report as JSON and as lines of text."""

from dataclasses import asdict
from typing import Any

from .prices import TERMS
from .result import EnergyReport, Priced
from .types import Counts, format_joules


def energy_to_json(report: EnergyReport) -> dict[str, Any]:
    """Return an EnergyReport as data; keys are documented in docs/report.md."""
    return {
        "unit": "joules per inference (one sample, all its steps), mean over samples",
        "chip": report.chip,
        "label": report.label,
        "placed": report.placed,
        "headline": report.headline(),
        "range_j": None if report.range_j is None else asdict(report.range_j),
        "counts": counts_to_json(report.counts),
        "price_lists": [_priced_to_json(item) for item in report.priced],
        "baselines": [asdict(item) for item in report.baselines],
        "step_time": [asdict(item) for item in report.step_times],
        "link": None if report.link is None else asdict(report.link),
        "static": [asdict(item) for item in report.static],
        "notes": list(report.notes),
        "second": None if report.second is None else report.second.to_json(),
    }


def counts_to_json(counts: Counts) -> dict[str, Any]:
    """Return Counts as data. syn_ops, dendrite_updates and spikes_in are named as Loihi2Activity names them."""
    load = counts.load
    return {
        "n_steps": counts.n_steps,
        "n_samples": counts.n_samples,
        "syn_ops": counts.total_events,
        "syn_ops_by_projection": dict(counts.events),
        "syn_ops_by_kind": dict(counts.events_by_kind),
        "stored_zeros_by_kind": dict(counts.zeros_by_kind),
        "dendrite_updates": counts.total_updates,
        "active_updates": asdict(counts.total_active),
        "active_updates_by_population": {name: asdict(s) for name, s in counts.active.items()},
        "spikes": dict(counts.spikes),
        "packets": counts.packets,
        "packets_from_input": counts.packets_from_input,
        "packets_between_chips": counts.packets_between_chips,
        "hops_east_west": counts.hops_east_west,
        "hops_north_south": counts.hops_north_south,
        "per_core": None
        if load is None
        else {
            "unit": "mean per step",
            "core_idx": list(range(load.events.size)),
            "syn_ops": load.events.tolist(),
            "dendrite_updates": load.neurons.tolist(),
            "active_updates": load.active.tolist(),
            "spikes_in": load.packets_in.tolist(),
            "syn_ops_of_busiest_core_per_step": load.worst_events,
        },
    }


def _priced_to_json(item: Priced) -> dict[str, Any]:
    of_list = ("name", "title", "role", "chip", "year", "grade", "bound", "source", "conditions")
    return {
        **{key: getattr(item.prices, key) for key in of_list},
        "wording": item.wording,
        "label": item.label,
        "joules": asdict(item.total),
        "rows": [asdict(row) for row in item.rows],
        "unpriced": dict(item.unpriced),
        "included": dict(item.included),
    }


def energy_lines(report: EnergyReport) -> list[str]:
    """Return the report as lines of text: the headline, one block per price list, what is missing, baselines."""
    lines = [report.headline()]
    for item in report.priced:
        use = "" if item.prices.role == "chip" else " (for comparison with papers)"
        lines.append(f"{item.prices.title}{use}: {format_joules(item.total)}, {item.label}, {item.wording}")
        lines.append(f"  source: {item.prices.citation}")
        lines += [
            f"  {row.quantity}: {row.count:,.6g} x {row.pj_each:,.6g} pJ = {format_joules(row.joules)}"
            for row in item.rows
        ]
        lines += [f"  included: {TERMS[term]}: {why}" for term, why in item.included.items()]
        lines += [f"  unpriced: {TERMS[term]}: {why}" for term, why in item.unpriced.items()]
    for base in report.baselines:
        shown = ", ".join(f"{name} {format_joules(span)}" for name, span in base.joules.items())
        lines.append(f"{base.title}: {base.operations:,.0f} operations; {shown} ({base.assumption})")
    for time in report.step_times:
        span = time.step_s.times(1e6)
        lines.append(f"step time by {time.list}: at least {span:.3g} us, bound by core {time.busiest_core}")
    if (link := report.link) is not None:
        lines.append(
            f"links between chips: {link.packets:,.4g} packets in a step take {link.seconds * 1e6:.3g} us over one "
            f"link, not in the step time ({link.source})"
        )
    for share in report.static:
        lines.append(
            f"static power {share.watts:.3g} W {share.at}: {format_joules(share.joules)} per inference, "
            f"not in the totals ({share.source})"
        )
    if report.second is not None:
        lines += report.second.lines()
    return [*lines, *(f"note: {note}" for note in report.notes)]
