"""The frontier figure of the README: test accuracy against synapses stored, a panel per data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plan import STUDIES
from .rows import ALONE, SPINES

Line = dict[str, Any]
FIGURE = Path(__file__).parents[2] / "docs" / "frontier.png"
CHIP_FIGURE = FIGURE.with_name("chip_frontier.png")
LIMITS = {  # of the studies "chip NAME": title, and what was measured on the test split
    "cores": ("cores", lambda r: r["cores"]),
    "busiest": ("events of the busiest core per step", lambda r: r["step"]["busiest"]),
    "energy": ("events and traffic, nJ per step", lambda r: 1e9 * r["step"]["joules"]),
}
CHIP_PANELS = {
    "chip digits": "digits",
    "chip mnist_fc": "MNIST, one hidden layer",
    "chip mnist_conv": "MNIST, convolutions",
    "chip nmnist": "N-MNIST, 1,000 recordings",
}
CHOSEN = {"per cost": "per cost on the chip", ALONE: "magnitude stage", SPINES: "SD-SNN's units, then the stage"}
PANELS = {
    "digits": ("digits", "adaptive digits"),
    "Ev-Objects (touch)": ("ev_objects", "adaptive ev_objects"),
    "MNIST, one hidden layer, 8 or 24 epochs": ("mnist_fc", "mnist_fc widths", "mnist_fc longer", "adaptive mnist_fc"),
    "MNIST, convolutions, 10 or 20 epochs": ("mnist_conv", "mnist_conv longer"),
}
FAMILIES = {
    "dense": ("dense", "o"),
    "small dense": ("small dense", "s"),
    "magnitude stage": ("magnitude stage", "^"),
    "adaptive": ("adaptive: no target", "D"),
    "wide": ("magnitude stage, wider layer", "<"),
    "14,000": ("magnitude stage, 24 epochs, deformed", "P"),
    "10 ": ("magnitude stage, ten neurons per class", ">"),
    "units": ("unit pruning (SD-SNN)", "v"),
}


def draw(lines: Sequence[Line], path: Path = FIGURE) -> None:
    """Draw mean and standard deviation over seeds of each row of the plan; rows of one family share a mark."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axis, (title, studies) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for place, (prefix, (label, marker)) in enumerate(FAMILIES.items()):
            rows = [(study, row) for study in studies for row in STUDIES[study].rows if row.startswith(prefix)]
            shown = [(study, row) for study, row in rows if row != "dense" or study == studies[0]]
            points = [point for study, row in shown if (point := _point(lines, study, row))]
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
        axis.set_ylabel("test accuracy, %", fontsize=8)
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
    """Draw accuracy against what each limit of a chip limits: filled where it was set, hollow where another was."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    studies = [name for name in CHIP_PANELS if any(r.get("study") == name for r in lines)]
    figure = Figure(figsize=(11, 2.8 * len(studies)), layout="constrained")
    grid = figure.subplots(len(studies), len(LIMITS), squeeze=False, sharey="row")
    for axes, study in zip(grid, studies, strict=True):
        own = [r for r in lines if r.get("study") == study]
        for axis, (limit, (title, value)) in zip(axes, LIMITS.items(), strict=True):
            for place, chosen in enumerate(("per cost", ALONE, SPINES)):
                rows = [row for row in STUDIES[study].rows if row.endswith(f": {chosen}")]
                label = CHOSEN[chosen]
                for row in sorted(rows, key=lambda row: not row.startswith(limit)):
                    group = [r for r in own if r["row"] == row]
                    if not group:
                        continue
                    x = statistics.mean(value(r) for r in group)
                    y, error = _mean_and_deviation([100 * r["test"] for r in group])
                    fill = f"C{place}" if row.startswith(limit) else "none"
                    axis.errorbar(
                        x, y, error, fmt="os^"[place], color=f"C{place}", mfc=fill, ms=5, lw=1, capsize=2, label=label
                    )
                    label = None
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=limit == "cores"))
            axis.set_xlabel(title, fontsize=8)
            axis.grid(lw=0.3, alpha=0.6)
            axis.tick_params(labelsize=8)
        axes[0].set_ylabel(f"{CHIP_PANELS[study]}\ntest accuracy, %", fontsize=8)
        axes[0].legend(fontsize="x-small", loc="lower right")
    figure.savefig(path, dpi=110)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
