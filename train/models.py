"""Networks of SLAYER blocks from a configuration."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import torch

from sdsnn_core.lava_compat import import_slayer
from sdsnn_core.network import Shape

from .config import ModelConfig


class BlockNetwork(torch.nn.Module):
    """A chain of SLAYER blocks, kept in order in `blocks`.

    forward takes (batch, channels, steps) float32 spikes and returns the spikes of the last block in the same layout.
    """

    def __init__(self, blocks: list[torch.nn.Module]) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """Run all blocks over all steps."""
        for block in self.blocks:
            spikes = block(spikes)
        return spikes


def build_model(config: ModelConfig, input_shape: Shape, n_classes: int) -> BlockNetwork:
    """Build the network that `config` describes; weights are drawn from torch's global generator."""
    cuba = import_slayer().block.cuba
    neuron: dict[str, Any] = {
        "threshold": config.neuron.threshold,
        "current_decay": config.neuron.current_decay,
        "voltage_decay": config.neuron.voltage_decay,
        "tau_grad": config.neuron.tau_grad,
        "scale_grad": config.neuron.scale_grad,
        "requires_grad": False,
    }
    sizes = [math.prod(input_shape), *config.hidden, n_classes]
    blocks = []
    for index, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        with warnings.catch_warnings():  # SLAYER still uses the old form of weight normalisation
            warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
            block = cuba.Dense(
                dict(neuron),  # SLAYER's blocks may write into the dict they are given
                n_in,
                n_out,
                weight_scale=config.weight_scale,
                weight_norm=config.weight_norm,
                delay=config.delay and index < len(sizes) - 2,
            )
        # One state unit instead of 0.01: the same `v > threshold`, also above 64 and in the CUDA kernel.
        block.neuron.threshold_eps = 1 / block.neuron.s_scale
        blocks.append(block)
    model = BlockNetwork(blocks)
    with torch.no_grad():  # SLAYER makes shapes and delays on the first forward pass
        model(torch.zeros(1, *input_shape, 1))
    return model
