"""Train the variants of docs/results.md and print its tables.

    python benchmarks/results.py digits --seeds 0 1 2 3 4
    SDSNN_DATA=... python benchmarks/results.py mnist_mlp --seeds 0 --set optimiser.epochs=10
    python benchmarks/results.py --table --plot docs/learning_curves.png

Every run adds one line of JSON to --out; a run that is there already is not repeated, so that an interrupted command
goes on where it was: with --keep within the run that was interrupted, without it with that run from its start.
Accuracy and structure are those of one checkpoint, chosen on the validation split; the test split is read once. Masked
and compacted networks are compared in every bin on some test samples.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from results_plot import draw
from results_table import tables
from results_variants import SUITES

OUT = Path(__file__).parent / "results.jsonl"
CURVE = ("loss", "train_accuracy", "validation_accuracy", "connection_sparsity", "seconds")


def run_variant(recipe: str, variant: str, seed: int, settings: Sequence[str], folder: Path) -> dict[str, Any]:
    """Train one variant with one seed, or go on with the run in `folder`; return what the tables need."""
    import numpy as np
    import torch

    from sdsnn.deploy.simulate.simulation import Options, simulate_data
    from sdsnn.export.pipeline import lower_trained
    from sdsnn.train.run.config import load_config, with_directory
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.train import train
    from sdsnn.train.run.trained import load_trained
    from sdsnn_core.compaction import compact

    keys = SUITES[recipe][variant].items()
    changes = [f"{key if '.' in key else 'development.' + key}={value}" for key, value in keys]
    config = with_directory(load_config(recipe, [*changes, *settings, f"seed={seed}"]))
    started = time.perf_counter()
    begun = RunFolder(folder).checkpoint_file.exists()
    result = train(config, RunFolder.open(folder) if begun else RunFolder.create(folder, config), resume=begun)
    history = result.folder.history()
    # of a run that was interrupted, only what is written down is known
    seconds = sum(line["seconds"] for line in history) if begun else time.perf_counter() - started
    masked = lower_trained(load_trained(result.folder))
    compaction = compact(masked)
    network, test = compaction.network, result.trainer.data.test
    samples = (np.asarray(test.spikes[place : place + 1])[0] for place in range(len(test)))  # made as they are read
    seen = simulate_data(network, samples, test.labels, options=Options(n_threads=1))
    chosen = history[result.best_epoch]["layers"]
    developer = result.trainer.developer
    hidden = [i for i, after in enumerate(developer.graph.successors) if after]
    synapses = [sum(s.mask.numel() for s in layer.synapses) for layer in developer.layers]
    stored = sum(p.n_weights for p in network.projections.values())
    units = sum(compaction.units[name][0] for name in compaction.units) - result.trainer.data.n_classes
    kept = sum(compaction.units[name][1] for name in compaction.units) - result.trainer.data.n_classes
    return {
        "recipe": recipe,
        "variant": variant,
        "seed": seed,
        "settings": list(settings),
        "epochs": len(history),
        "epoch": result.best_epoch,
        "validation_accuracy": result.validation_accuracy,
        "test_right": round(result.test.accuracy * len(test)),
        "test_samples": len(test),
        "network_accuracy": seen.accuracy,
        "connection_sparsity": developer.connection_sparsity(),
        "compression": sum(chosen[i]["absent"] for i in hidden) / sum(synapses[i] for i in hidden),
        "weights": sum(synapses),
        "weights_stored": stored,
        "units": units,
        "units_kept": kept,
        "synaptic_operations": sum(seen.events.values()),
        "spikes": sum(n for name, n in seen.spikes.items() if name in network.populations),
        "synapse_bytes": synapse_bytes(network),
        **compare(masked, compaction, test.spikes[:16]),
        "pruned": sum(layer["pruned"] for line in history for layer in line["layers"]),
        "regrown": sum(layer["regrown"] for line in history for layer in line["layers"]),
        "curve": {key: [round(line[key], 5) for line in history] for key in CURVE},
        "layers": [{key: layer[key] for key in ("units", "alive_units", "synapses", "absent")} for layer in chosen],
        "seconds": seconds,
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }


def synapse_bytes(network: Any) -> float:
    """Return bytes of synaptic memory on Loihi 2, indices included, as the placement counts them."""
    from sdsnn.deploy.placement.chip import load_chip
    from sdsnn.deploy.placement.explain import explain

    placed = explain(network, load_chip("loihi2"), advice=False).placement
    return float("nan") if placed is None else float(placed.use["synapse_bits"].sum()) / 8


def compare(masked: Any, compaction: Any, spikes: Any) -> dict[str, int]:
    """Return how many bins of the kept units were compared, masked against compacted network, and how many differ."""
    from sdsnn.deploy.engine import run

    before, after = (run(network, spikes, n_threads=1) for network in (masked, compaction.network))
    bins = differ = 0
    for name, units in compaction.kept.items():
        if name in compaction.network.populations:
            mine, theirs = before.spikes[name][..., units], after.spikes[name]
            bins, differ = bins + theirs.size, differ + int((mine != theirs).sum())
    return {"bins_compared": bins, "bins_differ": differ}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", choices=sorted(SUITES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="+", help="default: all of the recipe")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep run folders there, and resume interrupted ones")
    parser.add_argument("--table", action="store_true", help="print the Markdown tables of what --out holds")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the learning curves of what --out holds")
    args = parser.parse_args()
    if args.recipe is not None:
        unknown = set(args.variants or ()) - set(SUITES[args.recipe])
        if unknown:
            parser.error(f"--variants: got {', '.join(sorted(unknown))}, allowed {', '.join(SUITES[args.recipe])}")
        for seed in args.seeds:
            for variant in args.variants or SUITES[args.recipe]:
                key = (args.recipe, variant, seed, args.settings)
                if key in [(r["recipe"], r["variant"], r["seed"], r["settings"]) for r in read(args.out)]:
                    continue
                with tempfile.TemporaryDirectory() as aside:
                    name = re.sub("[^A-Za-z0-9.]+", "-", "-".join((*key[:2], f"seed{seed}", *args.settings)))
                    folder = (args.keep or Path(aside)) / name
                    line = run_variant(args.recipe, variant, seed, args.settings, folder)
                with args.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                right = line["test_right"] / line["test_samples"]
                print(f"{args.recipe} {variant} seed {seed}: {right:.2%}, {line['connection_sparsity']:.1%} absent, "
                      f"{line['seconds']:.0f} s", flush=True)  # fmt: skip
    if args.table:
        print(tables(read(args.out)))
    if args.plot is not None:
        draw(read(args.out), args.plot)


if __name__ == "__main__":
    main()
