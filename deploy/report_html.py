"""The report as one self-contained page: no script, no font, no file and no address that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from .energy import EnergyReport, Priced, format_joules
from .energy_counts import Span
from .energy_prices import TERMS
from .placement_picture import core_grid, core_labels, core_shares
from .placement_report import PlacementReport, placement_lines
from .report_build import NOT_RECORDED
from .report_data import RunData
from .report_svg import core_map, legend, line_chart, matrix, number_pair, ranges, raster

Cell = str | tuple[str, str]  # text, or (class, HTML)


def page(title: str, header: str, body: str, footer: str) -> str:
    """Put the parts into the template."""
    template = (resources.files(__package__) / "templates" / "report.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(title), header=header, body=body, footer=footer)


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: Sequence[int] = ()) -> str:
    """Return an HTML table; columns in `numeric` are right-aligned. Text is escaped, (class, HTML) is not."""
    head = "".join(f"<th{' class=n' if i in numeric else ''}>{escape(text)}</th>" for i, text in enumerate(headings))
    body = ""
    for row in rows:
        body += "<tr>"
        for i, cell in enumerate(row):
            kind, html = ("", escape(cell)) if isinstance(cell, str) else cell
            kind = " ".join(part for part in (kind, "n" if i in numeric else "") if part)
            body += f'<td class="{kind}">{html}</td>' if kind else f"<td>{html}</td>"
        body += "</tr>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, content: str) -> str:
    """Return a section of the page."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def figure(drawing: str, caption: str) -> str:
    """Return a drawing with its caption, or 'not recorded' if there is none."""
    if not drawing:
        return missing(caption)
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def missing(what: str, why: str = "") -> str:
    """Return the line that stands where something was not recorded."""
    return f'<p class="muted">{escape(what)}: {escape(why or NOT_RECORDED)}</p>'


def percent(value: Any) -> str:
    """Return a share as percent, or 'not recorded'."""
    return f"{value:.2%}" if isinstance(value, float | int) else NOT_RECORDED


def amount(value: float | None) -> str:
    """Return a count with separators, or 'not recorded'."""
    if value is None:
        return NOT_RECORDED
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.3g}"


def render(run: RunData, report: dict[str, Any], energy: EnergyReport | None, placement: PlacementReport | None) -> str:
    """Return the page of one run."""
    title = f"sdsnn report: {run.path.resolve().name}"
    environment = report["environment"] or {}
    made = f"made {report['made']} by sdsnn {report['sdsnn']}"
    trained = f"; trained {environment['started']}, seed {environment.get('seed')}" if "started" in environment else ""
    header = f'<h1>{escape(title)}</h1><p class="sub">{escape(made + trained)}</p>{_tiles(run, report, energy)}'
    body = "".join(
        [
            section("Accuracy", _accuracy(run, report)),
            section("Structure over training", _structure(report)),
            section("Before and after", _before_after(report)),
            section("Activity", _activity(run, report)),
            section("Placement", _placement(run, placement)),
            section("Energy and time", _energy(run, energy)),
            section("Certificate", _certificate(run)),
            section("Provenance", _provenance(run, report)),
        ]
    )
    footer = (
        "<p>Everything on this page is in report.json beside it, under documented keys. Joules are estimates from "
        "published prices, not measurements, unless they say 'measured'.</p>"
    )
    return page(title, header, body, footer)


def _tiles(run: RunData, report: dict[str, Any], energy: EnergyReport | None) -> str:
    bench, placed = report["neurobench"], report["placement"]
    verified = None if run.certificate is None else run.certificate.get("verified")
    tiles = [
        (percent(run.accuracy), "test accuracy of the exported network"),
        (percent(None if bench is None else bench["ConnectionSparsity"]), "of the synapses are gone"),
        (
            NOT_RECORDED if placed is None or not placed["fits"] else f"{placed['cores']}",
            "cores" if placed is None else f"cores of {placed['chip']}",
        ),
        (
            NOT_RECORDED if energy is None or energy.range_j is None else format_joules(energy.range_j),
            "per inference" if energy is None else f"per inference, {energy.label}, {energy.priced[0].wording}",
        ),
        (
            {True: "verified", False: "NOT verified"}.get(bool(verified)) if verified is not None else NOT_RECORDED,
            "same spikes in every form",
        ),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(str(value))}</b><span>{escape(text)}</span></div>' for value, text in tiles
        )
        + "</div>"
    )


