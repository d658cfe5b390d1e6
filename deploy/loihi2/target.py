"""The back end loihi2: Lava's Loihi2HwCfg with I/O adapters and the chip's probes. See docs/hardware.md.

Only the output's spikes leave the chip. Everything else an Activity holds comes from the event engine on the same
input, and the output that the chip gave is compared with it, bin by bin; both go into the measurement.
"""

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sdsnn_core.activity import Activity, prepare_inputs
from sdsnn_core.errors import MissingDependency, UnsupportedNode
from sdsnn_core.network import Network

TIMEOUT_S = 3600.0
# What the run needs of the extension, by import name (Lava's own sources and lava-dl's tutorials use these names).
EXTENSION = (
    "lava.magma.compiler.subcompilers.nc.ncproc_compiler",
    "lava.magma.core.model.c.model",
    "lava.magma.core.model.nc.model",
    "lava.proc.embedded_io.spike",
    "lava.utils.loihi2_profiler",
)


def run_loihi2(
    network: Network,
    spikes: Any,
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
) -> Activity:
    """Run every sample on the chip, from its initial state; a back end, see `sdsnn_core.backend.Backend`.

    Only the output's spikes are recorded. `Activity.measured` holds the probes' measurements, and the output's bins
    that differ from the engine's. Raises MissingDependency without Intel's extension, UnsupportedNode for a network
    whose input or output the chip's ports cannot carry.
    """
    from sdsnn_core.lava.child import run_in_child

    from ..engine import Engine

    require_extension()
    check_supported(network)
    inputs, n_samples, _ = prepare_inputs(network, spikes, n_steps)
    output = next(iter(network.outputs.values())).source
    expected = Engine(network).run(inputs, record=[output], record_state=record_state)
    runs = [
        run_in_child("sdsnn.deploy.loihi2.child:run_sample", {"network": network, "spikes": sample}, TIMEOUT_S)
        for sample in next(iter(inputs.values()))
    ]
    emitted = np.stack([run["spikes"] for run in runs])
    totals = {
        "samples": n_samples,
        "output_bins": emitted.size,
        "output_bins_different": int((emitted != expected.spikes[output]).sum()),
    }
    # The output as the chip emitted it; everything inside as the engine computed it.
    return replace(
        expected,
        counts={**expected.counts, output: emitted.sum(axis=1, dtype=np.int64)},
        spikes={output: emitted} if record is None or output in record else {},
        measured={**merge_measured([run["probes"] for run in runs]), **totals},
    )


def missing_modules() -> list[str]:
    """Return the modules of the extension that are missing; Lava itself must be importable."""
    return [name for name in EXTENSION if not _importable(name)]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # a parent package is missing
        return False


def require_extension() -> None:
    """Raise MissingDependency with one message: what is missing, how people get it, what runs here instead."""
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    if missing := missing_modules():
        raise MissingDependency(
            f"Loihi 2: Intel's Lava extension is not installed (missing {', '.join(missing)}). It is not public: "
            "members of Intel's Neuromorphic Research Community get it (intel-nrc.org), and Lava was archived in "
            "May 2026. The same spikes run here with --target engine or --target lava; `sdsnn export --bundle` "
            "makes a folder for someone who has the chip"
        )


def check_supported(network: Network) -> None:
    """Raise UnsupportedNode unless there is one input of plain spikes and one output of spikes."""
    output = next(iter(network.outputs.values()))
    if len(network.outputs) != 1 or output.signal != "spikes":
        raise UnsupportedNode(
            f"loihi2: expected one output, of spikes, got {', '.join(network.outputs)} ({output.signal})"
        )
    for node in network.inputs.values():
        if len(network.inputs) != 1 or node.max_value > 1:
            raise UnsupportedNode(
                f"loihi2: expected one input, of 0 and 1, got {', '.join(network.inputs)} (values to {node.max_value})"
            )


def merge_measured(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one measurement of several: integers are totals and add up, all other numbers are averaged by place.

    A probe's numbers (a mapping) are averaged where all parts have them in one shape.
    """
    merged: dict[str, Any] = {}
    for name in {name: None for part in parts for name in part}:
        values = [part[name] for part in parts if name in part]
        if isinstance(values[0], Mapping):
            merged[name] = {
                key: np.mean([np.asarray(value[key], float) for value in values], axis=0).tolist()
                for key, first in values[0].items()
                if all(np.shape(value.get(key)) == np.shape(first) for value in values)
            }
        else:
            merged[name] = sum(values) if isinstance(values[0], int) else float(np.mean(values))
    return merged
