"""The engine beside Lava, neuron model by neuron model, and the delay of a step while events are followed.

    python benchmarks/simulate_models.py [--quick]

`simulate.py` prints the first table too. Every bin of every population is compared before a time is taken.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
from simulate_networks import MODELS, NAMED, calibrated, spikes
from simulate_rivals import lava
from simulate_sweeps import median_s

from sdsnn.deploy.engine import Engine
from sdsnn.deploy.simulate.follow import follow
from sdsnn_core.lava.compat import lava_available

ACTIVITY = 0.05
HEAD = "neurons           events/step   share sent   engine us/step    Lava us/step   ratio   bins, differing"


def by_model(quick: bool = False) -> list[dict]:
    """Measure every model: microseconds of a step of one sample, engine on one thread, and Lava's fastest."""
    rows = []
    for name, make in MODELS.items():
        network = calibrated(make(), ACTIVITY, ACTIVITY)
        engine, samples, steps = Engine(network), 4, 50 if quick else 200
        x = spikes(network, samples, steps, ACTIVITY)
        truth = engine.run(x)
        row = {
            "neurons": name,
            "events": sum(int(e.sum()) for e in truth.events.values()) / samples / steps,
            "sent": statistics.fmean(float((truth.spikes[n] != 0).mean()) for n in network.populations),
            "engine_us": median_s(lambda e=engine, x=x: e.run(x, record=(), n_threads=1)) / samples / steps * 1e6,
            "bins": 0,
        }
        if lava_available():
            times = []
            for kind in ("dense", "sparse"):
                found = lava(name, network, kind, samples, steps, ACTIVITY)
                for key, train in found["spikes"].items():
                    np.testing.assert_array_equal(train, truth.spikes[key], err_msg=f"{name} {kind} {key}")
                    row["bins"] += train.size
                times.append(statistics.median(found["step_s"]))
            row["lava_us"] = min(times) * 1e6
        rows.append(row)
    return rows


def show_models(rows: list[dict]) -> None:
    """Print the table."""
    print(f"\n784-512-512-10, 90 % pruned, batch 4, one thread\n{HEAD}")
    for row in rows:
        theirs = row.get("lava_us")
        beside = f"{theirs:15,.0f} {theirs / row['engine_us']:7,.0f}" if theirs else f"{'-':>15} {'-':>7}"
        print(f"{row['neurons']:16} {row['events']:12,.0f} {row['sent']:12.1%} {row['engine_us']:16.2f} {beside}"
              f"   {row['bins']:,}, 0")  # fmt: skip


def delays(quick: bool = False) -> None:
    """Print how long a step takes from the line that ends it to its last line out, of every network."""
    for name, make in (NAMED | MODELS).items():
        network = calibrated(make(), ACTIVITY, ACTIVITY)
        port = network.inputs["input"]
        x = spikes(network, 1, 100 if quick else 1000, ACTIVITY)[0]
        shape = port.shape if len(port.shape) == 3 else (1, 1, port.size)

        def lines(x=x, shape=shape, flat=shape[:2] == (1, 1)):  # type: ignore[no-untyped-def]
            for step, row in enumerate(x):
                for place in np.flatnonzero(row).tolist():
                    p, y, at = np.unravel_index(place, shape)
                    yield f"{step} {at}" if flat else f"{step} {at} {y} {p}"

        print(f"{name:16} {follow(network, lines(), lambda _: None)}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--delays", action="store_true", help="the delays alone")
    arguments = parser.parse_args()
    if not arguments.delays:
        show_models(by_model(arguments.quick))
    delays(arguments.quick)


if __name__ == "__main__":
    main()
