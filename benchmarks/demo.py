"""Run `sdsnn demo` over several seeds and print the README's table: `python benchmarks/demo.py --seeds 0 1 2`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ROWS = (
    ("test accuracy in SLAYER", "test_accuracy_before_export", "{:.2%}"),
    ("test accuracy of the exported network", "test_accuracy", "{:.2%}"),
    ("synapses absent", "connection_sparsity", "{:.1%}"),
    ("units kept", "units_kept", "{:,.0f}"),
    ("units before", "units_dense", "{:,.0f}"),
    ("synapses kept", "synapses_kept", "{:,.0f}"),
    ("synapses before", "synapses_dense", "{:,.0f}"),
    ("spikes per inference", "spikes_per_inference", "{:,.0f}"),
    ("synaptic operations per inference", "synaptic_operations_per_inference", "{:,.0f}"),
    ("the same spikes through all synapses", "synaptic_operations_dense", "{:,.0f}"),
    ("bins compared", "bins_compared", "{:,.0f}"),
    ("mismatches", "mismatches", "{:,.0f}"),
    ("seconds", "seconds", "{:,.0f}"),
)


def run_demo(seed: int, folder: Path) -> dict[str, Any]:
    """Run the demo in its own process; return its JSON line."""
    command = [sys.executable, "-m", "sdsnn", "demo", "--json", "--quiet", "--seed", str(seed), "--run"]
    done = subprocess.run([*command, str(folder / str(seed))], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Print one column per seed and the mean with its standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder:
        results = [run_demo(seed, Path(folder)) for seed in seeds]
    print("| | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean ± deviation |")
    print("|---" * (len(seeds) + 2) + "|")
    for name, key, form in ROWS:
        values = [float(result[key]) for result in results]
        spread = form.format(statistics.stdev(values)) if len(values) > 1 else "-"
        cells = [form.format(value) for value in values] + [f"{form.format(statistics.mean(values))} ± {spread}"]
        print(f"| {name} | " + " | ".join(cells) + " |")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"\n{date.today()}, {platform.machine()} {platform.system()}, {cores} cores, Python "
        f"{platform.python_version()}; back ends {', '.join(results[0]['backends'])}; "
        f"`python benchmarks/demo.py --seeds {' '.join(map(str, seeds))}`"
    )


if __name__ == "__main__":
    main()
