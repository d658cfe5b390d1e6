"""Losses on the spikes of the last block, summed over the batch: cross-entropy on counts, and SLAYER's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sdsnn_core.lava.compat import import_slayer

from ..run.config_training import OptimiserConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(config: OptimiserConfig, device: torch.device | str = "cpu") -> Loss:
    """Return loss(spikes (batch, classes, steps), labels (batch,) int64) -> scalar sum over the batch.

    cross_entropy: of the softmax of gain x spikes. The others are lava-dl's classes (lava/lib/dl/slayer/loss.py, 0.6.0)
    with reduction="sum": SpikeRate to the two rates; SpikeMax, in its softmax mode, for log(0) is what the other gives
    for a silent class; SpikeMoid to one-hot labels; SpikeTime to trains spread evenly at the two rates.
    """

    def cross_entropy(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(spikes.sum(-1) * config.gain, labels, reduction="sum")

    if config.loss == "cross_entropy":
        return cross_entropy
    losses = import_slayer().loss
    made: Any
    if config.loss == "spike_rate":
        made = losses.SpikeRate(config.true_rate, config.false_rate, moving_window=None, reduction="sum")
    elif config.loss == "spike_max":
        made = losses.SpikeMax(mode="softmax", reduction="sum")
    elif config.loss == "spike_moid":
        made = losses.SpikeMoid(reduction="sum", alpha=1 / config.gain, theta=config.false_rate)
    else:
        made = losses.SpikeTime(reduction="sum")
    made.to(device)
    if config.loss in ("spike_rate", "spike_max"):
        plain: Loss = made
        return plain

    def against_targets(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        wanted = torch.nn.functional.one_hot(labels, spikes.shape[1])
        if config.loss == "spike_moid":
            result: torch.Tensor = made(spikes, wanted.to(spikes.dtype))
            return result
        trains = [even_train(rate, spikes.shape[-1], spikes) for rate in (config.false_rate, config.true_rate)]
        result = made(spikes, torch.where(wanted[..., None].bool(), trains[1], trains[0]))
        return result

    return against_targets


def even_train(rate: float, n_steps: int, like: torch.Tensor) -> torch.Tensor:
    """Return (n_steps,) spikes spread evenly, round(rate x steps so far) of them up to every step."""
    so_far = torch.round(torch.arange(n_steps + 1, dtype=torch.float64) * rate)
    return so_far.diff().to(like)
