"""`sdsnn compare`: runs side by side, and which of them no other beats in accuracy and energy at once."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdsnn_core.errors import FileError

from ..energy.types import Span, format_joules
from .build import FORMAT, KIND, NOT_RECORDED
from .charts import front
from .page import amount, micro, percent, templates
from .svg import legend


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
    data: str | None = None


def read_line(run: str | Path) -> Line:
    """Read one run's report.json, as `sdsnn report` writes it. Raises FileError if it is missing or of another kind."""
    folder = Path(run)
    path = folder / "report.json" if folder.is_dir() else folder
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        got = f"no file that can be read ({error.strerror})"
        raise FileError(f"{path}: expected a report of `sdsnn report {folder}`, got {got}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: expected JSON, got other content ({error})") from None
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("format") != FORMAT:
        raise FileError(f"{path}: expected a report of format {FORMAT}, of `sdsnn report {folder}`, got other content")
    numbers, energy = data["summary"], data["energy"]
    lists = [] if energy is None else energy["price_lists"]
    return Line(
        name=str(data["run"]),
        accuracy=numbers["test_accuracy"],
        sparsity=numbers["connection_sparsity"],
        units=numbers["units_kept"],
        synapses=numbers["synapses_kept"],
        operations=numbers["synaptic_operations_per_inference"],
        spikes=numbers["spikes_per_inference"],
        cores=numbers["cores"],
        joules={item["name"]: Span(**item["joules"]) for item in lists},
        labels={item["name"]: f"{item['label']}, {item['wording']}" for item in lists},
        verified=numbers["verified"],
        network_sha256=data["network_sha256"],
        data=numbers.get("data"),
    )


def read_lines(runs: Sequence[str | Path]) -> list[Line]:
    """Read several reports; runs of the same name are distinguished by their folders."""
    lines = [read_line(run) for run in runs]
    names = [line.name for line in lines]
    return [
        replace(line, name=str(run)) if names.count(line.name) > 1 else line
        for run, line in zip(runs, lines, strict=True)
    ]


def best_fronts(lines: Sequence[Line], prices: str) -> list[list[int]]:
    """Return a front for each data set, as they come: accuracies on other data do not compare.

    A front holds indices, by energy, of the runs that no other beats: at most as much energy and at least as accurate.
    """
    fronts: defaultdict[str | None, list[int]] = defaultdict(list)
    known = [i for i, line in enumerate(lines) if line.accuracy is not None and prices in line.joules]
    for i in sorted(known, key=lambda i: (lines[i].joules[prices].high, -(lines[i].accuracy or 0.0))):
        best = fronts[lines[i].data]
        if not best or (lines[i].accuracy or 0.0) > (lines[best[-1]].accuracy or 0.0):
            best.append(i)
    return [fronts[data] for data in dict.fromkeys(line.data for line in lines) if fronts[data]]


def compare_to_json(lines: Sequence[Line], prices: str) -> dict[str, Any]:
    """Return the comparison as data."""
    return {
        "kind": "sdsnn-comparison",
        "format": 1,
        "prices": prices,
        "fronts": [
            {"data": lines[front[0]].data, "runs": [lines[i].name for i in front]}
            for front in best_fronts(lines, prices)
        ],
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


def compare_rows(lines: Sequence[Line], prices: str) -> list[list[str]]:
    """Return the comparison as text: a row of headings, then one row for each run; a star marks the front."""
    best = {i for front in best_fronts(lines, prices) for i in front}
    headings = ["run", "data", "accuracy", "sparsity", "units", "synapses", "operations", "spikes", "cores"]
    rows = [[*headings, f"energy ({prices})", "verified"]]
    for i, line in enumerate(lines):
        energy = line.joules.get(prices)
        rows.append(
            [
                f"{line.name}{' *' if i in best else ''}",
                NOT_RECORDED if line.data is None else line.data,
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
    return rows


def compare_html(lines: Sequence[Line], prices: str) -> str:
    """Return the comparison as one self-contained page."""
    headings, *rows = compare_rows(lines, prices)
    columns = [f">{heading}" if 2 <= i < 10 else heading for i, heading in enumerate(headings)]
    shown = [i for i, line in enumerate(lines) if line.accuracy is not None and prices in line.joules]
    shown = [i for i in shown if lines[i].joules[prices].high > 0]
    drawing = colours = ""
    if shown:
        points = [(lines[i].name, lines[i].joules[prices].high * 1e6, 100 * (lines[i].accuracy or 0.0)) for i in shown]
        fronts = [[shown.index(i) for i in front if i in shown] for front in best_fronts(lines, prices)]
        x_label = f"energy per inference by {prices} (\N{MICRO SIGN}J), logarithmic"
        data = {str(lines[shown[best[0]]].data): k for k, best in enumerate(fronts) if best}
        colours = legend(data) if len(data) > 1 else ""
        drawing = front(points, x_label, "test accuracy (%)", fronts)
    return (
        templates()
        .get_template("compare.html")
        .render(
            title=f"sdsnn comparison of {len(lines)} run{'' if len(lines) == 1 else 's'}",
            columns=columns,
            rows=[[micro(cell) for cell in row] for row in rows],
            colours=colours,
            drawing=drawing,
        )
    )
