"""What a sigma-delta network costs beside its CUBA twin: synaptic events per inference, layer by layer, as Markdown.

sdsnn train nmnist_sigma_delta --run runs/graded && sdsnn export runs/graded
sdsnn train nmnist_sigma_delta --set model.neurons=cuba --set model.weight_scale=3 --run runs/cuba
sdsnn export runs/cuba
python benchmarks/sigma_delta.py runs/graded runs/cuba
"""

from __future__ import annotations

import sys
from pathlib import Path

from sdsnn.deploy.simulate.samples import open_samples
from sdsnn.deploy.simulate.simulation import Options, Simulation, simulate_data
from sdsnn.export.files import read_network
from sdsnn.train.data.recordings import CONVENTION
from sdsnn_core.network import Network


def measured(run: Path) -> tuple[Network, Simulation]:
    """Simulate the test split of a run that was exported."""
    network, data = read_network(run), open_samples(run, CONVENTION)
    return network, simulate_data(network, data, data.labels, options=Options(cut=data.counted))


def table(runs: list[Path]) -> str:
    """Return the table: a row for each layer, two columns for each run."""
    found = [measured(run) for run in runs]
    heads = [f"{run.name}: sent | {run.name}: events into it" for run in runs]
    lines = [f"| layer | {' | '.join(heads)} |", f"|---{'|---|---' * len(runs)}|"]
    layers = [list(network.populations) for network, _ in found]
    for names in zip(*layers, strict=True):
        cells = []
        for name, (network, result) in zip(names, found, strict=True):
            arriving = sum(result.events[key] for key, _ in network.incoming(name))
            cells.append(f"{result.spikes[name]:,.0f} | {arriving:,.0f}")
        size = found[0][0].nodes[names[0]].shape
        lines.append(f"| {' x '.join(map(str, size))} | {' | '.join(cells)} |")
    totals = [
        f"{sum(result.spikes[name] for name in network.populations):,.0f} | {sum(result.events.values()):,.0f}"
        for network, result in found
    ]
    lines.append(f"| all | {' | '.join(totals)} |")
    scores = ", ".join(f"{run.name} {result.accuracy:.2%}" for run, (_, result) in zip(runs, found, strict=True))
    return "\n".join([*lines, f"\naccuracy on {found[0][1].n_samples} test samples: {scores}"])


if __name__ == "__main__":
    print(table([Path(each) for each in sys.argv[1:]]))
