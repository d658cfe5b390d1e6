"""Adam, in one pass over memory where torch has it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from .config_training import OptimiserConfig


def adam(parameters: Iterable[torch.nn.Parameter], settings: OptimiserConfig) -> torch.optim.AdamW:
    """Return AdamW over `parameters`.

    Torch's fused step takes a tenth of the time of the plain one on a CPU, and does not slow down where moments are
    zero, as those of absent synapses are. Before torch 2.4 it runs on GPUs only.
    """
    weights = list(parameters)
    rate, decay = settings.learning_rate, settings.weight_decay
    try:
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
