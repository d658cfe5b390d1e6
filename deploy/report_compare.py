"""`sdsnn compare`: runs side by side, and which of them no other beats in accuracy and energy at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from sdsnn_core.errors import FileError

from .energy import format_joules
from .energy_counts import Span
from .report_build import FORMAT, NOT_RECORDED
from .report_html import Cell, amount, missing, page, percent, section, table
from .report_svg import front


@dataclass(frozen=True)
class Line:
    """One run in a comparison; None where it did not record a number. joules: by the named list."""

    name: str
    accuracy: float | None
    sparsity: float | None
    units: int | None
    synapses: int | None
    operations: float | None
    spikes: float | None
    cores: int | None
    joules: dict[str, Span]
    labels: dict[str, str]
    verified: bool | None
    network_sha256: str | None


def read_line(run: str | Path) -> Line:
    """Read one run's report.json, as `sdsnn report` writes it. Raises FileError if it is missing or of another kind."""
    folder = Path(run)
    path = folder / "report.json" if folder.is_dir() else folder
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); `sdsnn report {folder}` makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(data, dict) or data.get("kind") != "sdsnn-report" or data.get("format") != FORMAT:
        raise FileError(f"{path}: is not a report of format {FORMAT}; `sdsnn report {folder}` makes it")
    bench, energy, placed = data["neurobench"] or {}, data["energy"], data["placement"]
    rows = {row["quantity"]: row["after"] for row in data["before_after"]}
    units = [int(v) for name, v in rows.items() if name.startswith("units in ")]
    operations = bench.get("SynapticOperations")
    activity = data["activity"]
    return Line(
        name=str(path.parent.resolve().name),
        accuracy=data["accuracy"]["test"],
        sparsity=bench.get("ConnectionSparsity"),
        units=sum(units) if units else None,
        synapses=rows.get("synapses"),
        operations=None if not operations else operations["Effective_MACs"] + operations["Effective_ACs"],
        spikes=None if activity is None else _spikes(activity, data),
        cores=None if placed is None or not placed["fits"] else placed["cores"],
        joules={} if energy is None else {i["name"]: Span(**i["joules"]) for i in energy["price_lists"]},
        labels={} if energy is None else {i["name"]: f"{i['label']}, {i['wording']}" for i in energy["price_lists"]},
        verified=None if data["certificate"] is None else bool(data["certificate"].get("verified")),
        network_sha256=data["network_sha256"],
    )


def _spikes(activity: dict[str, Any], data: dict[str, Any]) -> float:
    populations = {row["quantity"].removeprefix("units in ") for row in data["before_after"]}
    return sum(float(n["spikes_per_sample"]) for name, n in activity["nodes"].items() if name in populations)


def best_front(lines: Sequence[Line], prices: str) -> list[int]:
    """Return indices, by energy, of the runs that no other beats: at most as much energy and at least as accurate."""
    known = [i for i, line in enumerate(lines) if line.accuracy is not None and prices in line.joules]
    known.sort(key=lambda i: (lines[i].joules[prices].high, -(lines[i].accuracy or 0.0)))
    best: list[int] = []
    for i in known:
        if not best or (lines[i].accuracy or 0.0) > (lines[best[-1]].accuracy or 0.0):
            best.append(i)
    return best


def compare_to_json(lines: Sequence[Line], prices: str) -> dict[str, Any]:
    """Return the comparison as data."""
    return {
        "kind": "sdsnn-comparison",
        "format": 1,
        "prices": prices,
        "front": [lines[i].name for i in best_front(lines, prices)],
        "runs": [
            {
                **{key: value for key, value in vars(line).items() if key not in ("joules", "labels")},
                "energy_j": {
                    n: {"low": s.low, "high": s.high, "label": line.labels[n]} for n, s in line.joules.items()
                },
            }
            for line in lines
        ],
    }


def compare_rows(lines: Sequence[Line], prices: str) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of the comparison as text; the front is marked with a star."""
    best = set(best_front(lines, prices))
    headings = ["run", "accuracy", "sparsity", "units", "synapses", "operations", "spikes", "cores"]
    headings += [f"energy ({prices})", "verified"]
    rows = []
    for i, line in enumerate(lines):
        energy = line.joules.get(prices)
        rows.append(
            [
                f"{line.name}{' *' if i in best else ''}",
                percent(line.accuracy),
                percent(line.sparsity),
                amount(line.units),
                amount(line.synapses),
                amount(None if line.operations is None else round(line.operations)),
                amount(None if line.spikes is None else round(line.spikes)),
                amount(line.cores),
                NOT_RECORDED if energy is None else f"{format_joules(energy)} ({line.labels[prices]})",
                NOT_RECORDED if line.verified is None else ("yes" if line.verified else "NO"),
            ]
        )
    return headings, rows


def compare_html(lines: Sequence[Line], prices: str) -> str:
    """Return the comparison as one self-contained page."""
    headings, rows = compare_rows(lines, prices)
    cells: list[list[Cell]] = [list(row) for row in rows]
    shown = [i for i, line in enumerate(lines) if line.accuracy is not None and prices in line.joules]
    shown = [i for i in shown if lines[i].joules[prices].high > 0]
    drawing = missing("accuracy against energy")
    if shown:
        points = [(lines[i].name, lines[i].joules[prices].high * 1e9, lines[i].accuracy or 0.0) for i in shown]
        best = [shown.index(i) for i in best_front(lines, prices) if i in shown]
        drawing = front(points, f"energy per inference by {prices} (nJ), logarithmic", "test accuracy (share)", best)
        drawing = (
            f"<figure>{drawing}<figcaption>Runs on the line are beaten by no other run in both.</figcaption></figure>"
        )
    body = section("Runs", table(headings, cells, numeric=range(1, 9))) + section("Accuracy against energy", drawing)
    title = f"sdsnn comparison of {len(lines)} runs"
    return page(title, f"<h1>{escape(title)}</h1>", body, "<p>* on the front</p>")
