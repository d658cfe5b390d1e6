"""Run a model on a split: predictions, loss and spikes per layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from .data import Split
from .losses import Loss
from .models import BlockNetwork
from .trace import reset_state


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """counts: (n, classes) int64 output spikes. rates: mean spikes per neuron and step, one per block."""

    loss: float
    counts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    rates: list[float]

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Class with most output spikes; ties go to the lower class."""
        return np.asarray(np.argmax(self.counts, axis=1))

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float((self.predictions == self.labels).mean())


def to_slayer(spikes: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return (batch, steps, *shape) bins as the (batch, *shape, steps) float32 tensor that SLAYER takes."""
    return torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))


def evaluate(model: BlockNetwork, split: Split, loss: Loss, batch_size: int = 256, device: str = "cpu") -> Evaluation:
    """Run the whole split without gradients and without learning running means."""
    was_training = model.training
    model.eval()
    counts: list[npt.NDArray[np.int64]] = []
    total = 0.0
    fired = np.zeros(len(model.blocks))
    bins = np.zeros(len(model.blocks))
    with torch.no_grad():
        for start in range(0, len(split), batch_size):
            part = slice(start, start + batch_size)
            spikes = to_slayer(split.spikes[part]).to(device)
            labels = torch.from_numpy(split.labels[part]).to(device)
            reset_state(model)
            for index, block in enumerate(model.blocks):
                spikes = block(spikes)
                fired[index] += float(spikes.sum())
                bins[index] += spikes.numel()
            total += float(loss(spikes, labels))
            counts.append(spikes.sum(-1).cpu().numpy().astype(np.int64))
    model.train(was_training)
    return Evaluation(total / len(split), np.concatenate(counts), split.labels, (fired / bins).tolist())
