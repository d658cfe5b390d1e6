"""The Markdown tables of docs/results.md, from the lines that benchmarks/results.py wrote."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from results_variants import SUITES

Line = dict[str, Any]


def accuracy(line: Line) -> float:
    """Return the test accuracy in percent."""
    return float(100 * line["test_right"] / line["test_samples"])


COLUMNS: dict[str, tuple[Callable[[Line], float], str]] = {
    "test accuracy, %": (accuracy, "{:.2f}"),
    "synapses absent, %": (lambda r: 100 * r["connection_sparsity"], "{:.1f}"),
    "after compaction, %": (lambda r: 100 * (1 - r["weights_stored"] / r["weights"]), "{:.1f}"),
    "hidden units removed, %": (lambda r: 100 * (1 - r["units_kept"] / r["units"]), "{:.1f}"),
    "synaptic operations": (lambda r: r["synaptic_operations"], "{:,.0f}"),
    "synapse memory, KiB": (lambda r: r["synapse_bytes"] / 1024, "{:.1f}"),
    "regrown": (lambda r: r["regrown"], "{:,.0f}"),
}


def tables(lines: Sequence[Line]) -> str:
    """Return one table per recipe and set of settings: a variant per row, mean and deviation over the seeds."""
    parts = []
    for recipe, variants in SUITES.items():
        settings = sorted({tuple(r["settings"]) for r in lines if r["recipe"] == recipe})
        for chosen in settings:
            own = [r for r in lines if r["recipe"] == recipe and tuple(r["settings"]) == chosen]
            parts.append(_table(recipe, chosen, own, list(variants)))
    return "\n\n".join(parts)


def _table(recipe: str, settings: Sequence[str], lines: Sequence[Line], variants: Sequence[str]) -> str:
    title = f"### {recipe}" + (f", {', '.join(settings)}" if settings else "")
    rows = [title, "", "| variant | seeds | against dense, points | " + " | ".join(COLUMNS) + " |"]
    rows.append("|---" * (len(COLUMNS) + 3) + "|")
    dense = {r["seed"]: accuracy(r) for r in lines if r["variant"] == "dense"}
    for variant in variants:
        own = sorted((r for r in lines if r["variant"] == variant), key=lambda r: int(r["seed"]))
        if not own:
            continue
        against = [accuracy(r) - dense[r["seed"]] for r in own if r["seed"] in dense]
        cells = [variant, _seeds([r["seed"] for r in own])]
        cells.append("-" if variant == "dense" or not against else _spread(against, "{:+.2f}", "{:.2f}"))
        cells += [_spread([value(r) for r in own], form, form) for value, form in COLUMNS.values()]
        rows.append("| " + " | ".join(cells) + " |")
    dates = sorted({r["date"] for r in lines})
    bins, differ = (sum(r[key] for r in lines) for key in ("bins_compared", "bins_differ"))
    samples = ", ".join(str(n) for n in sorted({r["test_samples"] for r in lines}))
    rows += ["", f"{', '.join(dates)}; {lines[0]['machine']}; {lines[0]['epochs']} epochs; {samples} test samples. "
             f"Masked against compacted networks: {differ:,} of {bins:,} bins differ."]  # fmt: skip
    return "\n".join(rows)


def _seeds(seeds: Sequence[int]) -> str:
    full = list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 and list(seeds) == full else ", ".join(map(str, seeds))


def _spread(values: Sequence[float], form: str, deviation: str) -> str:
    mean = form.format(statistics.mean(values))
    return f"{mean} ± {deviation.format(statistics.stdev(values))}" if len(values) > 1 else mean
