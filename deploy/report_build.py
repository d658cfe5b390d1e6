"""The content of report.json: everything the page shows, and more, as data. The schema is in docs/report.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import numpy as np

from sdsnn_core.activity import Activity
from sdsnn_core.network import Input, Network, Synapses

from .chip import Chip
from .energy import EnergyReport, price
from .energy_baseline import dense_synapses
from .placement_report import PlacementReport, explain, placement_to_json
from .report_data import RunData

FORMAT = 2
NOT_RECORDED = "not recorded"


def build(run: RunData, chip: Chip) -> tuple[dict[str, Any], EnergyReport | None, PlacementReport | None]:
    """Return (report.json, energy, placement). What the run did not record is None, the reason in 'absent'."""
    placement = None if run.network is None else explain(run.network, chip, run.before)
    placed = placement.placement if placement is not None else None
    energy = None
    if run.network is not None and run.activity is not None:
        energy = price(run.activity, run.network, placement=placed, unpruned=run.before or None, chip=chip.name)
    report = {
        **{key: value for key, value in run.told.items() if key not in ("energy", "format")},
        "kind": "sdsnn-report",
        "format": FORMAT,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sdsnn": _version(),
        "run": str(run.path.name),
        "run_summary": {key: value for key, value in run.told.items() if key != "run_summary"},
        "accuracy": accuracy(run),
        "neurobench": None if run.network is None else neurobench(run.network, run.activity, run.before, run.accuracy),
        "before_after": before_after(run, energy, placement),
        "structure": structure(run.history),
        "activity": None if run.activity is None or run.network is None else rates(run.network, run.activity),
        "placement": None if placement is None else placement_to_json(placement),
        "energy": None if energy is None else energy.to_json(),
        "loihi2": loihi2(energy, placement, run.measured),
        "certificate": None if run.certificate is None else dict(run.certificate),
        "environment": None if run.environment is None else dict(run.environment),
        "network_sha256": None if run.network is None else run.network.digest(),
        "sha256": dict(run.hashes),
        "absent": dict(run.absent),
    }
    return report, energy, placement


def _version() -> str:
    try:
        return metadata.version("sdsnn")
    except metadata.PackageNotFoundError:
        return "not installed"


def accuracy(run: RunData) -> dict[str, Any]:
    """Return accuracies and the confusion matrix (rows: true class)."""
    return {
        "test": run.accuracy,
        "test_samples": run.told.get("test_samples"),
        "before_export": run.told.get("test_accuracy_before_export"),
        "validation": run.told.get("validation_accuracy"),
        "epoch": run.told.get("epoch"),
        "simulated": run.simulated_accuracy,
        "simulated_samples": None if run.activity is None else run.activity.n_samples,
        "confusion": None if run.confusion is None else run.confusion.tolist(),
    }


def footprint(network: Network) -> dict[str, int]:
    """Return bytes of the exported network: dense matrices with their zeros, and stored synapses only."""
    dense = sparse = 0
    for p in network.projections.values():
        if isinstance(p, Synapses):
            dense += network.size_of(p.source) * network.size_of(p.target)
        else:
            dense += p.kernel.size
        sparse += p.n_weights
    parameters = 4 * 4 * sum(p.size for p in network.populations.values())
    return {"dense_int8": dense + parameters, "stored_int8": sparse + parameters}


def neurobench(
    network: Network, activity: Activity | None, before: Mapping[str, int], test_accuracy: float | None
) -> dict[str, Any]:
    """Return metrics under NeuroBench's names, by its definitions on integers; per sample, and per step beside it.

    ConnectionSparsity is of the network before units were removed. Dense counts every connection in every step.
    """
    full = dense_synapses(network, before)
    stored = sum(_connections(network).values())
    result: dict[str, Any] = {
        "ClassificationAccuracy": test_accuracy,
        "Footprint": footprint(network)["dense_int8"],
        "ConnectionSparsity": 1 - stored / max(1, sum(full.values())),
        "ActivationSparsity": None,
        "SynapticOperations": None,
    }
    if activity is None:
        return result
    steps = activity.n_steps
    fired = sum(float(activity.counts[name].sum()) for name in network.populations)
    cells = sum(p.size for p in network.populations.values()) * steps * activity.n_samples
    operations = {"Effective_MACs": 0.0, "Effective_ACs": 0.0, "Dense": float(sum(full.values()) * steps)}
    for name, p in network.projections.items():
        source = network.nodes[p.source]
        graded = isinstance(source, Input) and source.max_value > 1
        kind = "Effective_MACs" if graded else "Effective_ACs"
        operations[kind] += float(activity.events[name].sum()) / activity.n_samples
    result["ActivationSparsity"] = 1 - fired / cells
    result["SynapticOperations"] = operations
    result["SynapticOperations_per_step"] = {name: value / steps for name, value in operations.items()}
    result["n_steps"] = steps
    return result


def _connections(network: Network) -> dict[str, int]:
    from sdsnn_core.compaction import n_connections

    return {name: n_connections(network, name) for name in network.projections}


def before_after(run: RunData, energy: EnergyReport | None, placement: PlacementReport | None) -> list[dict[str, Any]]:
    """Return rows {quantity, unit, before, after}: the network before pruning beside the exported one."""
    network = run.network
    if network is None:
        return []
    sizes = run.before
    rows = [
        _row(f"units in {name}", "neurons", sizes.get(name), population.size)
        for name, population in network.populations.items()
    ]
    full = sum(dense_synapses(network, sizes).values())
    rows.append(_row("synapses", "synapses", full, sum(_connections(network).values())))
    if energy is not None:
        unpruned = energy.baselines[0]
        rows.append(_row("synaptic operations", "per inference", unpruned.operations, energy.counts.total_events))
        for item in energy.priced:
            if item.prices.role == "chip" and item.prices.name in unpruned.joules:
                total = unpruned.joules[item.prices.name]
                label = f"energy by {item.prices.title}, {item.label}"
                rows.append(_row(label, "J per inference", total.low, item.total.low))
    if placement is not None and placement.placement is not None:
        beside = placement.unpruned
        known = beside if beside is not None and not isinstance(beside, str) else None
        bits = placement.placement.use["synapse_bits"].sum()
        rows.append(
            _row("synaptic memory", "bits", None if known is None else int(known.use["synapse_bits"].sum()), int(bits))
        )
        rows.append(_row("cores", "cores", None if known is None else known.n_cores, placement.placement.n_cores))
    return rows


def _row(quantity: str, unit: str, before: float | None, after: float | None) -> dict[str, Any]:
    return {"quantity": quantity, "unit": unit, "before": before, "after": after}


def structure(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return series over epochs: accuracies, loss, and per layer the units alive and the synapses."""
    if not history:
        return None
    layers: dict[str, dict[str, list[Any]]] = {}
    for line in history:
        for layer in line.get("layers") or []:
            name = str(layer.get("layer", "?"))
            series = layers.setdefault(name, {"units": [], "alive_units": [], "synapses": []})
            for key, values in series.items():
                values.append(layer.get(key))
    keys = ("epoch", "loss", "train_accuracy", "validation_accuracy", "connection_sparsity", "seconds")
    return {**{key: [line.get(key) for line in history] for key in keys}, "layers": layers}


