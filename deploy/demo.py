"""The demo: handwritten digits through every room of the house, offline, and a summary of what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from sdsnn.export.pipeline import Exported, export_run
from sdsnn.train.config import load_config
from sdsnn.train.loop import train
from sdsnn.train.progress import Bars
from sdsnn.train.run_folder import RunFolder
from sdsnn_core import reference
from sdsnn_core.activity import Activity, output_counts
from sdsnn_core.compaction import n_connections
from sdsnn_core.files import write_json
from sdsnn_core.lava_compat import lava_available

from .energy import EnergyReport, price

FORMAT = 1
VERIFY_SAMPLES = 64  # Lava takes a tenth of a second for each


@final
@dataclass(frozen=True, eq=False)
class Summary:
    """Everything the demo tells; `as_dict` is report.json."""

    exported: Exported
    activity: Activity
    energy: EnergyReport
    accuracy_exported: float
    seconds: float

    @property
    def dense_synapses(self) -> int:
        """Synapses of the network before its structure developed."""
        return sum(math.prod(layer) for layer in self._layers())

    def _layers(self) -> list[tuple[int, int]]:
        masked = self.exported.masked
        return [(masked.size_of(p.source), masked.size_of(p.target)) for p in masked.projections.values()]

    @property
    def synapses_kept(self) -> int:
        """Synapses of the exported network."""
        network = self.exported.network
        return sum(n_connections(network, name) for name in network.projections)

    @property
    def dense_operations(self) -> float:
        """Synaptic operations per inference if each of the same spikes crossed every synapse of the dense network."""
        masked = self.exported.masked
        return sum(
            float(self.activity.counts[p.source].sum()) / self.activity.n_samples * masked.size_of(p.target)
            for p in masked.projections.values()
            if p.source in self.activity.counts
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, documented in docs/report.md."""
        exported, result = self.exported, self.exported.result
        units = exported.compaction.units
        return {
            "format": FORMAT,
            "run": str(result.folder.path),
            "seed": result.trainer.config.seed,
            "test_accuracy": self.accuracy_exported,
            "test_accuracy_before_export": result.test.accuracy,
            "test_samples": len(result.test.labels),
            "validation_accuracy": result.validation_accuracy,
            "epoch": result.best_epoch,
            "connection_sparsity": 1 - self.synapses_kept / self.dense_synapses,
            "units_kept": sum(after for _, after in units.values()),
            "units_dense": sum(before for before, _ in units.values()),
            "synapses_kept": self.synapses_kept,
            "synapses_dense": self.dense_synapses,
            "layers": {name: {"units": list(units[name])} for name in units},
            "spikes_per_inference": self.activity.total_spikes(exported.network.populations),
            "synaptic_operations_per_inference": self.activity.synaptic_operations(),
            "synaptic_operations_dense": self.dense_operations,
            "energy": self.energy.to_json(),
            "mismatches": exported.certificate.mismatches,
            "bins_compared": exported.certificate.bins,
            "verified": exported.certificate.verified,
            "backends": [c.backend for c in exported.certificate.comparisons if c.failed is None],
            "files": [str(result.folder.path / name) for name in FILES],
            "seconds": self.seconds,
        }


FILES = ("network.nir", "certificate.json", "report.json", "history.jsonl", "config.toml", "best.pt")


def free_folder(base: Path) -> Path:
    """Return `base`, or the first of base-2, base-3, ... that is not there yet."""
    candidate, number = base, 1
    while candidate.exists():
        number += 1
        candidate = base.with_name(f"{base.name}-{number}")
    return candidate


def run_demo(
    folder_path: Path,
    *,
    seed: int,
    overrides: list[str],
    bars: Bars,
    stage: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Summary:
    """Train on digits, export, verify, simulate the whole test split, price it; write report.json and return all.

    bars: show the training. stage: called with what is being done next; the work happens inside its context.
    """
    started = time.perf_counter()
    config = load_config("digits", [f"seed={seed}", *overrides])
    folder = RunFolder.create(folder_path, config)
    with bars:
        train(config, folder, progress=bars)
    with stage("exporting, and comparing SLAYER, the file read back and Lava with the reference"):
        exported = export_run(folder, verify_samples=VERIFY_SAMPLES, lava=lava_available())
    test = exported.result.trainer.data.test
    with stage("simulating the test split"):
        activity = reference.run(exported.network, test.spikes)
    predicted = np.argmax(output_counts(exported.network, activity), axis=1)
    before = {name: units for name, (units, _) in exported.compaction.units.items()}
    energy = price(activity, exported.network, unpruned=before)
    summary = Summary(
        exported,
        activity,
        energy,
        accuracy_exported=float((predicted == test.labels).mean()),
        seconds=time.perf_counter() - started,
    )
    write_json(folder.report_file, summary.as_dict())
    return summary
