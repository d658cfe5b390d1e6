"""Run NIR files in another tool: python readers.py TOOL FOLDER, on any Python that has the tool.

Reads FOLDER/*.nir and the input of each, FOLDER/*.npy (samples, steps, *shape); writes FOLDER/*.out.npy.
Imports nothing of sdsnn, so that the tools may live in an environment of their own (SDSNN_READERS).
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path


def load(tool, graph, n_steps):
    """Return a function (steps, samples, *shape) -> (steps, samples, *shape) that starts from rest."""
    if tool == "norse":
        import norse.torch

        return stepwise(norse.torch.from_nir(graph, dt=1e-4))
    if tool == "snntorch":
        from snntorch.import_nir import import_from_nir

        return stepwise(import_from_nir(graph))
    if tool == "spikingjelly":
        from spikingjelly.activation_based import nir_exchange

        return stepwise(nir_exchange.import_from_nir(graph, dt=1e-4, step_mode="s"))
    return sinabs(graph, n_steps)


def sinabs(graph, n_steps):
    """With the three settings that docs/formats.md names: single spikes, reset to zero, no lower bound."""
    import sinabs.layers
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import from_nir

    model = from_nir(graph, num_timesteps=n_steps)
    for module in model.modules():
        if isinstance(module, sinabs.layers.StatefulLayer):
            module.spike_fn, module.reset_fn, module.min_v_mem = SingleSpike, MembraneReset(), None

    def whole(x):
        y = first(model(x.transpose(0, 1).flatten(0, 1)))  # (samples * steps, *shape)
        return y.unflatten(0, (x.shape[1], n_steps)).transpose(0, 1)

    return whole


def stepwise(model):
    """A model of single steps that hands its state on."""
    import torch

    def whole(x):
        state, out = None, []
        for step in x:
            answer = model(step) if state is None else model(step, state)
            spikes, state = answer if isinstance(answer, tuple) else (answer, None)
            out.append(spikes)
        return torch.stack(out)

    return whole


def first(answer):
    """The output, where a tool returns its state as well."""
    return answer[0] if isinstance(answer, tuple) else answer


def main(tool, folder):
    """Run every file of the folder."""
    import nir
    import numpy as np
    import torch

    # sinabs 3.1.3 asks for nir 1.0.4, which has no type check to leave out
    unchecked = {"type_check": False} if "type_check" in inspect.signature(nir.read).parameters else {}
    for file in sorted(folder.glob("*.nir")):
        graph = nir.read(file, **unchecked)
        x = torch.from_numpy(np.load(file.with_suffix(".npy")).astype(np.float32)).transpose(0, 1).contiguous()
        with torch.no_grad():
            y = load(tool, graph, len(x))(x)
        np.save(file.with_suffix(".out.npy"), y.transpose(0, 1).flatten(2).numpy())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], Path(sys.argv[2]))