def _accuracy(run: RunData, report: dict[str, Any]) -> str:
    found = report["accuracy"]
    samples = found["test_samples"]
    rows: list[list[Cell]] = [
        ["exported network, test split", percent(found["test"]), amount(samples) if samples else NOT_RECORDED],
        [
            "in SLAYER before export, same split",
            percent(found["before_export"]),
            amount(samples) if samples else NOT_RECORDED,
        ],
        ["validation split, by which the epoch was chosen", percent(found["validation"]), NOT_RECORDED],
        [
            "exported network, simulated for this report",
            percent(found["simulated"]),
            amount(found["simulated_samples"]),
        ],
    ]
    bench = report["neurobench"]
    left = table(["", "accuracy", "samples"], rows, numeric=(1, 2))
    if bench is not None:
        left += "<h3>NeuroBench metrics</h3>" + table(["metric", "value"], _neurobench_rows(bench), numeric=(1,))
        left += (
            '<p class="muted">Operations are per sample, summed over its steps. Footprint: bytes of the exported '
            "network, 8-bit weights in full matrices. ConnectionSparsity: of the network before units were removed.</p>"
        )
    if run.confusion is None:
        return (
            f'<div class="columns"><div>{left}</div>{missing("confusion matrix", run.absent.get("activity", ""))}</div>'
        )
    right = figure(matrix(run.confusion), f"Confusion over {int(run.confusion.sum())} test samples (counts).")
    return f'<div class="columns"><div>{left}</div>{right}</div>'


def _neurobench_rows(bench: dict[str, Any]) -> list[list[Cell]]:
    rows: list[list[Cell]] = [
        ["Footprint (bytes)", amount(bench["Footprint"])],
        ["ConnectionSparsity", f"{bench['ConnectionSparsity']:.4f}"],
    ]
    if bench["ActivationSparsity"] is not None:
        rows.append(["ActivationSparsity", f"{bench['ActivationSparsity']:.4f}"])
        operations, steps = bench["SynapticOperations"], bench["n_steps"]
        rows += [[f"SynapticOperations: {name} ({steps} steps)", amount(v)] for name, v in operations.items()]
    return rows


def _structure(report: dict[str, Any]) -> str:
    found = report["structure"]
    if found is None:
        return missing("history", report["absent"].get("history.jsonl", ""))
    epochs = found["epoch"]
    plots = [
        figure(
            line_chart(
                epochs,
                {"training": found["train_accuracy"], "validation": found["validation_accuracy"]},
                "epoch",
                "accuracy (share)",
                y_range=(0, 1),
            ),
            "Accuracy over training.",
        ),
        figure(
            line_chart(epochs, {"loss": found["loss"]}, "epoch", "training loss"), "Training loss, mean per sample."
        ),
        figure(
            line_chart(
                epochs,
                {n: layer["alive_units"] for n, layer in found["layers"].items()},
                "epoch",
                "units alive (neurons)",
            ),
            "Units alive in each layer.",
        ),
        figure(
            line_chart(
                epochs, {n: layer["synapses"] for n, layer in found["layers"].items()}, "epoch", "synapses present"
            ),
            "Synapses present in each layer.",
        ),
    ]
    return f'<div class="columns">{"".join(plots)}</div>'


