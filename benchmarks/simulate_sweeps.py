"""Sweeps of `simulate.py`: what a step costs over activity, sparsity, batch and size; memory bandwidth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
from simulate_networks import CUBA, calibrated, chain, dvs_conv, mlp, spikes

from sdsnn.deploy.engine import Engine
from sdsnn_core.network import Input, Network, Population, Synapses


def median_s(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of `repeats` calls after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def point(engine: Engine, x: np.ndarray, threads: int = 1) -> dict:
    """Return microseconds, synaptic events and spikes of one sample's step."""
    samples, steps, _ = x.shape
    activity = engine.run(x, record="counts")
    events = sum(int(e.sum()) for e in activity.events.values())
    seconds = median_s(lambda: engine.run(x, record=(), n_threads=threads))
    return {"us": seconds / samples / steps * 1e6, "events": events / samples / steps}


def by_activity(quick: bool) -> dict[str, list[dict]]:
    """Input activity from 0.1 to 20 %, thresholds as they are at 5 %."""
    networks = {
        "2312-512-512-10, 90 % pruned": mlp(0.9),
        "4096-4096-4096-10, 90 % pruned": mlp(0.9, (4096, 4096, 4096, 10)),
        "128x128 conv": dvs_conv(),
    }
    levels = (0.001, 0.01, 0.1) if quick else (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    result = {}
    for name, network in networks.items():
        engine = Engine(calibrated(network, 0.05, 0.05))
        result[name] = [{"activity": a, **point(engine, spikes(network, 8, 50, a))} for a in levels]
    return result


def by_sparsity(quick: bool) -> dict[str, list[dict]]:
    """Weights pruned by 0 to 99 %, 5 % activity everywhere, each layout."""
    levels = (0.0, 0.9, 0.99) if quick else (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
    result: dict[str, list[dict]] = {}
    for sizes in ((2312, 512, 512, 10), (4096, 4096, 4096, 10)):
        for sparsity in levels:
            network = calibrated(mlp(sparsity, sizes), 0.05, 0.05)
            x = spikes(network, 8, 50, 0.05)
            for layout in ("auto", "sparse"):
                key = f"{'-'.join(map(str, sizes))}, {'chosen layout' if layout == 'auto' else 'compressed columns'}"
                found = point(Engine(network, layout=layout), x)
                result.setdefault(key, []).append({"sparsity": sparsity, **found})
    return result


def by_batch(quick: bool) -> list[dict]:
    """Batches of 1 to 256 samples of the 90 % pruned perceptron on all cores."""
    network = calibrated(mlp(0.9), 0.05, 0.05)
    engine = Engine(network)
    sizes = (1, 16, 256) if quick else (1, 2, 4, 8, 16, 32, 64, 128, 256)
    return [{"batch": n, **point(engine, spikes(network, n, 50, 0.05), threads=2)} for n in sizes]


def random_recurrent(n: int, fan_out: int = 100, seed: int = 0) -> Network:
    """Return n channels onto n neurons with `fan_out` random synapses each."""
    rng = np.random.default_rng(seed)
    post = np.cumsum(rng.integers(1, max(2, n // fan_out), (n, fan_out), dtype=np.int32), axis=1, dtype=np.int32) - 1
    weight = rng.integers(1, 60, n * fan_out, dtype=np.int16) * np.int16(2)
    wires = Synapses("input", "layer1", np.repeat(np.arange(n, dtype=np.int32), fan_out), post.reshape(-1), weight)
    return chain({"input": Input((n,)), "layer1": Population((n,), threshold=1500, **CUBA)}, {"wires": wires}, "layer1")


def by_size(quick: bool) -> list[dict]:
    """One thousand to one million neurons with 100 synapses per channel, 1 % activity."""
    result = []
    for n in (1000, 10_000, 100_000) if quick else (1000, 10_000, 100_000, 1_000_000):
        network = random_recurrent(n)
        result.append({"neurons": n, **point(Engine(network), spikes(network, 1, 10, 0.01))})
    return result


@numba.njit(error_model="numpy")
def _add(words):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for i in range(words.size):
        total += words[i]
    return total


def bandwidth() -> dict[str, float]:
    """Return GB/s at which one core reads 256 KB, 4 MB and 512 MB again and again."""
    result = {}
    for label, size in (("256 KB", 2**18), ("4 MB", 2**22), ("512 MB", 2**29)):
        words = np.ones(size // 8, np.int64)
        times = max(1, 2**28 // size)
        result[label] = size * times / median_s(lambda w=words, n=times: [_add(w) for _ in range(n)]) / 1e9
    return result
