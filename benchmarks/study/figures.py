"""The frontier figure of the README: test accuracy against synapses stored, a panel per data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plan import ALONE, STUDIES

Line = dict[str, Any]
FIGURE = Path(__file__).parents[2] / "docs" / "frontier.png"
CHIP_FIGURE = FIGURE.with_name("chip_frontier.png")
LIMITS = {  # of the study "chip digits": title, and what was measured on the test split
    "cores": ("cores", lambda r: r["cores"]),
    "busiest": ("events of the busiest core per step", lambda r: r["step"]["busiest"]),
    "energy": ("events and traffic, nJ per step", lambda r: 1e9 * r["step"]["joules"]),
}
PANELS = {"digits": "digits", "ev_objects": "Ev-Objects (touch)", "mnist_fc": "MNIST, one hidden layer"}
FAMILIES = {
    "dense": ("dense", "o"),
    "small dense": ("small dense", "s"),
    "magnitude stage": ("magnitude stage", "^"),
    "adaptive": ("adaptive: no target", "D"),
    "units": ("unit pruning (SD-SNN)", "v"),
}


def draw(lines: Sequence[Line], path: Path = FIGURE) -> None:
    """Draw mean and standard deviation over seeds of each row of the plan; rows of one family share a mark."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axis, (study, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for place, (prefix, (label, marker)) in enumerate(FAMILIES.items()):
            points = [
                point for row in STUDIES[study].rows if row.startswith(prefix) and (point := _point(lines, study, row))
            ]
            if points:
                x, y, error, cores = zip(*sorted(points), strict=True)
                axis.errorbar(x, y, error, fmt=marker, color=f"C{place}", ms=6, lw=1, capsize=2, label=label)
                for left, top, number in zip(x, y, cores, strict=True):
                    axis.annotate(f"{number:.0f}", (left, top), fontsize=6, xytext=(4, 4), textcoords="offset points")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_minor_formatter("")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("synapses stored (number: cores on Loihi 2)", fontsize=8)
        axis.grid(which="both", lw=0.3, alpha=0.6)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize="x-small", loc="lower right")
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.savefig(path, dpi=110)


def _point(lines: Sequence[Line], study: str, row: str) -> tuple[float, float, float, float] | None:
    """Return mean synapses, mean accuracy and its deviation, and mean cores of a row; None if it was not run."""
    own = [r for r in lines if r.get("study") == study and r["row"] == row]
    if not own:
        return None
    tests = [100 * r["test"] for r in own]
    mean, deviation = _mean_and_deviation(tests)
    cores = statistics.mean(r["cores"] or float("nan") for r in own)
    return statistics.mean(r["synapses"] for r in own), mean, deviation, cores


def draw_chip(lines: Sequence[Line], path: Path = CHIP_FIGURE) -> None:
    """Draw accuracy against what each limit of a chip limits, chosen by cost and by magnitude alone."""
    from matplotlib.figure import Figure

    own = [r for r in lines if r.get("study") == "chip digits"]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axis, (limit, (title, value)) in zip(figure.subplots(1, len(LIMITS), sharey=True), LIMITS.items(), strict=True):
        for place, chosen in enumerate(("per cost", ALONE)):
            rows = {r["row"] for r in own if r["row"].startswith(limit) and r["row"].endswith(chosen)}
            groups = [[r for r in own if r["row"] == row] for row in rows]
            points = sorted(
                (statistics.mean(value(r) for r in group), *_mean_and_deviation([100 * r["test"] for r in group]))
                for group in groups
            )
            if points:
                x, y, error = zip(*points, strict=True)
                axis.errorbar(
                    x, y, error, fmt="os"[place] + "-", color=f"C{place}", ms=5, lw=1, capsize=2, label=chosen
                )
        axis.set_xlabel(title, fontsize=8)
        axis.grid(lw=0.3, alpha=0.6)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize="x-small", loc="lower right")
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.savefig(path, dpi=110)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
