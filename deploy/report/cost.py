"""Sections of the page: placement, energy and time."""

from __future__ import annotations

from html import escape

from ..energy.prices import TERMS
from ..energy.result import EnergyReport, Priced
from ..placement.chip import RESOURCES
from ..placement.explain import PlacementReport
from ..placement.text import placement_lines
from .charts import core_labels, core_map, core_shares, number_pair, ranges
from .parts import Cell, amount, columns, figure, joules, micro, missing, table
from .run_data import RunData
from .svg import legend


def placement_section(run: RunData, placement: PlacementReport | None) -> str:
    """Return cores and chips, use per core against the limits, the map of cores, the binding limit and advice."""
    if placement is None:
        return missing("placement", run.absent.get("network.nir", ""))
    lines = placement_lines(placement)
    notes = [line for line in lines if line.startswith("note: ")]
    shown = [line for line in lines if not line.startswith("note: ")]
    text = f"<p>{escape(shown[0])}</p><ul>{''.join(f'<li>{escape(line)}</li>' for line in shown[1:])}</ul>"
    small = "".join(f"<li>{escape(line[6:])}</li>" for line in notes)
    limits = "".join(
        f"<li>{escape(RESOURCES[name])}: {limit.value:,.0f} {escape(limit.unit)}: {escape(limit.citation)}</li>"
        for name, limit in placement.chip.limits.items()
    )
    text += f"<details><summary>limits, sources and notes</summary><ul>{limits}{small}</ul></details>"
    placed = placement.placement
    if placed is None:
        return text
    rows: list[list[Cell]] = []
    for name, use in placed.use.items():
        limit = placed.limits[name]
        of_limit = (f"{limit:,}", f"{use.max() / limit:.1%}") if limit else ("\N{EN DASH}", "")
        rows.append([RESOURCES[name], f"{use.mean():,.0f}", f"{int(use.max()):,}", *of_limit])
    text += table(["per core", "mean", "highest", "limit", "highest use"], rows, numeric=(1, 2, 3, 4))
    if not all(placed.limits.values()):
        text += '<p class="muted">\N{EN DASH} no limit was published, and none is imposed.</p>'
    shares, closest = core_shares(placed)
    labels = core_labels(placed)
    caption = (
        f"{placed.n_cores} of {placed.mesh.cores_per_chip * placed.n_chips} cores used; shade is the highest share of "
        "a limit, numbers are core numbers, lines are tiles."
    )
    cores: list[list[Cell]] = [
        [str(k), ", ".join(labels[k]), f"{int(placed.use['neurons'][k]):,}", f"{shares[k]:.1%}", RESOURCES[closest[k]]]
        for k in range(min(placed.n_cores, 12))
    ]
    listed = table(["core", "populations", "neurons", "highest use", "resource"], cores, numeric=(2, 3))
    if placed.n_cores > 12:
        listed += f'<p class="muted">and {placed.n_cores - 12} more cores, in report.json</p>'
    return text + columns(figure(core_map(placed), caption), listed)


