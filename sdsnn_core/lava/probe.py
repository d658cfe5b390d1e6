"""A small job that shows whether SLAYER works here; `sdsnn doctor` runs it in a child process (`child.py`)."""

import warnings
from typing import Any

from .compat import applied_shims, import_netx, import_slayer


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
