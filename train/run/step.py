"""One step of the optimiser on a batch that comes in parts: one after another, and shared by processes.

The batch is cut into (processes x accumulate) parts in a fixed order. Gradients are sums over parts, so two processes
take the very step that one process with twice `accumulate` takes.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.tasks.task import LABEL, Task

from ..development.developer import Developer
from ..slayer.block_spikes import reset_state
from ..slayer.evaluate import output_signal
from ..slayer.losses import Loss
from ..slayer.tracing import output_of
from .processes import ProcessGroup

Part = tuple[Tensor, Tensor]  # spikes (n, *shape, steps) float32 and targets


class Teacher(Protocol):
    """What a network learns from beside the labels."""

    digest: str

    def loss(self, output: Tensor, spikes: Tensor) -> Tensor:
        """Return what is added to the loss of a batch that was run on `spikes` (batch, *shape, steps)."""
        ...


class Goal(NamedTuple):
    """What a run minimises, (output, targets) -> sum over the samples; what its output is read as; and its teacher."""

    loss: Loss
    task: Task = LABEL
    teacher: Teacher | None = None


class Stepper:
    """Takes optimiser steps.

    Args:
        model: the network in training.
        optimiser: of its parameters.
        goal: what is minimised, and what the output is read as. Its teacher adds to the loss of training.
        developer: of the model.
        group: the processes that share each batch.
        accumulate: parts that each process computes its share in.
        clip: largest norm of the gradient; None for no bound.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        goal: Goal,
        developer: Developer,
        group: ProcessGroup,
        *,
        accumulate: int = 1,
        clip: float | None = None,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.loss, self.task, self.teacher = goal
        self.developer = developer
        self.group = group
        self.accumulate = accumulate
        self.clip = clip
        self.signal = output_signal(model)
        self.n_parts = accumulate * group.world_size
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def own_parts(self, n_samples: int) -> list[tuple[int, slice]]:
        """Return this process' parts of a batch: number and samples. Parts without a sample are left out."""
        size = math.ceil(n_samples / self.n_parts)
        numbers = range(self.group.rank * self.accumulate, (self.group.rank + 1) * self.accumulate)
        return [(n, slice(n * size, min((n + 1) * size, n_samples))) for n in numbers if n * size < n_samples]

    def step(self, parts: Sequence[Part], n_samples: int, seeds: Sequence[Sequence[int]]) -> tuple[float, int, int]:
        """Take a step on a batch of n_samples, of which `parts` are of this rank.

        seeds: of the random numbers (dropout) of each part. Returns, of `parts`, the summed loss, the right
        answers and how many there are to give.
        """
        total, right, answers = 0.0, 0, 0
        self.optimiser.zero_grad()
        device = self.group.device
        with self.developer.accumulating() if self.n_parts > 1 else contextlib.nullcontext([]) as grow_scores:
            for (spikes, labels), seed in zip(parts, seeds, strict=True):
                torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
                spikes, labels = spikes.to(device), labels.to(device)
                reset_state(self.model)
                with self.group.autocast():
                    output = output_of(self.model(spikes))
                loss = self.loss(output, labels)
                if self.teacher is not None:
                    loss = loss + self.teacher.loss(output, spikes)
                torch.autograd.backward(loss / n_samples)
                total += float(loss.detach())
                targets = labels.cpu().numpy()
                readings = self.task.read(output.detach().float().cpu().numpy(), self.signal, targets)
                hits, of = self.task.right(readings, targets)
                right, answers = right + hits, answers + of
            if self.group.world_size > 1:
                self._all_reduce(grow_scores)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        self.developer.step()
        return total, right, answers

    def _all_reduce(self, grow_scores: list[Tensor]) -> None:
        """All-reduce gradients and grow scores; average the running means of norms, which differ between processes."""
        means = [
            buffer for name, buffer in self.model.named_buffers() if "running" in name and buffer.is_floating_point()
        ]
        has_gradient = torch.tensor([float(p.grad is not None) for p in self.parameters], device=self.group.device)
        for parameter in self.parameters:
            if parameter.grad is None:  # no sample on this rank, or no path from this parameter to the loss
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self.group.all_reduce([*gradients, *grow_scores, *means, has_gradient])
        for mean in means:
            mean /= self.group.world_size
        for parameter, exists in zip(self.parameters, has_gradient.tolist(), strict=True):
            if not exists:
                parameter.grad = None
