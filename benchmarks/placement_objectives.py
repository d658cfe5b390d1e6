"""Fewest cores against the shortest step, timed by SANA-FE: `python benchmarks/placement_objectives.py`.

Needs SANA-FE (`pip install 'sdsnn[sanafe]'`). Writes one line of JSON for each network to --out and skips those that
are in it, then prints the tables.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from placement import networks

from sdsnn.deploy.energy.counts import count
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.types import Placement
from sdsnn.deploy.sanafe.compare import compare
from sdsnn.deploy.simulate.measure import measure
from sdsnn.deploy.simulate.simulation import Options
from sdsnn_core.activity import Activity
from sdsnn_core.errors import SdsnnError
from sdsnn_core.network import Network

SKIPPED = ("PilotNet", "convolutions of 2x112x112")  # too many synapses to replay in minutes
OBJECTIVES = ("cores", "balance", "latency")


def row(network: Network, activity: Activity, placement: Placement) -> dict[str, Any]:
    """Return the time of a step and the energy of a placement, ours and SANA-FE's."""
    counts = count(network, activity, placement)
    simple = compare(network, activity, placement, counts, timing="simple")
    detailed = compare(network, activity, placement, counts, timing="detailed")
    assert placement.work is not None
    return {
        "cores": placement.n_cores,
        "tiles": placement.n_tiles,
        "ours_us": placement.work.step * 1e6,
        "simple_us": float(simple.cost.step_s.mean()) * 1e6,
        "detailed_us": float(detailed.cost.step_s.mean()) * 1e6,
        "bins": detailed.cost.bins,
        "ours_nj": {term.unit: term.ours_j * 1e9 for term in detailed.terms},
        "sanafe_nj": {term.unit: term.sanafe_j * 1e9 for term in detailed.terms},
    }


def measured(network: Network, rate: float, steps: int) -> dict[str, Any]:
    """Return the rows of every objective under random spikes."""
    activity = measure(network, rate=rate, samples=1, options=Options(steps)).activity
    result: dict[str, Any] = {}
    for objective in OBJECTIVES:
        started = time.process_time()
        placement = place(network, "loihi2", objective=objective, activity=activity)
        seconds = time.process_time() - started
        result[objective] = {"cpu_s": seconds, **row(network, activity, placement)}
    return result


def table(lines: list[dict[str, Any]]) -> None:
    """Print the time of a step by objective, and the energy by unit of the fewest cores."""
    print("| network | cores | step (us) | balance: step | latency: cores | step | faster | ours | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for line in lines:
        few, even, fast = (line["rows"][name] for name in OBJECTIVES)
        gain = few["detailed_us"] / fast["detailed_us"]
        print(
            f"| {line['network']} | {few['cores']} | {few['detailed_us']:.2f} | {even['detailed_us']:.2f} "
            f"| {fast['cores']} | {fast['detailed_us']:.2f} | {gain:.2f}x | {fast['ours_us']:.2f} "
            f"| {fast['cpu_s']:.1f} |"
        )
    print("\n| network | unit | ours (nJ) | SANA-FE (nJ) | difference |\n|---|---|---|---|---|")
    for line in lines:
        few = line["rows"]["cores"]
        for unit, ours in few["ours_nj"].items():
            theirs = few["sanafe_nj"][unit]
            share = theirs / ours - 1 if ours else 0.0
            print(f"| {line['network']} | {unit} | {ours:,.1f} | {theirs:,.1f} | {share:+.2%} |")


def main() -> None:
    """Measure the networks that are missing in --out, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/objectives.jsonl"))
    parser.add_argument("--only", default="", help="measure the networks whose names hold this")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = options.out.read_text() if options.out.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    for name, network in networks():
        if options.only not in name or name.startswith(SKIPPED) or any(line["network"] == name for line in lines):
            continue
        try:
            lines.append({"network": name, "rows": measured(network, options.rate, options.steps)})
        except SdsnnError as error:
            print(f"{name}: {error}", flush=True)
            continue
        with options.out.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(f"{name}: done", flush=True)
    table(lines)


if __name__ == "__main__":
    main()
