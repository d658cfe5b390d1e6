"""The frontier figure of the README: test accuracy against synapses stored, a panel per data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plan import STUDIES

Line = dict[str, Any]
FIGURE = Path(__file__).parents[2] / "docs" / "frontier.png"
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
    deviation = statistics.stdev(tests) if len(tests) > 1 else 0.0
    cores = statistics.mean(r["cores"] or float("nan") for r in own)
    return statistics.mean(r["synapses"] for r in own), statistics.mean(tests), deviation, cores
