"""NeuroBench's metrics, and the headline numbers that every report starts with."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from sdsnn.train.section import toml_tables
from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError
from sdsnn_core.network import Convolution, Network, Synapses
from sdsnn_core.rules import Rules

from ..energy.baselines import dense_synapses
from ..energy.counts import dense_kind
from ..energy.dense_shapes import DenseShapes
from ..energy.result import EnergyReport
from ..placement.explain import PlacementReport
from .run_data import RunData


def summary(run: RunData, energy: EnergyReport | None, placement: PlacementReport | None) -> dict[str, Any]:
    """Return the headline numbers; None for what is not known. Documented in docs/report.md."""
    network, export, certificate = run.network, run.export or {}, run.certificate
    kept = dense = units = units_before = None
    if network is not None:
        kept, units = network.n_synapses(), sum(p.size for p in network.populations.values())
        if run.before is not None:
            dense = sum(dense_synapses(network, run.before).values())
            units_before = sum(run.before.size_of(network, name) for name in network.populations)
    span = None if energy is None else energy.range_j
    joules = span and energy and {**asdict(span), "label": energy.label, "wording": energy.wording}
    placed = placement and placement.placement
    proof: dict[str, Any] = dict.fromkeys(("verified", "mismatches", "bins_compared", "backends"))
    if certificate is not None:
        comparisons = certificate.get("comparisons") or []
        proof = {
            "verified": bool(certificate.get("verified")),
            "mismatches": sum(int(item["mismatches"]) for item in comparisons),
            "bins_compared": sum(int(item["bins"]) for item in comparisons),
            "backends": [str(item["backend"]) for item in comparisons if item.get("failed") is None],
        }
    return {
        "test_accuracy": run.accuracy,
        "test_accuracy_interval": None if run.confusion is None else wilson(int(np.trace(run.confusion)), run.tested),
        "test_accuracy_before_export": export.get("test_accuracy_in_slayer"),
        "test_samples": None if run.confusion is None else run.tested,
        "silent_samples": None if run.confusion is None else run.silent,
        "validation_accuracy": export.get("validation_accuracy"),
        **({"test_scores": dict(run.scores)} if run.scores else {}),
        "epoch": export.get("epoch"),
        "data": data_name(run.config),
        "seed": (run.environment or {}).get("seed"),
        "units_kept": units,
        "units_dense": units_before,
        "synapses_kept": kept,
        "synapses_dense": dense,
        "connection_sparsity": None if kept is None or not dense else 1 - kept / dense,
        "spikes_per_inference": energy and energy.counts.population_spikes,
        "synaptic_operations_per_inference": energy and energy.counts.total_events,
        "synaptic_operations_dense": None if energy is None or not dense else energy.baselines[0].operations,
        "energy_j": joules,
        "cores": placed and placed.n_cores,
        "chips": placed and placed.n_chips,
        **proof,
    }


def data_name(config: str | None) -> str | None:
    """Return `data.name` of a resolved configuration, and the directory of one's own data; None where unknown."""
    try:
        data = toml_tables(config or "", "config.toml").get("data")
    except FileError:
        return None
    if not isinstance(data, dict) or "name" not in data:
        return None
    return f"folder {data.get('directory')}" if data["name"] == "folder" else str(data["name"])


def wilson(right: int, samples: int) -> dict[str, float]:
    """Return the 95 % interval of an accuracy from its number of samples (Wilson, JASA 22, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, samples).proportion_ci(method="wilson")
    return {"low": float(interval.low), "high": float(interval.high)}


WEIGHT_SHAPE: Rules[Callable[[DenseShapes, Network, str, Any], tuple[int, ...]]] = Rules("NeuroBench: stored weights")


WEIGHT_SHAPE.of(Synapses)(lambda dense, network, _, p: tuple(dense.size_of(network, n) for n in (p.source, p.target)))
WEIGHT_SHAPE.of(Convolution)(lambda dense, _, name, p: dense.kernels.get(name, (p.kernel.shape, p.groups))[0])


def footprint(network: Network) -> int:
    """Return bytes of the exported network: 8-bit weights in full matrices, four 32-bit parameters per neuron."""
    return weight_count(network, None) + 4 * 4 * sum(p.size for p in network.populations.values())


def weight_count(network: Network, before: DenseShapes | None) -> int:
    """Return the weights before pruning, each kernel place once, as NeuroBench counts them."""
    dense = before or DenseShapes()
    return sum(math.prod(WEIGHT_SHAPE.for_(p)(dense, network, name, p)) for name, p in network.projections.items())


def neurobench(
    network: Network, activity: Activity | None, before: DenseShapes | None, accuracy: float | None
) -> dict[str, Any]:
    """Return metrics under NeuroBench's names, by its definitions on integers; per sample, and per step beside it.

    ConnectionSparsity is of the network before units were removed. Dense counts every connection in every step.
    """
    stored = sum(p.n_weights for p in network.projections.values())
    result: dict[str, Any] = {
        "ClassificationAccuracy": accuracy,
        "Footprint": footprint(network),
        "ConnectionSparsity": 1 - stored / max(1, weight_count(network, before)),
        "ActivationSparsity": None,
        "SynapticOperations": None,
    }
    if activity is None:
        return result
    steps = activity.n_steps
    fired = sum(float(activity.counts[name].sum()) for name in network.populations)
    cells = sum(p.size for p in network.populations.values()) * steps * activity.n_samples
    dense = float(sum(dense_synapses(network, before).values()) * steps)
    operations = {"Effective_MACs": 0.0, "Effective_ACs": 0.0, "Dense": dense}
    for name, p in network.projections.items():
        kind = "Effective_MACs" if dense_kind(network, p) == "graded" else "Effective_ACs"
        operations[kind] += float(activity.events[name].sum()) / activity.n_samples
    result["ActivationSparsity"] = 1 - fired / cells
    result["SynapticOperations"] = operations
    result["SynapticOperations_per_step"] = {name: value / steps for name, value in operations.items()}
    result["n_steps"] = steps
    return result
