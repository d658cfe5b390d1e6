"""Two small jobs that show whether Lava works here; `sdsnn doctor` gives each a child process (`child.py`)."""

import warnings
from typing import Any

from .compat import applied_shims, import_lava, import_netx, import_slayer


def slayer(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one CUBA block of SLAYER forward and back on `payload['spikes']` (batch, channels, steps).

    Returns the output spikes, whether gradients came, and which shims this Python and its packages needed.
    """
    import torch

    library = import_slayer()
    import_netx()
    torch.manual_seed(0)
    spikes = torch.from_numpy(payload["spikes"]).float()
    neuron = {"threshold": 0.2, "current_decay": 1.0, "voltage_decay": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, at constructs that SLAYER still uses
        block = library.block.cuba.Dense(neuron, spikes.shape[1], 8)
        output = block(spikes)
        output.sum().backward()
    return {
        "spikes": output.detach().numpy(),
        "gradients": block.synapse.weight.grad is not None,
        "shims": applied_shims(),
    }


def fixed_point(payload: dict[str, Any]) -> dict[str, Any]:
    """Run Lava's own bit-accurate Dense and LIF processes on its CPU runtime.

    payload: weight (n_post, n_pre) even integers, spikes (steps, n_pre), current_decay, voltage_decay, threshold.
    Returns the spikes (steps, n_post).
    """
    weight, spikes = payload["weight"], payload["spikes"]
    n_steps, n_post = len(spikes), len(weight)
    source = import_lava("lava.proc.io.source").RingBuffer(data=spikes.T)
    synapses = import_lava("lava.proc.dense.process").Dense(weights=weight)
    # Lava adds its ds_offset of 1 to the current decay.
    neurons = import_lava("lava.proc.lif.process").LIF(
        shape=(n_post,), du=payload["current_decay"] - 1, dv=payload["voltage_decay"], vth=payload["threshold"]
    )
    sink = import_lava("lava.proc.io.sink").RingBuffer(shape=(n_post,), buffer=n_steps)
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(neurons.a_in)
    neurons.s_out.connect(sink.a_in)
    steps = import_lava("lava.magma.core.run_conditions").RunSteps(num_steps=n_steps)
    config = import_lava("lava.magma.core.run_configs").Loihi2SimCfg(select_tag="fixed_pt")
    neurons.run(condition=steps, run_cfg=config)
    received = sink.data.get().T.astype("int64")
    neurons.stop()
    return {"spikes": received}