def rates(network: Network, activity: Activity, raster_steps: int = 200) -> dict[str, Any]:
    """Return spikes per node: mean rate, and the raster of the first sample as (step, neuron) pairs."""
    nodes = [*network.inputs, *network.populations]
    result: dict[str, Any] = {"n_samples": activity.n_samples, "n_steps": activity.n_steps, "dt_s": network.dt_s}
    per_node = {}
    for name in nodes:
        counts = activity.counts[name]
        mean = counts.mean(axis=0) / activity.n_steps
        per_node[name] = {
            "size": int(counts.shape[1]),
            "spikes_per_sample": float(counts.sum()) / activity.n_samples,
            "rate_per_step": float(mean.mean()),
            "rate_quantiles": {str(q): float(np.quantile(mean, q)) for q in (0.1, 0.5, 0.9, 1.0)},
            "silent_units": int((counts.sum(axis=0) == 0).sum()),
        }
        if name in activity.spikes:
            train = activity.spikes[name][0, :raster_steps]
            per_node[name]["raster_of_sample_0"] = np.argwhere(train).tolist()
    return {**result, "nodes": per_node}


def loihi2(
    energy: EnergyReport | None, placement: PlacementReport | None, measured: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a probe would measure under its own names, so that a measurement lands in the same place.

    Each entry says its grade: 'measured' where the run holds measured.json, else 'counted' or 'lower bound'.
    """
    found: dict[str, Any] = dict.fromkeys(("Loihi2Activity", "Loihi2Memory", "Loihi2ExecutionTime"))
    found["Loihi2Power"] = None
    if energy is not None and energy.counts.load is not None:
        counts = energy.to_json()["counts"]
        found["Loihi2Activity"] = {"grade": "counted", **counts["per_core"]}
        if energy.step_times:
            found["Loihi2ExecutionTime"] = {
                "grade": "lower bound",
                "unit": "us",
                "avg_time_per_step": energy.step_times[0].span_s.low * 1e6,
                "source": energy.step_times[0].list_name,
            }
    if placement is not None and placement.placement is not None:
        data = placement_to_json(placement)
        found["Loihi2Memory"] = {
            "grade": "counted",
            "total_mpds": data["total_mpds"],
            "core_idx": data["per_core"]["core_idx"],
        }
    for name, value in (measured or {}).items():
        if name in found and isinstance(value, Mapping):
            found[name] = {**value, "grade": value.get("grade", "measured")}
    return found
