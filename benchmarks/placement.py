"""Placement against its lower bound on twelve networks and a million neurons: `python benchmarks/placement.py`."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import numpy as np

from sdsnn.deploy.placement.place import place
from sdsnn_core.network import Convolution, Input, Network, Node, Output, Population, Projection, Synapses


def dense(sizes: list[int], density: float, seed: int, delay: int = 0) -> Network:
    """Return layers of `sizes` (the first is the input); each synapse is there with probability `density`."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {"input": Input((sizes[0],))}
    wires: dict[str, Projection] = {}
    before = "input"
    for i, (n_pre, n_post) in enumerate(pairwise(sizes)):
        name = f"dense{i}"
        here = np.flatnonzero(rng.random(n_pre * n_post) < density)
        weight = rng.choice(np.r_[-128:0, 1:128], here.size) * 2
        delays = rng.integers(0, delay + 1, here.size) if delay else np.zeros((), np.uint8)
        nodes[name] = Population((n_post,), 4096, 128, 80)
        wires[f"{before}-{name}"] = Synapses(before, name, here // n_post, here % n_post, weight, delays)
        before = name
    nodes["output"] = Output(before)
    return Network(nodes, wires)


def convolutional(shape: tuple[int, int, int], layers: list[tuple[int, int, int]], kept: float, seed: int) -> Network:
    """Return convolutions (channels, kernel, stride) and ten outputs; a share `kept` of the kernel is there."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {"input": Input(shape)}
    wires: dict[str, Projection] = {}
    before = "input"
    for i, (channels, size, stride) in enumerate(layers):
        kernel = rng.choice(np.r_[-128:0, 1:128], (channels, shape[0], size, size)) * 2
        kernel *= rng.random(kernel.shape) < kept
        name = f"conv{i}"
        wire = Convolution(before, name, kernel, stride=(stride, stride), padding=(size // 2, size // 2))
        shape = wire.output_shape(shape)  # type: ignore[assignment]
        nodes[name], wires[f"{before}-{name}"], before = Population(shape, 4096, 128, 80), wire, name
    matrix = rng.choice([-6, 4, 90], (10, int(np.prod(shape)))) * (rng.random((10, int(np.prod(shape)))) < kept)
    nodes["readout"] = Population((10,), 4096, 128, 80)
    wires[f"{before}-readout"] = Synapses.from_dense(before, "readout", matrix)
    nodes["output"] = Output("readout")
    return Network(nodes, wires)


def networks() -> Iterator[tuple[str, Network]]:
    """Yield the twelve networks."""
    yield "digits MLP 64-256-128-10, full", dense([64, 256, 128, 10], 1.0, 0)
    yield "MNIST MLP 784-512-512-10, full", dense([784, 512, 512, 10], 1.0, 1)
    yield "MNIST MLP 784-512-512-10, 10 %", dense([784, 512, 512, 10], 0.1, 2)
    yield "MLP 2048-2048-2048-10, full", dense([2048, 2048, 2048, 10], 1.0, 3)
    yield "MLP 2048-2048-2048-10, 5 %", dense([2048, 2048, 2048, 10], 0.05, 4)
    yield "SHD 700-1024-1024-20, 20 %, delays to 60", dense([700, 1024, 1024, 20], 0.2, 5, delay=60)
    yield "random 4096-16384-10, 1 %", dense([4096, 16384, 10], 0.01, 6)
    yield "N-MNIST 2x34x34, 16c5s2-32c3s2", convolutional((2, 34, 34), [(16, 5, 2), (32, 3, 2)], 1.0, 7)
    yield "N-MNIST 2x34x34, half pruned", convolutional((2, 34, 34), [(16, 5, 2), (32, 3, 2)], 0.5, 8)
    yield "PilotNet 3x66x200, nine layers, 107,033 neurons", pilotnet(11)
    large = [(16, 5, 2), (32, 3, 2), (64, 3, 2), (64, 3, 1)]
    yield "convolutions of 2x112x112, 100,362 neurons", convolutional((2, 112, 112), large, 0.25, 12)
    yield "DVS 2x64x64, 16c5s2-32c3s2-64c3s2", convolutional((2, 64, 64), [(16, 5, 2), (32, 3, 2), (64, 3, 2)], 0.5, 9)


def pilotnet(seed: int) -> Network:
    """Return the nine layers of PilotNet (Bojarski et al., arXiv 1604.07316) with an input of 3 x 66 x 200."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (3, 66, 200)
    nodes: dict[str, Node] = {"input": Input(shape)}
    wires: dict[str, Projection] = {}
    before = "input"
    for i, (channels, size, stride) in enumerate([(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)]):
        kernel = rng.choice(np.r_[-128:0, 1:128], (channels, shape[0], size, size)) * 2
        wire = Convolution(before, f"conv{i}", kernel, stride=(stride, stride))
        shape = wire.output_shape(shape)
        nodes[f"conv{i}"], wires[f"{before}-conv{i}"] = Population(shape, 4096, 128, 80), wire
        before = f"conv{i}"
    for i, size in enumerate((100, 50, 10, 1)):
        matrix = rng.choice(np.r_[-128:0, 1:128], (size, int(np.prod(shape)))) * 2
        nodes[f"dense{i}"] = Population((size,), 4096, 128, 80)
        wires[f"{before}-dense{i}"] = Synapses.from_dense(before, f"dense{i}", matrix)
        before, shape = f"dense{i}", (size,)
    nodes["output"] = Output(before)
    return Network(nodes, wires)


def million(seed: int) -> Network:
    """Return a million neurons in four layers, eight synapses each."""
    rng = np.random.default_rng(seed)
    size, fan_in = 250_000, 8
    nodes: dict[str, Node] = {"input": Input((10_000,))}
    wires: dict[str, Projection] = {}
    before, n_pre = "input", 10_000
    for i in range(4):
        pair = np.unique(rng.integers(0, n_pre, size * fan_in) * size + np.repeat(np.arange(size), fan_in))
        name = f"layer{i}"
        weight = rng.choice([-64, -2, 2, 128], pair.size)
        nodes[name] = Population((size,), 4096, 128, 80)
        wires[f"{before}-{name}"] = Synapses(before, name, pair // size, pair % size, weight)
        before, n_pre = name, size
    nodes["output"] = Output(before)
    return Network(nodes, wires)


def main() -> None:
    """Print a table of cores, bounds, gaps and seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-million", action="store_true", help="leave the million neurons out")
    parser.add_argument("--bound", action="store_true", help="compute the tight lower bound")
    options = parser.parse_args()
    print("| network | chip | cores | lower bound | gap | bound by | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    cases = [(name, network) for name, network in networks()]
    if not options.no_million:
        cases.append(("a million neurons, 8 synapses each", million(10)))
    for name, network in cases:
        for chip in ("loihi1", "loihi2"):
            started = time.process_time()
            placement = place(network, chip, tight_bound=options.bound)
            seconds = time.process_time() - started
            gap = placement.n_cores / placement.lower_bound - 1
            by = max(placement.bounds, key=lambda key: placement.bounds[key])
            print(
                f"| {name} | {chip} | {placement.n_cores} | {placement.lower_bound} | {gap:.0%} | {by} "
                f"| {seconds:.1f} |",
                flush=True,
            )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"\n{date.today()}, {platform.machine()} {platform.system()}, {cores} cores, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
