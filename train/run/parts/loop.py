"""How a trainer trains: portions and length of a run, and learning rates."""

import math
from typing import Any, NamedTuple, Protocol, final

import torch


class Loop(NamedTuple):
    """Length and portions of a run.

    Attributes:
        epochs: largest number of epochs.
        batch_size: samples of a step of the optimiser, over all processes.
        accumulate: parts that each process computes its share of a batch in, one after another.
        clip: largest norm of the gradient; None for no bound.
        patience: epochs without a better validation after which a run ends; None trains all epochs.
        seed: of the order of the samples, of augmentation and of dropout.
        workers: threads that prepare batches ahead; 0 prepares them in line.
    """

    epochs: int
    batch_size: int = 64
    accumulate: int = 1
    clip: float | None = None
    patience: int | None = None
    seed: int = 0
    workers: int = 1


class Scheduler(Protocol):
    """Sets the learning rates of an optimiser."""

    def begin_epoch(self, epoch: int) -> None:
        """Set the rates of an epoch, counted from 0."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the rates of later epochs depend on, apart from their number."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        ...


@final
class Cosine:
    """A linear rise over the warm-up, then half a cosine; the rate depends on the number of the epoch alone.

    Args:
        optimiser: whose rates are set, all alike.
        epochs: of the whole run.
        first: rate after the warm-up.
        last: rate at the end.
        warmup: epochs of the warm-up.
    """

    def __init__(
        self, optimiser: torch.optim.Optimizer, epochs: int, first: float, last: float = 0.0, warmup: int = 0
    ) -> None:
        self.optimiser = optimiser
        self.epochs, self.first, self.last, self.warmup = epochs, first, last, warmup

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        if epoch < self.warmup:
            return self.first * (epoch + 1) / (self.warmup + 1)
        phase = (1 + math.cos(math.pi * (epoch - self.warmup) / max(self.epochs - self.warmup, 1))) / 2
        return self.last + (self.first - self.last) * phase

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of an epoch."""
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.rate(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing."""


@final
class TorchScheduler:
    """A scheduler of torch.optim.lr_scheduler, which steps between epochs."""

    def __init__(self, scheduler: torch.optim.lr_scheduler.LRScheduler) -> None:
        self.scheduler = scheduler

    def begin_epoch(self, epoch: int) -> None:
        """Step before every epoch but the first."""
        if epoch:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's own state."""
        state: dict[str, Any] = self.scheduler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scheduler's own state."""
        self.scheduler.load_state_dict(state)
