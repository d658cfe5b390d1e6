"""Learning curves from the lines that benchmarks/results.py wrote: error and structure, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw one column per recipe: validation error above, synapses present below, dense and as the recipe develops.

    A line per seed. The other variants are left to the tables, and so are runs that change more of a recipe.
    """
    from matplotlib.figure import Figure

    shown = ("dense", "(recipe)")
    recipes = list(dict.fromkeys(line["recipe"] for line in lines))
    fewest = {name: min(len(line["settings"]) for line in lines if line["recipe"] == name) for name in recipes}
    with_curves = [
        line for line in lines
        if line["variant"].endswith(shown) and len(line["settings"]) == fewest[line["recipe"]]
    ]  # fmt: skip
    figure = Figure(figsize=(3.6 * len(recipes), 5.6), layout="constrained")
    axes = figure.subplots(2, len(recipes), squeeze=False, sharex="col", sharey="row")
    for column, recipe in enumerate(recipes):
        own = [line for line in with_curves if line["recipe"] == recipe]
        for place, variant in enumerate(sorted({line["variant"] for line in own}, key=lambda name: name != "dense")):
            curves = [line["curve"] for line in own if line["variant"] == variant]
            for row, key in enumerate(("validation_accuracy", "connection_sparsity")):
                for number, curve in enumerate(curves):
                    left = [100 * (1 - value) for value in curve[key]]
                    label = None if number else variant
                    axes[row][column].semilogy(range(1, len(left) + 1), left, lw=1.2, color=f"C{place}", label=label)
        axes[0][column].set_title(recipe)
        axes[0][column].legend(fontsize="x-small", loc="upper right")
        axes[1][column].set_xlabel("epoch")
    axes[0][0].set_ylabel("validation error, %")
    axes[0][0].set_ylim(top=300)  # room for the legends
    axes[1][0].set_ylabel("synapses present, %")
    for axis in axes.flat:
        axis.yaxis.set_major_formatter("{x:g}")
        axis.grid(which="both", lw=0.3, alpha=0.6)
    figure.savefig(path, dpi=110)