def _before_after(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = []
    for row in report["before_after"]:
        before, after = row["before"], row["after"]
        saved = f"{1 - after / before:.1%}" if before and after is not None else ""
        if row["unit"].startswith("J"):
            shown = [NOT_RECORDED if v is None else format_joules(Span(v, v)) for v in (before, after)]
            rows.append([row["quantity"], "per inference", *shown, saved])
        else:
            rows.append([row["quantity"], row["unit"], amount(before), amount(after), saved])
    if not rows:
        return missing("before and after", report["absent"].get("network.nir", ""))
    note = (
        '<p class="muted">Before: the same layers with every unit and synapse. Its operations and energy assume the '
        "same spikes on full matrices, with removed units silent: a lower bound.</p>"
    )
    return table(["quantity", "unit", "before pruning", "exported", "saved"], rows, numeric=(2, 3, 4)) + note


def _activity(run: RunData, report: dict[str, Any]) -> str:
    found = report["activity"]
    if found is None or run.activity is None or run.network is None:
        return missing("activity", run.absent.get("activity", ""))
    nodes = found["nodes"]
    rows: list[list[Cell]] = [
        [
            name,
            amount(node["size"]),
            amount(round(node["spikes_per_sample"], 1)),
            f"{node['rate_per_step']:.4f}",
            f"{node['rate_per_step'] / found['dt_s']:,.1f}",
            f"{node['rate_quantiles']['0.5']:.3f} / {node['rate_quantiles']['1.0']:.3f}",
            amount(node["silent_units"]),
        ]
        for name, node in nodes.items()
    ]
    headings = [
        "node",
        "units",
        "spikes per sample",
        "spikes per unit and step",
        "rate (Hz)",
        "median / max unit",
        "silent units",
    ]
    numbers = table(headings, rows, numeric=range(1, 7))
    steps = min(found["n_steps"], 200)
    layers = {
        name: (node["size"], node["raster_of_sample_0"]) for name, node in nodes.items() if "raster_of_sample_0" in node
    }
    drawn = figure(raster(layers, steps, found["dt_s"]), f"Every spike of the first sample, first {steps} steps.")
    mean = run.activity.spikes_per_step
    over_time: dict[str, Sequence[float | None]] = {
        name: [float(v) / nodes[name]["size"] for v in mean[name].mean(axis=0)[:steps]]
        for name in nodes
        if name in mean
    }
    chart = figure(
        line_chart(list(range(steps)), over_time, "step", "spikes per unit and step"),
        f"Mean over {found['n_samples']} samples.",
    )
    return (
        f"{numbers}<p class='muted'>{found['n_samples']} test samples of {found['n_steps']} steps.</p>"
        f'<div class="columns">{drawn}{chart}</div>'
    )


def _placement(run: RunData, placement: PlacementReport | None) -> str:
    if placement is None:
        return missing("placement", run.absent.get("network.nir", ""))
    lines = placement_lines(placement)
    notes = [line for line in lines if line.startswith("note: ")]
    shown = [line for line in lines if not line.startswith("note: ")]
    text = f"<p>{escape(shown[0])}</p><ul>{''.join(f'<li>{escape(line)}</li>' for line in shown[1:])}</ul>"
    small = "".join(f"<li>{escape(line[6:])}</li>" for line in notes)
    limits = "".join(
        f"<li>{escape(name)}: {limit.value:,.0f} {escape(limit.unit)}: {escape(limit.citation)}</li>"
        for name, limit in placement.chip.limits.items()
    )
    text += f"<details><summary>limits, sources and notes</summary><ul>{limits}{small}</ul></details>"
    placed = placement.placement
    if placed is None:
        return text
    rows: list[list[Cell]] = []
    for name, use in placed.use.items():
        limit = placed.limits[name]
        share = "none published" if not limit else f"{limit:,}"
        rows.append(
            [name, f"{use.mean():,.0f}", f"{int(use.max()):,}", share, f"{use.max() / limit:.1%}" if limit else ""]
        )
    text += table(["per core", "mean", "greatest", "limit", "greatest use"], rows, numeric=(1, 2, 3, 4))
    shares, binding = core_shares(placed)
    labels = core_labels(placed)
    hints = [
        f"core {k}: {', '.join(labels[k])}; {shares[k]:.1%} of {binding[k]}; {int(placed.use['neurons'][k])} neurons"
        for k in range(placed.n_cores)
    ]
    layout = placement.chip.layout
    assert layout is not None
    wide = int(layout.cores_per_tile**0.5 + 0.999)
    tall = -(-layout.cores_per_tile // wide)
    drawing = core_map(
        core_grid(placed),
        shares,
        hints,
        [str(k) for k in range(placed.n_cores)],
        columns=layout.tiles_x * wide,
        rows=-(-layout.cores_per_chip // (layout.cores_per_tile * layout.tiles_x)) * tall,
        tile=(wide, tall),
    )
    caption = (
        f"{placed.n_cores} of {layout.cores_per_chip * placed.n_chips} cores used; shade is the greatest share of a "
        "limit, numbers are core numbers, lines are tiles."
    )
    cores: list[list[Cell]] = [
        [str(k), ", ".join(labels[k]), f"{int(placed.use['neurons'][k]):,}", f"{shares[k]:.1%}", binding[k]]
        for k in range(min(placed.n_cores, 12))
    ]
    listed = table(["core", "populations", "neurons", "fullest", "resource"], cores, numeric=(2, 3))
    if placed.n_cores > 12:
        listed += f'<p class="muted">and {placed.n_cores - 12} more cores, in report.json</p>'
    return f'{text}<div class="columns" style="margin-top:14px">{figure(drawing, caption)}<div>{listed}</div></div>'


def _energy(run: RunData, energy: EnergyReport | None) -> str:
    if energy is None:
        return missing("energy", run.absent.get("activity", ""))
    bars = [
        (item.prices.name, item.total.low * 1e9, item.total.high * 1e9, 0 if item.prices.role == "chip" else 5)
        for item in energy.priced
    ]
    for base in energy.baselines:
        for name, span in base.joules.items():
            if base.name == "dense_ann" or any(
                i.prices.name == name and i.prices.role == "chip" for i in energy.priced
            ):
                short = "dense ANN" if base.name == "dense_ann" else "unpruned"
                bars.append((f"{short}, {name}", span.low * 1e9, span.high * 1e9, 1 if base.name == "unpruned" else 4))
    drawing = ranges(bars, "energy per inference (nJ), logarithmic")
    caption = (
        legend(["exported, prices of a chip", "unpruned, prices of a chip"])
        + '<p class="muted">The others are for comparison with papers only.</p>'
    )
    parts = [f"<p>{escape(energy.headline())}</p>"]
    parts.append(f'<div class="columns"><figure>{drawing}{caption}</figure><div>{_counts(energy)}</div></div>')
    parts += [_priced(item) for item in energy.priced]
    parts.append("<h3>Beside it</h3>")
    rows: list[list[Cell]] = [
        [
            base.title,
            amount(base.operations),
            "; ".join(f"{n} {format_joules(s)}" for n, s in base.joules.items()),
            ("wrap", escape(base.assumption)),
        ]
        for base in energy.baselines
    ]
    parts.append(table(["network", "operations", "energy per inference", "assumption"], rows, numeric=(1,)))
    if energy.step_times:
        rows = [
            [
                t.list_name,
                number_pair(t.span_s.low * 1e6, t.span_s.high * 1e6),
                str(t.busiest),
                f"{t.core_s / max(t.mean_core_s, 1e-30):.2f}",
            ]
            for t in energy.step_times
        ]
        parts.append("<h3>Time of a step, lower bound from the busiest core</h3>")
        parts.append(
            table(["prices", "step (us), with barrier", "busiest core", "busiest / mean core"], rows, numeric=(1, 2, 3))
        )
    if energy.static:
        rows = [[s.title, f"{s.watts:.3g}", format_joules(s.joules), ("wrap", escape(s.source))] for s in energy.static]
        parts.append("<h3>Static share, not in the totals above</h3>")
        parts.append(table(["at", "power (W)", "per inference", "source"], rows, numeric=(1, 2)))
    parts += [f'<p class="muted">{escape(note)}</p>' for note in energy.notes]
    return "".join(parts)


def _counts(energy: EnergyReport) -> str:
    counts = energy.counts
    active = counts.total_active
    share = number_pair(100 * active.low / counts.total_updates, 100 * active.high / counts.total_updates)
    rows: list[list[Cell]] = [
        ["steps", amount(counts.n_steps)],
        ["synaptic events", amount(counts.total_events)],
        *[[f"of them {kind}", amount(value)] for kind, value in counts.events_by_kind.items()],
        ["neuron updates", amount(counts.total_updates)],
        ["of them active", f"{share} %"],
        ["spikes of neurons", amount(counts.population_spikes)],
        ["packets", "needs a placement" if counts.packets is None else amount(counts.packets)],
        ["hops east-west", "needs a placement" if counts.hops_east_west is None else amount(counts.hops_east_west)],
        [
            "hops north-south",
            "needs a placement" if counts.hops_north_south is None else amount(counts.hops_north_south),
        ],
    ]
    if counts.load is not None:
        rows.append(["events of the busiest core, per step", amount(round(float(counts.load.events.max()), 1))])
    return table(["per inference, mean over samples", "count"], rows, numeric=(1,))


def _priced(item: Priced) -> str:
    rows: list[list[Cell]] = [
        [
            row.quantity,
            number_pair(row.count.low, row.count.high) if row.count.high < 1000 else f"{row.count.high:,.0f}",
            number_pair(row.pj_each.low, row.pj_each.high),
            format_joules(row.joules),
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
        f"<h3>{escape(item.prices.title)}: {escape(format_joules(item.total))}{tags}{role}</h3>"
        f"<details><summary>terms, source, and what is not in it</summary>"
        f"{table(['term', 'count', 'pJ each', 'energy'], rows, numeric=(1, 2, 3))}"
        f"<p>Source: {escape(item.prices.citation)}</p><ul>{gaps}</ul></details>"
    )


def _certificate(run: RunData) -> str:
    certificate = run.certificate
    if certificate is None:
        return missing("certificate", run.absent.get("certificate.json", ""))
    verified = bool(certificate.get("verified"))
    word = '<span class="good">verified</span>' if verified else '<span class="bad">NOT verified</span>'
    warning = run.absent.get("certificate")
    if warning:
        word = f'<span class="bad">{escape(warning)}</span>'
    rows: list[list[Cell]] = []
    for item in certificate.get("comparisons") or []:
        failed = item.get("failed")
        rows.append(
            [
                str(item.get("backend")),
                amount(item.get("bins")),
                str(failed) if failed else amount(item.get("mismatches")),
                "" if not item.get("first") else str(item["first"]),
            ]
        )
    text = (
        f"<p>{word}: {escape(str(certificate.get('n_samples')))} test samples of "
        f"{escape(str(certificate.get('n_steps')))} steps, each form compared "
        "with the reference simulator bin by bin.</p>"
    )
    network, given = (escape(str(certificate.get(key))) for key in ("network_sha256", "input_sha256"))
    digest = f"<p class='muted'>network <code>{network}</code><br>input <code>{given}</code></p>"
    return text + table(["form", "bins compared", "mismatches", "first"], rows, numeric=(1, 2)) + digest


def _provenance(run: RunData, report: dict[str, Any]) -> str:
    parts = []
    environment = report["environment"]
    if environment is None:
        parts.append(missing("environment"))
    else:
        rows: list[list[Cell]] = [[k, str(v)] for k, v in environment.items() if k != "versions"]
        versions = environment.get("versions") or {}
        rows.append(["versions", ", ".join(f"{k} {v}" for k, v in versions.items())])
        parts.append(table(["trained on", ""], rows))
    hashes: list[list[Cell]] = [[name, ("", f"<code>{value}</code>")] for name, value in run.hashes.items()]
    if report["network_sha256"]:
        hashes.append(["network (its integers)", ("", f"<code>{report['network_sha256']}</code>")])
    parts.append(table(["file", "SHA-256"], hashes))
    if run.config is None:
        parts.append(missing("config.toml"))
    else:
        parts.append(f"<details><summary>config.toml, resolved</summary><pre>{escape(run.config)}</pre></details>")
    if report["absent"]:
        items = "".join(f"<li>{escape(k)}: {escape(v)}</li>" for k, v in report["absent"].items())
        parts.append(f"<h3>Not in this report</h3><ul>{items}</ul>")
    return "".join(parts)
