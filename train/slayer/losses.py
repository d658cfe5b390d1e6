"""Losses on the spikes of the last block, summed over the batch: cross-entropy on counts, and SLAYER's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sdsnn_core.lava.compat import import_slayer

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(
    name: str,
    *,
    gain: float = 0.7,
    true_rate: float = 0.9,
    false_rate: float = 0.02,
    device: torch.device | str = "cpu",
) -> Loss:
    """Return a loss of spikes and labels.

    cross_entropy: of the softmax of gain x spikes. The others are lava-dl's classes (lava/lib/dl/slayer/loss.py, 0.6.0)
    with reduction="sum": SpikeRate to the two rates; SpikeMax, in its softmax mode, for log(0) is what the other gives
    for a silent class; SpikeMoid to one-hot labels; SpikeTime to trains spread evenly at the two rates.

    Args:
        name: cross_entropy, spike_rate, spike_max, spike_moid or spike_time.
        gain: cross_entropy: logit per output spike; spike_moid: per spike rate.
        true_rate: spike_rate, spike_time: spikes per step wanted of the right class.
        false_rate: spike_rate, spike_time: and of the others; spike_moid: the bias.
        device: of the spikes.

    Returns:
        loss(spikes (batch, classes, steps), labels (batch,) int64) -> scalar sum over the batch.
    """

    def cross_entropy(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(spikes.sum(-1) * gain, labels, reduction="sum")

    if name == "cross_entropy":
        return cross_entropy
    losses = import_slayer().loss
    criterion: Any = {
        "spike_rate": lambda: losses.SpikeRate(true_rate, false_rate, moving_window=None, reduction="sum"),
        "spike_max": lambda: losses.SpikeMax(mode="softmax", reduction="sum"),
        "spike_moid": lambda: losses.SpikeMoid(reduction="sum", alpha=1 / gain, theta=false_rate),
        "spike_time": lambda: losses.SpikeTime(reduction="sum"),
    }[name]().to(device)

    def against_targets(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        targets = torch.nn.functional.one_hot(labels, spikes.shape[1]).to(spikes.dtype)
        if name == "spike_time":
            low, high = (even_train(rate, spikes.shape[-1], spikes) for rate in (false_rate, true_rate))
            targets = torch.where(targets[..., None].bool(), high, low)
        result: torch.Tensor = criterion(spikes, targets)
        return result

    return against_targets if name in ("spike_moid", "spike_time") else criterion


def even_train(rate: float, n_steps: int, like: torch.Tensor) -> torch.Tensor:
    """Return (n_steps,) spikes spread evenly, round(rate x steps so far) of them up to every step."""
    so_far = torch.round(torch.arange(n_steps + 1, dtype=torch.float64) * rate)
    return so_far.diff().to(like)
