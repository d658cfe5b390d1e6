"""The engine beside Lava, SLAYER, a scipy.sparse loop, norse and snnTorch: same network, input and spikes, in one run.

    python benchmarks/simulate.py [--quick] [--json] [--readers PYTHON] [--plot FILE]

Times are per step of one sample, medians; those of rivals are taken between two of the engine, so that a change of the
machine's load shows. Lava runs each kind of synapse process and counts with its fastest; its start is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from pathlib import Path

import numpy as np
from simulate_models import by_model, show_models
from simulate_networks import NAMED, calibrated, spikes
from simulate_rivals import LAVA_KINDS, ScipyLoop, lava, reader, slayer_model, slayer_run
from simulate_sweeps import bandwidth, by_activity, by_batch, by_size, by_sparsity, median_s, point

from sdsnn.deploy.engine import Engine
from sdsnn_core.lava.compat import lava_available

ACTIVITY, RATE, STEPS = 0.05, 0.05, 50
BATCH = {"nmnist conv": 64, "128x128 conv": 32}
LAVA_STEPS = {"nmnist conv": 50, "128x128 conv": 20}
QUICK = ("mlp 90 %", "nmnist conv")


def compare(name: str, readers: str | None, quick: bool) -> dict:
    """Measure one network on everything; raises AssertionError where spikes differ."""
    network = calibrated(NAMED[name](), ACTIVITY, RATE)
    engine, last = Engine(network), list(network.populations)[-1]
    batch = 16 if quick else BATCH.get(name, 256)
    x = {1: spikes(network, 1, STEPS, ACTIVITY), batch: spikes(network, batch, STEPS, ACTIVITY)}
    truth, silent = engine.run(x[batch]), np.zeros_like(x[batch])

    def ours(n: int) -> float:
        return median_s(lambda: engine.run(x[n], record=[last]), 7) / n / STEPS

    def beside(n: int, theirs: float, before: float) -> dict[str, float]:
        mine = statistics.median([before, ours(n)])
        return {"us": theirs * 1e6, "engine_us": mine * 1e6, "ratio": theirs / mine}

    result: dict = {"bins": 0, "events": point(engine, x[batch])["events"], "batch": batch, "rivals": {}}
    result["engine"] = {n: ours(n) * 1e6 for n in x}
    result["engine_one_thread_us"] = (
        median_s(lambda: engine.run(x[batch], record=[last], n_threads=1)) / batch / STEPS * 1e6
    )
    result["silent_us"] = median_s(lambda: engine.run(silent, record=[last], n_threads=1)) / batch / STEPS * 1e6
    result["plan_mb"] = engine.plan_bytes / 2**20
    result["rates"] = {n: float(truth.counts[n].mean()) / STEPS for n in network.populations}

    def check(trains: dict, n: int) -> None:
        for key, train in trains.items():
            np.testing.assert_array_equal(train, truth.spikes[key][:n] if n > 1 else engine.run(x[1]).spikes[key])
            result["bins"] += train.size

    loop = ScipyLoop(network)
    for n in x:
        before = ours(n)
        check(loop.run(x[n]), n)
        seconds = median_s(lambda n=n: loop.run(x[n]), 2 if "conv" in name else 3) / n / STEPS
        result["rivals"].setdefault("scipy", {})[n] = beside(n, seconds, before)
    if (model := slayer_model(network)) is not None:
        shape = network.inputs["input"].shape
        for n in (1, min(batch, 16)):
            before = ours(1 if n == 1 else batch)
            check({last: slayer_run(model, x[batch][:n] if n > 1 else x[1], shape)}, n)
            given = x[batch][:n] if n > 1 else x[1]
            seconds = median_s(lambda g=given: slayer_run(model, g, shape), 2) / n / STEPS
            result["rivals"].setdefault("slayer", {})[1 if n == 1 else batch] = beside(
                1 if n == 1 else batch, seconds, before
            )
    if lava_available():
        _lava(name, network, engine, x, result, ours)
    for tool in ("norse", "snntorch") if readers else ():
        before = ours(batch)
        if (found := reader(tool, readers, network, x[batch])) is not None:
            entry = beside(batch, found["step_s"], before)
            lag = len(network.populations)  # NIR has no step of transport
            entry["differing_bins"] = float((found["spikes"][:, :-lag] != truth.spikes[last][:, lag:]).mean())
            result["rivals"][tool] = {batch: entry}
    return result


def _lava(name, network, engine, x, result, ours) -> None:  # type: ignore[no-untyped-def]
    samples, steps = 4, LAVA_STEPS.get(name, 200)
    truth = engine.run(spikes(network, samples, steps, ACTIVITY), record=list(network.populations)).spikes
    kinds, before = {}, {n: ours(n) for n in x}
    for kind in LAVA_KINDS if "conv" in name else ("dense", "sparse"):
        found = lava(name, network, kind, samples, steps, ACTIVITY)
        for key, train in found["spikes"].items():
            np.testing.assert_array_equal(train, truth[key], err_msg=f"{name} {kind} {key}")
            result["bins"] += train.size
        kinds[kind] = statistics.median(found["step_s"])
    best = min(kinds, key=lambda kind: kinds[kind])
    result["lava_us"] = {kind: seconds * 1e6 for kind, seconds in kinds.items()}
    result["lava_fastest"] = best
    for n in x:
        mine = statistics.median([before[n], ours(n)])
        result["rivals"].setdefault("lava", {})[n] = {
            "us": kinds[best] * 1e6, "engine_us": mine * 1e6, "ratio": kinds[best] / mine,
        }  # fmt: skip


def show(name: str, found: dict) -> None:
    """Print one network's measurements."""
    print(f"\n{name}: {found['events']:,.0f} synaptic events per step, tables {found['plan_mb']:.1f} MB, "
          f"{found['bins']:,} bins compared, 0 differ")  # fmt: skip
    print(f"  engine {', '.join(f'{us:.2f} us (batch {n})' for n, us in found['engine'].items())}, "
          f"one thread {found['engine_one_thread_us']:.2f}, without input {found['silent_us']:.2f}")  # fmt: skip
    for rival, entries in found["rivals"].items():
        for n, entry in entries.items():
            extra = f", {entry['differing_bins']:.3%} of output bins differ" if "differing_bins" in entry else ""
            print(f"  {rival:9} batch {n:3}: {entry['us']:10.1f} us, engine {entry['engine_us']:7.2f} us, "
                  f"ratio {entry['ratio']:8.1f}{extra}")  # fmt: skip
    if "lava_us" in found:
        print("  Lava by kind: " + ", ".join(f"{k} {us:,.0f} us" for k, us in found["lava_us"].items()))


