"""A million neurons and a hundred million synapses: load from disk, build, run; memory per synapse as measured."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from simulate_networks import CUBA, chain, spikes
from simulate_sweeps import random_recurrent

from sdsnn.deploy.engine import Engine
from sdsnn_core.network import Input, Population, Synapses

N = 1_000_000


def resident() -> float:
    """Return resident memory in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Save the arrays, load them, and print seconds and bytes of every stage."""
    with tempfile.TemporaryDirectory() as folder:
        network = random_recurrent(N)
        wires = network.projections["wires"]
        for name in ("pre", "post", "weight"):
            np.save(Path(folder) / f"{name}.npy", getattr(wires, name))
        del network, wires
        before, begin = resident(), time.perf_counter()
        arrays = {name: np.load(Path(folder) / f"{name}.npy") for name in ("pre", "post", "weight")}
    for array in arrays.values():
        array.flags.writeable = False  # so that the network and the engine share them
    nodes = {"input": Input((N,)), "layer1": Population((N,), threshold=1500, **CUBA)}
    network = chain(nodes, {"wires": Synapses("input", "layer1", **arrays)}, "layer1")
    n = arrays["weight"].size
    print(f"{n:,} synapses: loaded and checked in {time.perf_counter() - begin:.1f} s, "
          f"{(resident() - before) / n:.2f} bytes per synapse")  # fmt: skip
    begin = time.perf_counter()
    engine = Engine(network)
    print(f"engine laid out in {time.perf_counter() - begin:.1f} s, {(resident() - before) / n:.2f} bytes per synapse")
    x = spikes(network, 1, 20, 0.01)
    engine.run(x, record="counts")
    begin = time.perf_counter()
    activity = engine.run(x, record="counts")
    seconds, events = time.perf_counter() - begin, int(activity.events["wires"].sum())
    print(f"20 steps in {seconds:.2f} s, {events:,} synaptic events, {seconds / events * 1e9:.2f} ns each; "
          f"{(resident() - before) / n:.2f} bytes per synapse")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"most memory ever: {peak / 2**30:.2f} GiB (making the random network included)")


if __name__ == "__main__":
    main()
