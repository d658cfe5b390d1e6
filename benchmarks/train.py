"""Training steps side by side: stock SLAYER, the fused neuron, the same developing, spikingjelly and snnTorch.

    python benchmarks/train.py [--quick] [--json] [--rounds N] [--threads N] [--device cpu|cuda]

The network is an N-MNIST one: 34x34x2 events, two convolutions with pooling, two dense layers, 50 steps, batch 32; the
input is random events, since a step's time does not hang on what they show. Each candidate runs in a process of its
own, in turn, for some rounds, so that a change of the machine's load meets all of them. Seconds are of forward, loss,
backward and optimiser; ratios are of medians. The fused neuron must follow SLAYER's loss curve, or the run fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from train_networks import CANDIDATES, measure

NEEDS = {"spikingjelly": "spikingjelly", "snntorch": "snntorch"}


def child(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one candidate in a fresh process; stock SLAYER with torch's own defaults for memory."""
    command = [sys.executable, __file__, "--only", name, "--steps", str(args.steps), "--threads", str(args.threads)]
    command += ["--device", args.device, "--batch", str(args.batch)]
    plain = name in ("slayer", "spikingjelly", "snntorch")
    huge = {"THP_MEM_ALLOC_ENABLE": "0"} if plain else {}
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads), **huge}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Collect the rounds of one candidate."""
    wall, cpu = ([second for run in runs for second in run[key]] for key in ("wall_s", "cpu_s"))
    return {
        "name": name,
        "wall_s": statistics.median(wall),
        "wall_min_s": min(wall),
        "wall_max_s": max(wall),
        "cpu_s": statistics.median(cpu),
        "cpu_min_s": min(cpu),
        "cpu_max_s": max(cpu),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "losses": runs[0]["losses"],
    }


def ratio(results: dict[str, dict[str, Any]], above: str, below: str, key: str) -> float | None:
    """Return how many times as long `above` takes; None if it was not measured."""
    if above not in results:
        return None
    value: float = results[above][key] / results[below][key]
    return value


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of two steps, batch 8")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps per round, after one that is not")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", choices=CANDIDATES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.steps, args.batch, args.threads, args.device)))
        return
    if args.quick:
        args.rounds, args.steps, args.batch = 1, 2, 8
    missing = {name: f"{need} is not installed" for name, need in NEEDS.items() if not importlib.util.find_spec(need)}
    names = [name for name in CANDIDATES if name not in missing]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            runs[name].append(child(name, args))
    results = {name: summary(name, runs[name]) for name in names}
    stock, fused = results["slayer"]["losses"], results["fused"]["losses"]
    if any(abs(a - b) > 1e-3 * abs(a) for a, b in zip(stock, fused, strict=True)):
        raise SystemExit(f"the fused neuron left SLAYER's loss curve: {stock} against {fused}")
    print(f"{'':16}{'wall s':>9}{'min':>8}{'max':>8}{'cpu s':>9}{'peak MiB':>10}")
    for name, line in results.items():
        numbers = (line["wall_s"], line["wall_min_s"], line["wall_max_s"], line["cpu_s"])
        print(f"{name:16}" + "".join(f"{n:>{w}.3f}" for n, w in zip(numbers, (9, 8, 8, 9), strict=True)), end="")
        print(f"{line['peak_mib']:>10.0f}")
    for name, reason in missing.items():
        print(f"{name:16} not measured: {reason}")
    pairs = {
        "speedup_vs_slayer_cpu": ("slayer", "fused"),
        "speedup_vs_spikingjelly": ("spikingjelly", "fused"),
        "speedup_vs_snntorch": ("snntorch", "fused"),
        "development_overhead": ("developing", "fused"),
    }
    if args.device == "cuda":
        pairs["speedup_vs_slayer_cuda"] = pairs.pop("speedup_vs_slayer_cpu")
    last: dict[str, Any] = {key: ratio(results, *pair, "wall_s") for key, pair in pairs.items()}
    last["cpu_seconds"] = {key: ratio(results, *pair, "cpu_s") for key, pair in pairs.items()}
    last |= {"missing": missing, "results": list(results.values()), "threads": args.threads, "batch": args.batch}
    print(f"loss curve of SLAYER {stock}, fused {fused}")
    if args.json:
        print(json.dumps(last))
    else:
        for key in pairs:
            print(f"{key}: {'null' if last[key] is None else round(last[key], 2)}")


if __name__ == "__main__":
    main()