def limits(networks: dict, speeds: dict[str, float]) -> None:
    """Print what a synaptic event costs and moves, beside what memory could deliver."""
    print("\nread bandwidth of one core: " + ", ".join(f"{size} {v:.1f} GB/s" for size, v in speeds.items()))
    for name, found in networks.items():
        busy = found["engine_one_thread_us"] - found["silent_us"]
        print(f"  {name:14} {busy / found['events'] * 1e3:.3f} ns per event over the silent step; at 6 bytes each, "
              f"index and weight, that would be {6 * found['events'] / busy / 1e3:.1f} GB/s")  # fmt: skip


def plot(sweeps: dict, path: Path) -> None:
    """Draw the cost of a step against its synaptic events."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    lines = [("activity: " + k, v, "o-") for k, v in sweeps["activity"].items()]
    lines += [("sparsity: " + k, v, "s--") for k, v in sweeps["sparsity"].items() if "compressed" in k]
    lines.append(("size: 1,000 to a million neurons, 1 %", sweeps["size"], "^-"))
    for label, points, style in lines:
        axes.loglog([p["events"] for p in points], [p["us"] for p in points], style, label=label, markersize=4)
    ends = np.array([1e3, 1e6])
    axes.loglog(ends, ends * 4e-4, ":", color="grey", label="0.4 ns per event")
    axes.set_xlabel("synaptic events per step")
    axes.set_ylabel("microseconds per step and sample (one thread)")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks, small batches, short sweeps")
    parser.add_argument("--json", action="store_true", help="last line: the speedups as one JSON object")
    parser.add_argument("--readers", metavar="PYTHON", help="interpreter with norse and snnTorch; default this one")
    parser.add_argument("--plot", type=Path, help="write the plot here (.png or .svg)")
    parser.add_argument("--only", help="measure one network only, without sweeps")
    parser.add_argument("--save", type=Path, help="write every number here, as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    names = [arguments.only] if arguments.only else [n for n in NAMED if not arguments.quick or n in QUICK]
    networks = {}
    for name in names:
        networks[name] = compare(name, arguments.readers or sys.executable, arguments.quick)
        show(name, networks[name])
        sys.stdout.flush()
    speeds = bandwidth()
    limits(networks, speeds)
    everything: dict = {"networks": networks, "bandwidth_gb_s": speeds}
    if not arguments.only:
        everything["models"] = by_model(arguments.quick)
        show_models(everything["models"])
        sweeps = {"activity": by_activity(arguments.quick), "sparsity": by_sparsity(arguments.quick),
                  "size": by_size(arguments.quick), "batch": by_batch(arguments.quick)}  # fmt: skip
        everything["sweeps"] = sweeps
        for kind, rows in sweeps.items():
            for label, points in rows.items() if isinstance(rows, dict) else [("", rows)]:
                print(f"\n{kind} {label}")
                for entry in points:
                    print("  " + ", ".join(f"{k} {v:,.4g}" for k, v in entry.items()))
        plot(sweeps, arguments.plot or Path("simulate.png"))
    if arguments.save:
        arguments.save.write_text(json.dumps(everything))
    if arguments.json:
        ratios = {
            f"speedup_vs_{rival}": {
                name: {str(n): entry["ratio"] for n, entry in found["rivals"].get(rival, {}).items()}
                for name, found in networks.items()
            }
            for rival in ("lava", "scipy", "slayer", "norse", "snntorch")
        }
        print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
