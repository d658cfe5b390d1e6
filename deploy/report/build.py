"""The content of report.json: everything the page shows, and more, as data. The schema is in docs/report.md."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.files import version_of
from sdsnn_core.network import Network

from ..energy.baselines import dense_synapses
from ..energy.energy import price
from ..energy.result import EnergyReport
from ..energy.text import energy_to_json
from ..placement.chip import Chip
from ..placement.explain import PlacementReport, explain
from ..placement.text import placement_to_json
from ..placement.types import Placement
from ..sanafe.compare import compare
from .metrics import neurobench, summary
from .run_data import RunData

KIND, FORMAT = "sdsnn-report", 1
NOT_RECORDED = "not recorded"
RASTER_STEPS, RASTER_UNITS = 200, 256  # of the sample that is drawn


def build(
    run: RunData, chip: Chip, target: str | None = None
) -> tuple[dict[str, Any], EnergyReport | None, PlacementReport | None]:
    """Return (report.json, energy, placement). What the run did not record is None, with the reason in 'absent'.

    target: "sanafe" adds a replay on SANA-FE to the energy.
    """
    placement = None if run.network is None else explain(run.network, chip, run.before)
    placed = placement.placement if placement is not None else None
    energy = None
    if run.network is not None and run.activity is not None:
        energy = price(run.activity, run.network, placement=placed, unpruned=run.before, chip=chip.name)
        if target is not None and placed is not None:
            energy = replace(energy, second=compare(run.network, run.activity, placed, energy.counts))
    network, activity = run.network, run.activity
    placement_json = None if placement is None else placement_to_json(placement)
    energy_json = None if energy is None else energy_to_json(energy)
    report = {
        "kind": KIND,
        "format": FORMAT,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sdsnn": version_of("sdsnn") or "not installed",
        "run": run.path.resolve().name,
        "summary": summary(run, energy, placement),
        "confusion": None if run.confusion is None else run.confusion.tolist(),
        "neurobench": None if network is None else neurobench(network, activity, run.before, run.accuracy),
        "before_after": before_after(run, energy, placement),
        "structure": structure(run.history),
        "activity": None if activity is None or network is None else rates(network, activity),
        "placement": placement_json,
        "energy": energy_json,
        "loihi2": loihi2(energy_json, placement_json, run.measured),
        "certificate": None if run.certificate is None else dict(run.certificate),
        "config": run.config,
        "environment": None if run.environment is None else dict(run.environment),
        "network_sha256": None if network is None else network.digest(),
        "sha256": dict(run.hashes),
        "absent": dict(run.absent),
    }
    return report, energy, placement


def before_after(run: RunData, energy: EnergyReport | None, placement: PlacementReport | None) -> list[dict[str, Any]]:
    """Return rows {quantity, unit, before, after}: the network before pruning against the exported one."""
    network, dense = run.network, run.before
    if network is None:
        return []
    rows: list[tuple[str, str, float | None, float | None]] = [
        (f"units in {name}", "neurons", None if dense is None else dense.size_of(network, name), population.size)
        for name, population in network.populations.items()
    ]
    full = None if dense is None else sum(dense_synapses(network, dense).values())
    rows.append(("synapses", "synapses", full, network.n_synapses()))
    if energy is not None:
        unpruned = energy.baselines[0]
        rows.append(("synaptic operations", "per inference", unpruned.operations, energy.counts.total_events))
        for item in energy.priced:
            if item.prices.role == "chip" and item.prices.name in unpruned.joules:
                label = f"{item.label} energy by {item.prices.name}"
                # The low end before pruning against the high end now: the saving is not overstated.
                rows.append((label, "J per inference", unpruned.joules[item.prices.name].low, item.total.high))
    if placement is not None and placement.placement is not None:
        now, was = placement.placement, placement.unpruned
        memory, cores = (was.synapse_bits, was.n_cores) if isinstance(was, Placement) else (None, None)
        rows.append(("synaptic memory", "bits", memory, now.synapse_bits))
        rows.append(("cores", "cores", cores, now.n_cores))
    keys = ("quantity", "unit", "before", "after")
    return [dict(zip(keys, (*row[:2], None if dense is None else row[2], row[3]), strict=True)) for row in rows]


def structure(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return series over epochs: accuracies, loss, operations, and per layer the units alive and the synapses."""
    if not history:
        return None
    layers: dict[str, dict[str, list[Any]]] = {}
    for layer in (layer for line in history for layer in line.get("layers") or []):
        of_layer = layers.setdefault(_layer_name(layer), {"units": [], "alive_units": [], "synapses": []})
        for key, values in of_layer.items():
            values.append(layer.get(key))
    keys = ("epoch", "loss", "train_accuracy", "validation_accuracy", "connection_sparsity", "seconds")
    series = {key: [line.get(key) for line in history] for key in keys}
    operations = [sum(line["synaptic_operations"]) if line.get("synaptic_operations") else None for line in history]
    return {**series, "synaptic_operations": operations, "layers": layers}


