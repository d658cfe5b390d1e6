"""Losses on the spikes of the last block, summed over the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sdsnn_core.lava_compat import import_slayer

from .config_training import OptimiserConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(config: OptimiserConfig) -> Loss:
    """Return loss(spikes (batch, classes, steps), labels (batch,)) -> scalar sum over the batch."""
    if config.loss == "spike_rate":
        rate: Loss = import_slayer().loss.SpikeRate(config.true_rate, config.false_rate, reduction="sum")
        return rate

    def cross_entropy(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(spikes.sum(-1) * config.gain, labels, reduction="sum")

    return cross_entropy
