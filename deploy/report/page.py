"""The report as one self-contained page, from templates: no script, no font, no file and no address that it needs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from ..energy.prices import TERMS
from ..energy.result import EnergyReport
from ..energy.types import Span, format_joules
from ..placement.chip import RESOURCES
from ..placement.explain import PlacementReport
from ..placement.text import placement_lines
from .build import NOT_RECORDED, RASTER_STEPS, rates
from .charts import line_chart, matrix, ranges, raster
from .cores import core_map, cores
from .graph import network_graph
from .picture import write_picture
from .run_data import RunData
from .svg import legend

if TYPE_CHECKING:
    from jinja2 import Environment


@functools.cache
def templates() -> Environment:
    """Return the templates, with the filters that write numbers."""
    from jinja2 import Environment, FileSystemLoader

    folder = Path(__file__).parents[1] / "templates"
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    numbers = {"amount": amount, "joules": joules, "micro": micro, "percent": percent}
    environment.filters |= {**numbers, "span": lambda span: f"{span:.3g}"}
    drawings = (
        *(activity_charts, core_map, cores, energy_bars, legend, network_graph, placement_lines, structure_charts),
    )
    environment.globals |= {"RESOURCES": RESOURCES, "TERMS": TERMS, **{each.__name__: each for each in drawings}}
    return environment


def render(run: RunData, report: dict[str, Any], energy: EnergyReport | None, placement: PlacementReport | None) -> str:
    """Return the page of one run."""
    return (
        templates()
        .get_template("report.html")
        .render(
            title=f"sdsnn report: {run.path.resolve().name}",
            run=run,
            report=report,
            energy=energy,
            placement=placement,
            confusion=None if run.confusion is None else matrix(run.confusion),
        )
    )


def percent(value: float | None, digits: int = 2) -> str:
    """Return a share as percent, or 'not recorded'."""
    return NOT_RECORDED if value is None else f"{value:.{digits}%}"


def amount(value: float | None) -> str:
    """Return a count with separators, or 'not recorded'."""
    if value is None:
        return NOT_RECORDED
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.3g}"


def joules(value: Span | float | None) -> str:
    """Return joules with a fitting prefix, as the page writes it, or 'not recorded'."""
    if value is None:
        return NOT_RECORDED
    return micro(format_joules(value if isinstance(value, Span) else Span(value, value)))


def micro(text: str) -> str:
    """Return text with the micro sign where the command line writes u."""
    return text.replace(" uJ", " \N{MICRO SIGN}J")


def structure_charts(structure: dict[str, Any], chosen: int | None) -> Iterator[tuple[str, str]]:
    """Yield (drawing, caption) of the series over epochs. chosen: the epoch whose checkpoint was exported."""
    layers, validation = structure["layers"], structure["validation_accuracy"]
    alive, synapses = ({name: layer[key] for name, layer in layers.items()} for key in ("alive_units", "synapses"))

    def over_epochs(series: Mapping[str, Sequence[float | None]], label: str, **options: Any) -> str:
        return line_chart(structure["epoch"], series, "epoch", label, mark=chosen, **options)

    accuracies = {"training": structure["train_accuracy"], "validation": validation}
    yield over_epochs(accuracies, "accuracy (%)", scale=100, y_range=(0, 100)), "Accuracy."
    yield over_epochs({"loss": structure["loss"]}, "loss (mean per sample)"), "Training loss."
    yield over_epochs(alive, "units alive (neurons or channels)"), "Units alive in each layer."
    caption = "Synapses present in each layer, a convolution's kernel once."
    yield over_epochs(synapses, "synapses present"), caption
    caption = "Synaptic operations of one inference, mean over the validation split."
    yield (
        over_epochs({"operations": structure["synaptic_operations"]}, "synaptic operations (per inference)"),
        caption,
    )
    absent = [None if share is None else 100 * share for share in structure["connection_sparsity"]]
    known = sorted(v for v in validation if v is not None)
    least = known[len(known) // 2] - 0.1 if known else 0.0
    late = [None if v is None or v < least else v for v in validation]
    zoomed: dict[str, Any] = {}
    if known and known[-1] > (low := max(least, known[0])):
        zoomed = {"scale": 100, "y_range": (100 * low, 100 * known[-1])}
    caption = "Validation accuracy against sparsity, epoch by epoch; epochs far below the median are left out."
    yield line_chart(absent, {"validation": late}, "absent synapses (% of dense)", "accuracy (%)", **zoomed), caption


def activity_charts(activity: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (drawing, caption) of every spike of one sample, and of the rates over the steps."""
    nodes, steps = activity["nodes"], min(activity["n_steps"], RASTER_STEPS)
    recorded = {name: node for name, node in nodes.items() if "raster_of_sample_0" in node}
    layers = {name: (node["size"], node["raster_of_sample_0"]) for name, node in recorded.items()}
    caption = f"Spikes of one sample, first {steps} steps." if steps < activity["n_steps"] else "Spikes of one sample."
    if any(node["raster_units"] < node["size"] for node in recorded.values()):
        caption += " Of large layers, a spread of units."
    yield raster(layers, steps, activity["dt_s"]), caption
    rates = {name: node["rate_of_step"][:steps] for name, node in nodes.items()}
    caption = f"Rate over the steps, mean of {amount(activity['n_samples'])} samples."
    yield line_chart(list(range(steps)), rates, "step", "rate (spikes per unit and step)"), caption


def save_raster(network: Network, activity: Activity, path: str | Path) -> None:
    """Write the spikes of the first sample, layer by layer, as an SVG file. Raises FileError for another ending."""
    drawing, _ = next(activity_charts(rates(network, activity)))
    write_picture(drawing, path)


def energy_bars(energy: EnergyReport) -> str:
    """Return the totals of every list, then of the baselines by the lists that matter, in microjoules."""
    chips = {item.prices.name for item in energy.of_chips}
    bars = [(item.prices.name, item.total, 0 if item.prices.name in chips else 4) for item in energy.priced]
    for base in energy.baselines:
        dense = base.name == "dense_ann"
        title, colour = ("dense ANN", 4) if dense else ("unpruned", 1)
        bars += [(f"{title}, {name}", span, colour) for name, span in base.joules.items() if dense or name in chips]
    rows = [(name, span.times(1e6), colour) for name, span, colour in bars]
    return ranges(rows, "energy per inference (\N{MICRO SIGN}J), logarithmic axis")