def _layer_name(layer: Mapping[str, Any]) -> str:
    """Return the name of the population that a layer of the history becomes: 'blocks.1' of kind 'dense' is dense1."""
    name = str(layer.get("layer", "?"))
    number = name.removeprefix("blocks.")
    return f"{layer.get('kind')}{number}" if number.isdigit() else name


def spread(size: int, most: int) -> npt.NDArray[np.int64]:
    """Return up to `most` of range(size) in order, by the golden ratio: even steps meet one column of an image."""
    if size <= most:
        return np.arange(size)
    return np.unique((np.arange(most) * 0.6180339887498949 % 1 * size).astype(np.int64))


def rates(network: Network, activity: Activity) -> dict[str, Any]:
    """Return spikes per node: mean rate, rate over steps, and the raster of the first sample as (step, neuron)."""
    result: dict[str, Any] = {"n_samples": activity.n_samples, "n_steps": activity.n_steps, "dt_s": network.dt_s}
    per_node = {}
    for name in (*network.inputs, *network.populations):
        counts = activity.counts[name]
        mean = counts.mean(axis=0) / activity.n_steps
        per_node[name] = {
            "size": int(counts.shape[1]),
            "spikes_per_sample": float(counts.sum()) / activity.n_samples,
            "rate_per_step": float(mean.mean()),
            "rate_quantiles": {str(q): float(np.quantile(mean, q)) for q in (0.1, 0.5, 0.9, 1.0)},
            "silent_units": int((counts.sum(axis=0) == 0).sum()),
            "rate_of_step": (activity.spikes_per_step[name].mean(axis=0) / counts.shape[1]).tolist(),
        }
        if name in activity.spikes:
            shown = spread(counts.shape[1], RASTER_UNITS)
            step, unit = np.nonzero(activity.spikes[name][0, :RASTER_STEPS][:, shown])
            per_node[name]["raster_units"] = int(shown.size)
            per_node[name]["raster_of_sample_0"] = np.stack([step, shown[unit]], axis=1).tolist()
    return {**result, "nodes": per_node}


def loihi2(
    energy: dict[str, Any] | None, placement: dict[str, Any] | None, measured: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return counts under the names of Loihi 2's probes, replaced by measurements where the run holds measured.json.

    Each entry has its grade: 'measured', 'counted' or 'lower bound'.
    """
    probes: dict[str, Any] = dict.fromkeys(("Loihi2Activity", "Loihi2Memory", "Loihi2ExecutionTime", "Loihi2Power"))
    if energy is not None and energy["counts"]["per_core"] is not None:
        probes["Loihi2Activity"] = {"grade": "counted", **energy["counts"]["per_core"]}
        for first in energy["step_time"][:1]:
            step = {"unit": "us", "avg_time_per_step": first["step_s"]["low"] * 1e6, "source": first["list"]}
            probes["Loihi2ExecutionTime"] = {"grade": "lower bound", **step}
    if placement is not None and placement["fits"]:
        kept = {"total_mpds": placement["total_mpds"], "core_idx": placement["per_core"]["core_idx"]}
        probes["Loihi2Memory"] = {"grade": "counted", **kept}
    for name, value in (measured or {}).items():
        if name in probes and isinstance(value, Mapping):
            probes[name] = {**value, "grade": "measured"}
    return probes