def energy_section(run: RunData, energy: EnergyReport | None) -> str:
    """Return the energy by price list with its terms, the baselines, and time and static share."""
    if energy is None:
        return missing("energy", run.absent.get("activity", ""))
    parts = [f"<p>{escape(micro(energy.headline()))}</p>"]
    caption = legend({"exported": 0, "unpruned": 1, "for comparison with papers": 4})
    drawing = ranges(_bars(energy), "energy per inference (\N{MICRO SIGN}J), logarithmic axis")
    parts.append(columns(f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>", _counts(energy)))
    parts += [_priced(item) for item in energy.priced]
    rows: list[list[Cell]] = [
        [
            base.title,
            amount(base.operations),
            "; ".join(f"{name} {joules(span)}" for name, span in base.joules.items()),
            ("wrap", escape(base.assumption)),
        ]
        for base in energy.baselines
    ]
    parts.append("<h3>Baselines</h3>")
    parts.append(table(["network", "operations", "energy per inference", "assumption"], rows, numeric=(1,)))
    parts.append(_time(energy))
    parts += [f'<p class="muted">{escape(note)}</p>' for note in energy.notes]
    return "".join(parts)


def _bars(energy: EnergyReport) -> list[tuple[str, float, float, int]]:
    """Return (name, low, high, colour) in microjoules: every list, then the baselines by the lists that matter."""
    bars = [
        (item.prices.name, item.total.low * 1e6, item.total.high * 1e6, 0 if item.prices.role == "chip" else 4)
        for item in energy.priced
    ]
    chip = {item.prices.name for item in energy.priced if item.prices.role == "chip"}
    for base in energy.baselines:
        dense = base.name == "dense_ann"
        for name, span in base.joules.items():
            if dense or name in chip:
                title = f"{'dense ANN' if dense else 'unpruned'}, {name}"
                bars.append((title, span.low * 1e6, span.high * 1e6, 4 if dense else 1))
    return bars


def _time(energy: EnergyReport) -> str:
    parts = []
    if energy.step_times:
        rows: list[list[Cell]] = [
            [t.list_name, number_pair(t.span_s.low * 1e6, t.span_s.high * 1e6), str(t.busiest), f"{uneven:.2f}"]
            for t in energy.step_times
            for uneven in [t.core_s / max(t.mean_core_s, 1e-30)]
        ]
        headings = ["prices", "step with barrier (\N{MICRO SIGN}s)", "busiest core", "busiest / mean core"]
        parts.append("<h3>Time of a step, lower bound from the busiest core</h3>")
        parts.append(table(headings, rows, numeric=(1, 2, 3)))
    if energy.static:
        shares: list[list[Cell]] = [
            [s.title, f"{s.watts:.3g}", joules(s.joules), ("wrap", escape(s.source))] for s in energy.static
        ]
        parts.append("<h3>Static share, not in the totals above</h3>")
        parts.append(table(["at", "power (W)", "per inference", "source"], shares, numeric=(1, 2)))
    return "".join(parts)


def _counts(energy: EnergyReport) -> str:
    counts = energy.counts
    active = counts.total_active
    share = number_pair(100 * active.low / counts.total_updates, 100 * active.high / counts.total_updates)
    rows: list[list[Cell]] = [["steps", amount(counts.n_steps)], ["synaptic events", amount(counts.total_events)]]
    rows += [[f"of them {kind}", amount(value)] for kind, value in counts.events_by_kind.items()]
    if counts.zeros_by_kind:
        rows.append(["stored zeros crossed, at most", amount(round(counts.total_zeros, 1))])
    rows += [
        ["neuron updates", amount(counts.total_updates)],
        ["of them active", f"{share} %"],
        ["spikes of neurons", amount(counts.population_spikes)],
    ]
    placed = {
        "packets": counts.packets,
        "hops east-west": counts.hops_east_west,
        "hops north-south": counts.hops_north_south,
    }
    rows += [[name, "needs a placement" if n is None else amount(n)] for name, n in placed.items()]
    if counts.load is not None:
        rows.append(["events of the busiest core, per step", amount(round(float(counts.load.events.max()), 1))])
    return table(["per inference, mean over samples", "count"], rows, numeric=(1,))


def _priced(item: Priced) -> str:
    rows: list[list[Cell]] = [
        [
            row.quantity,
            number_pair(row.count.low, row.count.high) if row.count.high < 1000 else f"{row.count.high:,.0f}",
            number_pair(row.pj_each.low, row.pj_each.high),
            joules(row.joules),
        ]
        for row in item.rows
    ]
    role = "" if item.prices.role == "chip" else ' <span class="tag">for comparison with papers</span>'
    gaps = "".join(f"<li>unpriced: {escape(TERMS[t])}: {escape(why)}</li>" for t, why in item.unpriced.items())
    gaps += "".join(f"<li>included: {escape(TERMS[t])}: {escape(why)}</li>" for t, why in item.included.items())
    tags = "".join(
        f' <span class="tag">{escape(tag)}</span>'
        for tag in (item.label, item.wording, item.prices.grade, item.prices.bound)
    )
    return (
        f"<h3>{escape(item.prices.title)}: {escape(joules(item.total))}{tags}{role}</h3>"
        f"<details><summary>terms, source, and unpriced terms</summary>"
        f"{table(['term', 'count', 'pJ each', 'energy'], rows, numeric=(1, 2, 3))}"
        f"<p>Source: {escape(item.prices.citation)}</p><ul>{gaps}</ul></details>"
    )
