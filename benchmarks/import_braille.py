"""What quantising costs the Braille networks of the NIR paper: one scale per population against one per neuron.

    python benchmarks/import_braille.py FOLDER [TAXELS]

FOLDER: a checkout of neuromorphs/NIR with its history in folders, as `scripts/public_files.py` describes them. TAXELS:
`braille_taxels_27x50.npz` of SDSNN_DATA, whose frames become events: a spike where a taxel moved by 8 since its last.
Prints, for each network and input, the share of (neuron, step) bins that differ from its floats after calibration on
that input: of the hidden and of the output neurons as they run, and of the output neurons behind float hidden ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from sdsnn.export.float_import import plan, scale
from sdsnn.export.float_import.file import read_float_file
from sdsnn.export.float_import.graph import FloatGraph, read_graph
from sdsnn.export.float_import.quantise import quantise
from sdsnn.export.float_import.run import float_run

NETWORKS = (
    "06d13db6/paper/03_rnn/braille_retrained_nobias_subtract.nir",
    "895f62bb/paper/03_rnn/braille.nir",
    "b822fdd8/paper/03_rnn/braille_retrained_zero.nir",
    "c89e29c2/paper/03_rnn/braille_v2.nir",
    "a45a61e1/paper/03_rnn/braille_subtract.nir",
)
SAMPLES, STEPS, CHANNELS, STEP, DT = 8, 100, 12, 8, 1e-4


class OneScale(scale.Groups):
    """All neurons of a population share one scale."""

    def __init__(self, neurons: Any, arrivals: Any) -> None:
        super().__init__(neurons, arrivals)
        self.n, self.of_neuron = 1, np.zeros(neurons.a.size, np.int64)

    def of_weights(self, operator: Any) -> Any:
        """Return group 0 for every weight."""
        return np.zeros(scale.weights_of(operator).size, np.int64)


def events_of(path: Path) -> Any:
    """Return 24 recordings of taxels as spikes (24, 77, 12), by level crossing."""
    taxels = np.load(path)["taxel"].astype(np.int64)
    taxels = taxels[np.random.default_rng(0).permutation(len(taxels))[:24]]
    last, spikes = taxels[:, 0].copy(), np.zeros(taxels.shape, np.uint8)
    for t in range(1, taxels.shape[1]):
        spikes[:, t] = np.abs(taxels[:, t] - last) >= STEP
        last = np.where(spikes[:, t], taxels[:, t], last)
    return spikes


def behind_floats(graph: FloatGraph, inputs: dict[str, Any]) -> dict[str, float]:
    """Return neurons -> share of bins that differ where each population alone is quantised, behind float sources."""
    trains, voltages = float_run(graph, inputs)
    plans = plan.plans_of(graph)
    judges = {name: plan.judge_of(each, {**inputs, **trains}, trains[name]) for name, each in plans.items()}
    for name, each in plans.items():
        each.unclipped, each.scale = scale.search_scales(each.neurons, each.arrivals, judges[name])
    plan.keep_clips_that_pay(graph, plans, inputs, trains, voltages)
    return {name: float(judges[name](each.scale).sum() / trains[name].size) for name, each in plans.items()}


def main(folder: Path, taxels: Path | None) -> None:
    """Print a line for each network, input and way to scale."""
    rng = np.random.default_rng(0)
    data = {"random, rate 0.1": (rng.random((SAMPLES, STEPS, CHANNELS)) < 0.1).astype(np.uint8)}
    if taxels is not None:
        data["Braille"] = events_of(taxels)
    print(
        "| network | input | scale | hidden | output | output behind float hidden neurons |\n|---|---|---|---|---|---|"
    )
    for path in NETWORKS:
        graph = read_graph(read_float_file(folder / path), DT)
        (source,) = graph.inputs
        for name, spikes in data.items():
            for way, groups in (("population", OneScale), ("neuron", scale.Groups)):
                with patch.object(scale, "Groups", groups), patch.object(plan, "Groups", groups):
                    reports = quantise(graph, {source: spikes}, calibrate=True).reports
                    alone = behind_floats(graph, {source: spikes})
                hidden, output = (100 * report.differing for report in reports if report.rate_float)
                behind = 100 * alone[graph.outputs["output"]]
                print(f"| {path} | {name} | {way} | {hidden:.2f} % | {output:.2f} % | {behind:.2f} % |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
