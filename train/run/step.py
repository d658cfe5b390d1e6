"""One step of the optimiser on a batch that comes in parts: one after another, and shared by processes.

The batch is cut into (processes x accumulate) parts in a fixed order. Gradients are sums over parts, so two processes
take the very step that one process with twice `accumulate` takes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..development.developer import Developer
from ..slayer.block_spikes import reset_state
from ..slayer.losses import Loss
from ..slayer.models import BlockNetwork
from .config import RunConfig
from .processes import Team

Part = tuple[Tensor, Tensor]  # spikes (n, *shape, steps) float32 and labels (n,) int64


class Stepper:
    """Takes steps. config: its `optimiser` section and seed count."""

    def __init__(
        self,
        model: BlockNetwork,
        optimiser: torch.optim.Optimizer,
        loss: Loss,
        developer: Developer,
        config: RunConfig,
        team: Team,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.loss = loss
        self.developer = developer
        self.config = config
        self.team = team
        self.n_parts = config.optimiser.accumulate * team.size
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def own_parts(self, n_samples: int) -> list[tuple[int, slice]]:
        """Return this process' parts of a batch: number and samples. Parts without a sample are left out."""
        size = math.ceil(n_samples / self.n_parts)
        each = self.config.optimiser.accumulate
        numbers = range(self.team.rank * each, (self.team.rank + 1) * each)
        return [(n, slice(n * size, min((n + 1) * size, n_samples))) for n in numbers if n * size < n_samples]

    def step(self, parts: Sequence[Part], n_samples: int, seeds: Sequence[Sequence[int]]) -> tuple[float, int]:
        """Take a step on a batch of n_samples, of which `parts` are here; return their summed loss and number of hits.

        seeds: seeds of the random numbers (dropout) of each part.
        """
        total, right = 0.0, 0
        self.optimiser.zero_grad()
        device = self.team.device
        with self.developer.accumulating() if self.n_parts > 1 else contextlib.nullcontext([]) as grow_scores:
            for (spikes, labels), seed in zip(parts, seeds, strict=True):
                torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
                wanted = labels.to(device)
                reset_state(self.model)
                with self.team.autocast():
                    output = self.model(spikes.to(device))
                loss = self.loss(output, wanted)
                torch.autograd.backward(loss / n_samples)
                total += float(loss.detach())
                right += int((output.detach().sum(-1).argmax(1) == wanted).sum())
            if self.team.size > 1:
                self._add_up(grow_scores)
        if self.config.optimiser.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.optimiser.clip)
        self.optimiser.step()
        self.developer.step()
        return total, right

    def _add_up(self, grow_scores: list[Tensor]) -> None:
        """All-reduce gradients and grow scores; average the running means of norms, which differ between processes."""
        means = [
            buffer for name, buffer in self.model.named_buffers() if "running" in name and buffer.is_floating_point()
        ]
        has_gradient = torch.tensor(
            [float(parameter.grad is not None) for parameter in self.parameters], device=self.team.device
        )
        for parameter in self.parameters:
            if parameter.grad is None:  # no sample here, or no path from this parameter to the loss
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self.team.add_up([*gradients, *grow_scores, *means, has_gradient])
        for mean in means:
            mean /= self.team.size
        for parameter, exists in zip(self.parameters, has_gradient.tolist(), strict=True):
            if not exists:
                parameter.grad = None
