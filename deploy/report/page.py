"""The report as one self-contained page: no script, no font, no file and no address that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..energy.result import EnergyReport
from ..energy.types import Span
from ..placement.explain import PlacementReport
from .build import NOT_RECORDED
from .charts import matrix
from .cost import energy_section, placement_section
from .parts import Cell, amount, columns, figure, joules, missing, page, percent, section, table
from .run_data import RunData
from .runs import activity_section, measured_section
from .svg import line_chart


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
            section("Activity", activity_section(run, report)),
            section("Placement", placement_section(run, placement)),
            section("Energy and time", energy_section(run, energy)),
            *([section("Measured on hardware", measured_section(report["loihi2"]))] if run.measured else []),
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
        over_epochs(
            {name: layer["alive_units"] for name, layer in layers.items()},
            "units alive (neurons or channels)",
            "Units alive in each layer.",
        ),
        over_epochs(
            {name: layer["synapses"] for name, layer in layers.items()},
            "synapses present",
            "Synapses present in each layer, a convolution's kernel once.",
        ),
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
