"""Adam, in one pass over memory where torch has it."""

from collections.abc import Iterable

import torch


def adam(
    parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float = 0.0
) -> torch.optim.AdamW:
    """Return AdamW over `parameters`.

    Torch's fused step takes a tenth of the time of the plain one on a CPU, and does not slow down where moments are
    zero, as those of absent synapses are. Before torch 2.4 it runs on GPUs only.
    """
    weights = list(parameters)
    try:
        return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay)
