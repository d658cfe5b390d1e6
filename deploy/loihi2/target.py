"""The target loihi2: Lava's Loihi2HwCfg with I/O adapters and the chip's probes. See docs/hardware.md.

Only the output's spikes leave the chip. Everything else an Activity holds comes from the event engine on the same
input, and the output that the chip gave is compared with it, bin by bin; both go into the measurement.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Network

from ..simulate.targets import Options, portions
from .probe import require_extension

TIMEOUT_S = 3600.0
PROBES = ("Loihi2Power", "Loihi2ExecutionTime", "Loihi2Activity", "Loihi2Memory")


def run_loihi2(network: Network, samples: Iterator[Any], options: Options) -> Iterator[Activity]:
    """Run every sample on the chip, from its initial state; fill options.measured with what the probes said.

    Raises MissingDependency without Intel's extension, UnsupportedNode for what the chip's input and output cannot
    carry.
    """
    require_extension()
    check_supported(network)
    return _run(network, samples, options)


def check_supported(network: Network) -> None:
    """Raise UnsupportedNode unless there is one input of plain spikes and one output of spikes."""
    output = next(iter(network.outputs.values()))
    if len(network.outputs) != 1 or output.signal != "spikes":
        raise UnsupportedNode(f"loihi2: got outputs {sorted(network.outputs)}, allowed is one, of spikes")
    for name, node in network.inputs.items():
        if len(network.inputs) != 1 or node.max_value > 1:
            raise UnsupportedNode(f"loihi2: got input {name!r} of {len(network.inputs)}, allowed is one, of 0 and 1")


def _run(network: Network, samples: Iterator[Any], options: Options) -> Iterator[Activity]:
    from ..engine import Engine

    engine = Engine(network)
    output = next(iter(network.outputs.values())).source
    totals = {"samples": 0, "output_bins": 0, "output_bins_different": 0}
    measured: list[dict[str, Any]] = []
    for x in portions(network, samples, options, 1):
        expected = engine.run(x, record=[output])
        spikes, probes = on_chip(network, x)
        measured.append(probes)
        differing = int((spikes != expected.spikes[output]).sum())
        totals["samples"] += 1
        totals["output_bins"] += spikes.size
        totals["output_bins_different"] += differing
        # The chip's word on the output; the engine's on what stays inside.
        counts = {**expected.counts, output: spikes.sum(axis=1, dtype=np.int64)}
        options.measured.clear()
        options.measured.update(merge_probes(measured), **totals)
        yield replace(expected, counts=counts, spikes={})


def on_chip(network: Network, x: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """Run one sample (1, steps, channels) in a process of its own, as profiled runs need.

    Returns the output's spikes (1, steps, size) and what each probe measured.
    """
    import json

    from sdsnn.export.nir_format.writer import write_nir
    from sdsnn_core.lava.child import run_in_child

    with tempfile.TemporaryDirectory(prefix="sdsnn-loihi2-") as folder:
        write_nir(network, Path(folder) / "network.nir")
        np.save(Path(folder) / "input.npy", x[0])
        run_in_child("sdsnn.deploy.loihi2.child:run_sample", {"folder": folder}, TIMEOUT_S)
        spikes = np.load(Path(folder) / "output.npy")
        probes: dict[str, Any] = json.loads((Path(folder) / "probes.json").read_text())
    return spikes[None], probes


def merge_probes(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the mean over runs of every number of every probe; lists (per core, per step) are averaged by place."""
    found: dict[str, dict[str, Any]] = {}
    for probe in PROBES:
        of_probe = [run[probe] for run in runs if probe in run]
        if not of_probe:
            continue
        found[probe] = {
            name: np.mean([np.asarray(one[name], float) for one in of_probe], axis=0).tolist()
            for name in of_probe[0]
            if all(np.shape(one.get(name)) == np.shape(of_probe[0][name]) for one in of_probe)
        }
    return found
