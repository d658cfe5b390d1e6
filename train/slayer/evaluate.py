"""Run a model on a split: predictions, loss and spikes per layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from ..data.load import Split
from ..run.processes import Team
from .block_spikes import reset_state
from .losses import Loss
from .models import BlockNetwork
from .operations import arrivals


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """counts: (n, classes) int64 output spikes. rates: mean spikes per neuron and step, one per block.

    sent: spikes per unit and sample of the input and of every block, each (*shape,) float64.
    """

    loss: float
    counts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    rates: list[float]
    sent: list[torch.Tensor] = field(default_factory=list)

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


def evaluate(
    model: BlockNetwork, split: Split, loss: Loss, batch_size: int = 256, team: Team | None = None
) -> Evaluation:
    """Run the whole split without gradients and without learning running means.

    Several processes share the batches; the result is the same to the last bit: nothing is added in another order.
    """
    team = team or Team()
    was_training = model.training
    model.eval()
    starts = range(0, len(split), batch_size)
    losses = torch.zeros(len(starts), dtype=torch.float64)
    spent = torch.zeros(len(starts), 2, len(model.blocks), dtype=torch.float64)  # spikes and bins of every block
    counts: torch.Tensor | None = None
    sent: list[torch.Tensor] = []  # whole numbers in float64: their sum does not depend on the order
    with torch.no_grad():
        for batch, start in enumerate(starts):
            if batch % team.size != team.rank:
                continue
            part = slice(start, start + batch_size)
            spikes = to_slayer(split.spikes[part]).to(team.device)
            labels = torch.from_numpy(split.labels[part]).to(team.device)
            reset_state(model)
            seen = [arrivals(spikes)]
            for index, block in enumerate(model.blocks):
                spikes = block(spikes)
                seen.append(arrivals(spikes))
                spent[batch, 0, index] = float(spikes.sum())
                spent[batch, 1, index] = spikes.numel()
            losses[batch] = float(loss(spikes, labels))
            sent = [old + new for old, new in zip(sent, seen, strict=True)] if sent else seen
            found = spikes.sum(-1).cpu().to(torch.int64)
            if counts is None:
                counts = found.new_zeros(len(split), found.shape[1])
            counts[part] = found
    if team.size > 1:
        if counts is None:  # more processes than batches
            with torch.no_grad():
                values = to_slayer(split.spikes[:1]).to(team.device)
                sent = [torch.zeros_like(arrivals(values))]
                for block in model.blocks:
                    values = block(values)
                    sent.append(torch.zeros_like(arrivals(values)))
            counts = torch.zeros(len(split), values.shape[1], dtype=torch.int64)
        team.add_up([counts])
        team.add_up(sent)
        team.add_up([losses, spent])
    model.train(was_training)
    assert counts is not None
    fired, bins = spent.sum(0).numpy()
    rates = (fired / bins).tolist()
    sent = [total / len(split) for total in sent]
    return Evaluation(sum(losses.tolist()) / len(split), counts.numpy(), split.labels, rates, sent)
