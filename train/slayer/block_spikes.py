"""The spikes of every block of a SLAYER model, laid out as the populations of its Network are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sdsnn_core.lava.compat import import_slayer

from .integers import axonal_delay
from .lowering import population_name


def reset_state(model: torch.nn.Module) -> None:
    """Put every neuron back to rest. Recurrent blocks carry state from one forward pass to the next otherwise."""
    for module in model.modules():
        if hasattr(module, "delay_buffer"):
            state_holder: Any = module
            state_holder.delay_buffer = None
        for name in ("current_state", "voltage_state", "spike_state"):
            state = getattr(module, name, None)
            if isinstance(state, torch.Tensor):
                state.zero_()


def trace(
    blocks: Sequence[torch.nn.Module], spikes: npt.NDArray[np.uint8], batch_size: int = 64
) -> dict[str, npt.NDArray[np.uint8]]:
    """Run blocks from rest on `spikes` (samples, steps, *shape); return population -> (samples, steps, size) uint8.

    Bin t holds what the population of that name emits in step t. SLAYER delays axons at the source, a Network on the
    way, so the delays are taken off again; for that the run is as many steps longer as the largest delay.
    """
    model = torch.nn.ModuleList(blocks)
    was_training = model.training
    model.eval()
    delays = {i: axonal_delay(block) for i, block in enumerate(blocks) if getattr(block, "delay", None) is not None}
    longest = max((int(steps.max()) for steps in delays.values()), default=0)
    n_steps = spikes.shape[1]
    parts: dict[str, list[npt.NDArray[np.uint8]]] = {}
    with torch.no_grad():
        for start in range(0, len(spikes), batch_size):
            reset_state(model)
            batch = np.moveaxis(spikes[start : start + batch_size], 1, -1).astype(np.float32)
            values = torch.nn.functional.pad(torch.from_numpy(batch), (0, longest))
            for index, block in enumerate(blocks):
                values = block(values)
                if emits_spikes(block):
                    emitted = _without_delay(values.cpu().numpy(), delays.get(index), n_steps)
                    parts.setdefault(population_name(index, block), []).append(emitted)
    reset_state(model)
    model.train(was_training)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def emits_spikes(block: Any) -> bool:
    """Return True for a block that becomes a population that fires: no Flatten, Input port or Affine readout."""
    affine = import_slayer().block.base.AbstractAffine
    return getattr(block, "neuron", None) is not None and not isinstance(block, affine)


def _without_delay(values: npt.NDArray[Any], delay: npt.NDArray[Any] | None, n_steps: int) -> npt.NDArray[np.uint8]:
    """Return (batch, channels, ..., steps) as (batch, n_steps, size) uint8, each channel advanced by its delay."""
    flat = values.reshape(len(values), -1, values.shape[-1])
    if delay is None:
        result = flat[..., :n_steps]
    else:
        steps = np.repeat(delay, flat.shape[1] // len(delay))
        when = steps[:, None] + np.arange(n_steps)[None, :]
        result = np.take_along_axis(flat, when[None], axis=2)
    return np.moveaxis(result, -1, 1).astype(np.uint8)
