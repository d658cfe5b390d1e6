"""The report as one self-contained page: no script, no font, no file and no address that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..energy.result import EnergyReport
from ..energy.types import Span
from ..placement.explain import PlacementReport
from .build import NOT_RECORDED, RASTER_STEPS
from .charts import matrix
from .cost import energy_section, placement_section
from .parts import Cell, amount, columns, figure, joules, missing, page, percent, section, table
from .run_data import RunData
from .svg import line_chart, raster


def render(run: RunData, report: dict[str, Any], energy: EnergyReport | None, placement: PlacementReport | None) -> str:
    """Return the page of one run."""
    title = f"sdsnn report: {run.path.resolve().name}"
    environment = report["environment"] or {}
    made = f"made {report['made']} by sdsnn {report['sdsnn']}"
    trained = f"; trained {environment['started']}, seed {environment.get('seed')}" if "started" in environment else ""
    header = f'<h1>{escape(title)}</h1><p class="sub">{escape(made + trained)}</p>{_tiles(report)}'
    body = "".join(
        [
            section("Accuracy", _accuracy(run, report)),
            section("Structure over training", _structure(report)),
            section("Before and after", _before_after(report)),
            section("Activity", _activity(run, report)),
            section("Placement", placement_section(run, placement)),
            section("Energy and time", energy_section(run, energy)),
            *([section("Measured on hardware", _measured(report["loihi2"]))] if run.measured else []),
            section("Certificate", _certificate(run)),
            section("Provenance", _provenance(run, report)),
        ]
    )
    footer = (
        "<p>Everything on this page is in report.json beside it, under documented keys. Joules are estimates from "
        "published prices, not measurements, unless they say 'measured'.</p>"
    )
    return page(title, header, body, footer)


def _tiles(report: dict[str, Any]) -> str:
    numbers, placed = report["summary"], report["placement"]
    energy, verified, sparsity = numbers["energy_j"], numbers["verified"], numbers["connection_sparsity"]
    tiles: list[tuple[str, str]] = [
        (percent(numbers["test_accuracy"]), "test accuracy of the exported network"),
        (NOT_RECORDED if sparsity is None else f"{sparsity:.1%}", "of the synapses pruned"),
        (NOT_RECORDED if numbers["cores"] is None else amount(numbers["cores"]), "cores used"),
        (
            NOT_RECORDED if energy is None else joules(Span(energy["low"], energy["high"])),
            "per inference" if energy is None else f"per inference, {energy['label']}, {energy['wording']}",
        ),
        (
            NOT_RECORDED if verified is None else "verified" if verified else "NOT verified",
            "same spikes on every back end"
            if verified is None
            else f"in {amount(numbers['bins_compared'])} bins compared",
        ),
    ]
    if placed is not None:
        tiles[2] = (tiles[2][0] if placed["fits"] else "does not fit", f"cores of {placed['chip']}")
    kinds = {"NOT verified": "bad", "verified": "good", "does not fit": "bad", NOT_RECORDED: "none"}
    cells = (
        f'<div class="tile"><b class="{kinds.get(value, "")}">{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _accuracy(run: RunData, report: dict[str, Any]) -> str:
    numbers, bench = report["summary"], report["neurobench"]
    samples = numbers["test_samples"]
    epoch = "" if numbers["epoch"] is None else f" (epoch {numbers['epoch']})"
    rows: list[list[Cell]] = [
        ["exported network, test split", percent(numbers["test_accuracy"]), amount(samples)],
        ["SLAYER model, test split", percent(numbers["test_accuracy_before_export"]), amount(samples)],
        [f"SLAYER model, validation split, which chose the epoch{epoch}", percent(numbers["validation_accuracy"]), ""],
    ]
    left = table(["", "accuracy", "samples"], rows, numeric=(1, 2))
    if (span := numbers["test_accuracy_interval"]) is not None:
        left += (
            f'<p class="muted">95 % interval of the exported network\'s accuracy, from the number of test samples '
            f"alone (Wilson): {span['low']:.1%} to {span['high']:.1%}.</p>"
        )
    if run.silent:
        left += (
            f"<p>The output was silent in {amount(run.silent)} of {amount(run.tested)} test samples "
            f"({run.silent / run.tested:.2%}): they have no class and count as wrong.</p>"
        )
    if bench is not None:
        left += "<h3>NeuroBench metrics</h3>" + table(["metric", "value"], _neurobench_rows(bench), numeric=(1,))
        left += (
            '<p class="muted">Operations are per sample, summed over its steps. Footprint is of the exported network, '
            "8-bit weights in full matrices. ConnectionSparsity is of the network before units were removed.</p>"
        )
    if run.confusion is None:
        return columns(left, missing("confusion matrix", run.absent.get("activity", "")))
    caption = (
        f"Confusion over {amount(int(run.confusion.sum()))} test samples, in samples; shade is the share of a row."
    )
    return columns(left, figure(matrix(run.confusion), caption))


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
    numbers = report["structure"]
    if numbers is None:
        return missing("history", report["absent"].get("history.jsonl", ""))
    layers, chosen = numbers["layers"], report["summary"]["epoch"]
    absent = [None if share is None else 100 * share for share in numbers["connection_sparsity"]]
    alive, synapses = ({name: layer[key] for name, layer in layers.items()} for key in ("alive_units", "synapses"))
    accuracies = {"training": numbers["train_accuracy"], "validation": numbers["validation_accuracy"]}

    known = sorted(v for v in numbers["validation_accuracy"] if v is not None)
    least = known[len(known) // 2] - 0.1 if known else 0.0
    late = [None if v is None or v < least else v for v in numbers["validation_accuracy"]]
    zoomed: dict[str, Any] = {"scale": 100, "y_range": (100 * max(least, known[0]), 100 * known[-1])} if known else {}

    def over_epochs(series: Mapping[str, Sequence[float | None]], label: str, caption: str, **options: Any) -> str:
        return figure(line_chart(numbers["epoch"], series, "epoch", label, mark=chosen, **options), caption)

    plots = [
        over_epochs(accuracies, "accuracy (%)", "Accuracy.", scale=100, y_range=(0, 100)),
        over_epochs({"loss": numbers["loss"]}, "loss (mean per sample)", "Training loss."),
        over_epochs(alive, "units alive (neurons or channels)", "Units alive in each layer."),
        over_epochs(synapses, "synapses present", "Synapses present in each layer, a convolution's kernel once."),
        over_epochs(
            {"operations": numbers["synaptic_operations"]},
            "synaptic operations (per inference)",
            "Synaptic operations of one inference, mean over the validation split.",
        ),
        figure(
            line_chart(absent, {"validation": late}, "absent synapses (% of dense)", "accuracy (%)", **zoomed),
            "Validation accuracy against sparsity, epoch by epoch; epochs far below the median are left out.",
        ),
    ]
    note = "" if chosen is None else f'<p class="muted">Dashed: epoch {chosen}, chosen on the validation split.</p>'
    return columns(*plots) + note


def _before_after(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = []
    for row in report["before_after"]:
        before, after = row["before"], row["after"]
        saved = f"{1 - after / before:.1%}" if before and after is not None else ""
        if row["unit"].startswith("J"):
            shown = [NOT_RECORDED if v is None else joules(Span(v, v)) for v in (before, after)]
            rows.append([f"{row['quantity']} (per inference)", *shown, saved])
        else:
            name = row["quantity"] if row["unit"] == row["quantity"] else f"{row['quantity']} ({row['unit']})"
            rows.append([name, amount(before), amount(after), saved])
    if not rows:
        return missing("before and after", report["absent"].get("network.nir", ""))
    note = (
        '<p class="muted">Before: the same layers with every unit and synapse, weights of 8 bits. Its operations and '
        "energy assume the same spikes on full matrices, with removed units silent: a lower bound.</p>"
    )
    return table(["quantity", "before pruning", "exported", "saved"], rows, numeric=(1, 2, 3)) + note


def _certificate(run: RunData) -> str:
    certificate = run.certificate
    if certificate is None:
        return missing("certificate", run.absent.get("certificate.json", ""))
    verified = bool(certificate.get("verified"))
    word = '<span class="good">verified</span>' if verified else '<span class="bad">NOT verified</span>'
    rows: list[list[Cell]] = []
    for item in certificate.get("comparisons") or []:
        failed = item.get("failed")
        mismatches = str(failed) if failed else amount(item.get("mismatches"))
        rows.append([str(item.get("backend")), amount(item.get("bins")), mismatches, str(item.get("first") or "")])
    text = (
        f"<p>{word}: {escape(str(certificate.get('n_samples')))} test samples of "
        f"{escape(str(certificate.get('n_steps')))} steps, each form compared "
        "with the reference simulator bin by bin.</p>"
    )
    network, spikes = (escape(str(certificate.get(key))) for key in ("network_sha256", "input_sha256"))
    digest = f"<p class='muted'>network <code>{network}</code><br>input <code>{spikes}</code></p>"
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


def _activity(run: RunData, report: dict[str, Any]) -> str:
    """Return rates per layer, every spike of one sample, and rates over the steps."""
    activity = report["activity"]
    if activity is None:
        return missing("activity", run.absent.get("activity", ""))
    nodes, steps = activity["nodes"], min(activity["n_steps"], RASTER_STEPS)
    rows: list[list[Cell]] = [
        [
            name,
            amount(node["size"]),
            amount(round(node["spikes_per_sample"], 1)),
            f"{node['rate_per_step']:.4f}",
            f"{node['rate_quantiles']['0.5']:.3f}",
            f"{node['rate_quantiles']['1.0']:.3f}",
            amount(node["silent_units"]),
        ]
        for name, node in nodes.items()
    ]
    headings = ["layer", "units", "spikes per sample", "mean rate", "median unit", "busiest unit", "silent units"]
    note = (
        f"{amount(activity['n_samples'])} test samples of {activity['n_steps']} steps of "
        f"{activity['dt_s'] * 1e3:g} ms. "
        "Rates are spikes per unit and step; a silent unit did not spike in any of the samples."
    )
    layers = {
        name: (node["size"], node["raster_of_sample_0"]) for name, node in nodes.items() if "raster_of_sample_0" in node
    }
    some = any(node.get("raster_units", node["size"]) < node["size"] for node in nodes.values())
    caption = f"Spikes of one sample, first {steps} steps." if steps < activity["n_steps"] else "Spikes of one sample."
    drawn = figure(
        raster(layers, steps, activity["dt_s"]), caption + (" Of large layers, a spread of units." if some else "")
    )
    over_time: dict[str, Sequence[float | None]] = {name: node["rate_of_step"][:steps] for name, node in nodes.items()}
    chart = figure(
        line_chart(list(range(steps)), over_time, "step", "rate (spikes per unit and step)"),
        f"Rate over the steps, mean of {amount(activity['n_samples'])} samples.",
    )
    return f"{table(headings, rows, numeric=range(1, 7))}<p class='muted'>{escape(note)}</p>{columns(drawn, chart)}"


def _measured(loihi2: dict[str, Any]) -> str:
    """Return every number that the probes of the chip measured."""
    rows: list[list[Cell]] = []
    for probe, values in loihi2.items():
        if values is None or values.get("grade") != "measured":
            continue
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rows.append([probe, name, f"{value:.6g}"])
            elif isinstance(value, list) and value:
                mean = sum(value) / len(value)
                rows.append([probe, name, f"mean {mean:.4g}, highest {max(value):.4g}, of {len(value)}"])
    note = "Powers are in watts, times in microseconds, as the probes return them."
    return table(["probe", "quantity", "value"], rows, numeric=(2,)) + f'<p class="muted">{note}</p>'
