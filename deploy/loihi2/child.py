"""One sample on Loihi 2, in a child process: adapters in and out, Loihi2HwCfg, the probes as callbacks."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SCRIPT = Path(__file__).parents[1] / "templates" / "run_on_loihi.txt"
# The numbers of each probe, as lava-dl's benchmark tutorials read them. Powers in watts, times in microseconds.
READ: dict[str, tuple[str, ...]] = {
    "Loihi2Power": (
        "total_power", "vdd_power", "vddm_power", "vddio_power",
        "static_total_power", "static_vdd_power", "static_vddm_power", "static_vddio_power",
    ),
    "Loihi2ExecutionTime": (
        "avg_time_per_step", "execution_time_per_step", "management_time_per_step", "host_time_per_step",
    ),
    "Loihi2Activity": ("core_idx", "chip_idx", "syn_ops", "dendrite_updates", "axon_out", "spikes_in", "spike_axon_in"),
    "Loihi2Memory": ("total_mpds", "core_idx"),
}  # fmt: skip


def run_sample(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run `spikes` (steps, channels) on `network`; return the output's `spikes` (steps, size) and `probes`."""
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2HwCfg

    from sdsnn.export.lava.neurons import NEURONS
    from sdsnn.export.lava.processes import connect

    network, x = payload["network"], payload["spikes"]
    (port,), output = network.inputs, next(iter(network.outputs.values())).source
    n_steps, size = x.shape[0], network.size_of(output)
    # The script of the bundle stands alone, so what both do lies there.
    sends, takes, sink = runpy.run_path(str(SCRIPT))["ends"](x, (size,), cpu=False)
    processes: dict[str, Any] = {
        name: NEURONS.for_(population)(population) for name, population in network.populations.items()
    }
    processes[port] = SimpleNamespace(s_out=sends)  # `connect` expects a process with this port
    connect(network, processes)
    processes[output].s_out.connect(takes)
    probes = make_probes(n_steps)
    config = Loihi2HwCfg(select_tag="fixed_pt", callback_fxs=list(probes.values()))
    runner = processes[output]
    try:
        runner.run(condition=RunSteps(num_steps=n_steps), run_cfg=config)
        spikes = sink.data.get().T.astype(np.uint8)
    finally:
        runner.stop()
    return {"spikes": spikes, "probes": read_probes(probes)}


def make_probes(n_steps: int) -> dict[str, Any]:
    """Return the chip's probes by name, set for a run of n_steps."""
    from lava.utils import loihi2_profiler

    return {
        "Loihi2Power": loihi2_profiler.Loihi2Power(num_steps=n_steps),
        "Loihi2ExecutionTime": loihi2_profiler.Loihi2ExecutionTime(
            buffer_size=1024, t_start=1, t_end=n_steps, bin_size=1
        ),
        "Loihi2Activity": loihi2_profiler.Loihi2Activity(),
        "Loihi2Memory": loihi2_profiler.Loihi2Memory(),
    }


def read_probes(probes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of every probe as plain values; what a probe does not offer is left out."""
    return {
        name: {key: np.asarray(getattr(probe, key)).tolist() for key in READ[name] if hasattr(probe, key)}
        for name, probe in probes.items()
    }
