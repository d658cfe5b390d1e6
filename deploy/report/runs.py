"""Sections of the page: rates and spikes of every layer, and measurements on hardware."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from .build import RASTER_STEPS
from .parts import Cell, amount, columns, figure, missing, table
from .run_data import RunData
from .svg import line_chart, raster


def activity_section(run: RunData, report: dict[str, Any]) -> str:
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


def measured_section(loihi2: dict[str, Any]) -> str:
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
