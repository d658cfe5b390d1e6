"""Pictures of a run, from its history: structure over time, survival per layer, accuracy against sparsity.

structure.png   synapses present per layer, units alive per layer, synaptic operations per inference, accuracy
survival.png    units and synapses left in each layer at the chosen epoch
accuracy.png    validation accuracy against absent synapses, one point per epoch
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdsnn_core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = dict[str, Any]
NAMES = ("structure.png", "survival.png", "accuracy.png")


def write_plots(folder: Path, history: Sequence[Line], chosen: int | None = None) -> list[Path]:
    """Draw a run's history into its folder; return the files written, none for a history without epochs.

    chosen: the epoch that validation chose. Raises FileError where the folder cannot be written.
    """
    if not history:
        return []
    last = len(history) - 1 if chosen is None else min(chosen, len(history) - 1)
    figures = (structure(history, chosen), survival(history[last]), against_sparsity(history, chosen))
    paths = [folder / name for name in NAMES]
    for path, figure in zip(paths, figures, strict=True):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    return paths


def structure(history: Sequence[Line], chosen: int | None = None) -> Figure:
    """Draw what is there in every epoch, and what it costs and is worth."""
    figure = _figure(8.0, 9.0)
    axes: Sequence[Axes] = figure.subplots(4, 1, sharex=True)
    epochs = [line["epoch"] for line in history]
    names = [_name(layer) for layer in history[-1]["layers"]]
    for place, name in enumerate(names):
        layers = [line["layers"][place] for line in history]
        axes[0].plot(epochs, [_share(layer, "synapses") for layer in layers], label=name)
        axes[1].plot(epochs, [100 * layer["alive_units"] / layer["units"] for layer in layers], label=name)
    axes[0].plot(epochs, [100 * (1 - line["connection_sparsity"]) for line in history], "k--", label="all")
    axes[0].set_ylabel("synapses present\n(% of dense)")
    axes[1].set_ylabel("units alive\n(% of all)")
    operations = [sum(line.get("synaptic_operations") or [float("nan")]) for line in history]
    axes[2].plot(epochs, operations, color="tab:purple")
    axes[2].set_ylabel("synaptic operations\n(per inference)")
    for key, label, style in (("train_accuracy", "training", ":"), ("validation_accuracy", "validation", "-")):
        axes[3].plot(epochs, [100 * line[key] for line in history], style, color="tab:green", label=label)
    axes[3].set_ylabel("accuracy (%)")
    axes[3].set_xlabel("epoch")
    for axis in (axes[0], axes[1], axes[2]):
        axis.set_ylim(bottom=0)
    for axis in axes:
        axis.grid(alpha=0.3)
        if chosen is not None:
            axis.axvline(chosen, color="grey", linewidth=0.8, linestyle="-.")
    for axis in (axes[0], axes[1], axes[3]):
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    told = "" if chosen is None else f"; dash-dotted: epoch {chosen}, chosen on validation"
    figure.suptitle(f"Structure over {len(history)} epochs{told}", fontsize=10)
    return figure


def survival(line: Line) -> Figure:
    """Draw the share of units and of synapses that each layer has left in one epoch."""
    layers = line["layers"]
    figure = _figure(max(5.0, 1.5 + 1.3 * len(layers)), 4.0)
    axis: Axes = figure.subplots()
    bars = (
        ("units alive", [100 * layer["alive_units"] / layer["units"] for layer in layers], "alive_units"),
        ("synapses present", [_share(layer, "synapses") for layer in layers], "synapses"),
    )
    for place, (label, values, key) in enumerate(bars):
        at = [index + 0.4 * (place - 0.5) for index in range(len(layers))]
        drawn = axis.bar(at, values, 0.38, label=label)
        axis.bar_label(drawn, [f"{layer[key]:,}" for layer in layers], fontsize=7, padding=1)
    axis.set_xticks(range(len(layers)), [_name(layer) for layer in layers])
    axis.set_ylabel("left (% of dense; number above)")
    axis.set_ylim(0, 110)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=8)
    figure.suptitle(f"Survival per layer in epoch {line['epoch']}", fontsize=10)
    return figure


def against_sparsity(history: Sequence[Line], chosen: int | None = None) -> Figure:
    """Draw validation accuracy against the share of absent synapses, epochs by colour."""
    figure = _figure(6.5, 4.5)
    axis: Axes = figure.subplots()
    sparsity = [100 * line["connection_sparsity"] for line in history]
    accuracy = [100 * line["validation_accuracy"] for line in history]
    axis.plot(sparsity, accuracy, color="grey", linewidth=0.6, zorder=1)
    dots = axis.scatter(sparsity, accuracy, c=[line["epoch"] for line in history], cmap="viridis", s=22, zorder=2)
    figure.colorbar(dots, ax=axis).set_label("epoch")
    if chosen is not None and chosen < len(history):
        axis.plot(sparsity[chosen], accuracy[chosen], "r*", markersize=14, label=f"chosen: epoch {chosen}", zorder=3)
        axis.legend(loc="lower left", fontsize=8)
    # The first epochs know nothing yet: leave what lies far below the median out of sight.
    middle = sorted(accuracy)[len(accuracy) // 2]
    axis.set_ylim(bottom=max(min(accuracy), middle - 3 * (max(accuracy) - middle) - 5) - 0.5)
    axis.set_xlabel("absent synapses (% of dense)")
    axis.set_ylabel("validation accuracy (%)")
    axis.grid(alpha=0.3)
    figure.suptitle("Accuracy against sparsity", fontsize=10)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    return Figure(figsize=(width, height), layout="constrained")


def _name(layer: Line) -> str:
    return f"{layer['kind']} {str(layer['layer']).removeprefix('blocks.')}"


def _share(layer: Line, key: str) -> float:
    return float(100 * layer[key] / max(1, layer["synapses"] + layer["absent"]))
