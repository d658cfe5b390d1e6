"""Parts of a run that the user brings: objects, or functions named by package.module:function."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import torch

from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.errors import ConfigError, one_line
from sdsnn_core.network import Network

from ...data.datasets import import_object
from ...slayer.losses import Loss, own_loss
from ..trainer import Callback
from .loop import Scheduler, TorchScheduler
from .warm_start import Init


class Parts(NamedTuple):
    """Parts of a run instead of those that its configuration names.

    Attributes:
        loss: (output (batch, size, steps), targets) -> tensor of one value, the mean over the batch (the sum, if its
            attribute `reduction` is "sum").
        metric: (predictions, targets), numpy arrays -> a value, or values by name, the first one the main; higher is
            better. Validation chooses by it.
        optimiser: (parameters, lr=..., weight_decay=...) -> torch.optim.Optimizer, such as torch.optim.SGD.
        scheduler: (optimiser) -> a scheduler of torch.optim.lr_scheduler, which steps after each epoch.
    """

    loss: Callable[..., Any] | None = None
    metric: Callable[..., Any] | None = None
    optimiser: Callable[..., Any] | None = None
    scheduler: Callable[..., Any] | None = None


NO_PARTS: Final = Parts()


class Own(NamedTuple):
    """What a caller brings to a run beside its configuration.

    Attributes:
        parts: objects instead of what the configuration names.
        callbacks: called after each epoch, in rank 0.
        init: what the run begins with; None for random weights.
        train_only: train also what cannot be lowered.
        chip_cost: (network, chip, spikes) -> its cost on a chip, which `development.chip` needs; spikes: (samples,
            steps, *shape), or None where no criterion depends on them.
    """

    parts: Parts = NO_PARTS
    callbacks: Sequence[Callback] = ()
    init: Init | None = None
    train_only: bool = False
    chip_cost: Callable[[Network, str, Any], ChipCost] | None = None


NOTHING: Final = Own()


def named(part: Any) -> str:
    """Return the name of a part, for errors."""
    return str(getattr(part, "__qualname__", type(part).__name__))


def import_parts(parts: Parts, keys: Parts, names: Parts) -> Parts:
    """Return parts with those that the configuration names imported.

    Args:
        parts: the user's objects, which come first.
        keys: names of the keys, for errors.
        names: values of the keys; those without a colon are no functions.
    """
    imported = []
    for part, key, name in zip(parts, keys, names, strict=True):
        if part is None and isinstance(name, str) and ":" in name:
            part = import_object(name, str(key))
        if part is not None and not callable(part):
            raise ConfigError([f"{key}: expected a function or class, got {type(part).__name__}"])
        imported.append(part)
    return Parts(*imported)


def build_optimiser(
    make: Callable[..., Any], parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return a user's optimiser. Raises ConfigError if that fails."""
    try:
        optimiser = make(list(parameters), lr=learning_rate, weight_decay=weight_decay)
    except Exception as error:  # the user's own code
        raise ConfigError(
            [f"optimiser.algorithm: expected {named(make)} to take (parameters, lr, weight_decay): {one_line(error)}"]
        ) from None
    if not isinstance(optimiser, torch.optim.Optimizer):
        got = type(optimiser).__name__
        raise ConfigError([f"optimiser.algorithm: expected a torch.optim.Optimizer from {named(make)}, got {got}"])
    return optimiser


def build_scheduler(make: Callable[..., Any], optimiser: torch.optim.Optimizer) -> Scheduler:
    """Return a user's scheduler. Raises ConfigError if that fails."""
    kinds = torch.optim.lr_scheduler
    try:
        scheduler = make(optimiser)
    except Exception as error:  # the user's own code
        raise ConfigError(
            [f"optimiser.scheduler: expected {named(make)} to take an optimiser: {one_line(error)}"]
        ) from None
    if not isinstance(scheduler, kinds.LRScheduler) or isinstance(scheduler, kinds.ReduceLROnPlateau):
        raise ConfigError(
            [
                "optimiser.scheduler: expected a torch scheduler that steps by epochs alone from "
                f"{named(make)}, got {type(scheduler).__name__}"
            ]
        )
    return TorchScheduler(scheduler)


def checked_loss(parts: Parts) -> Loss | None:
    """Return the user's loss, checked in each call; None if there is none."""
    return None if parts.loss is None else own_loss(parts.loss, named(parts.loss))
