"""Stop criteria: development removes nothing more once a network is small enough, or while it is too inaccurate.

Each criterion is optional. Without any, the schedules of `schedule.py` alone decide.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .config import DevelopmentConfig


class Metrics(NamedTuple):
    """Size and cost of a network.

    Attributes:
        sparsity: share of absent synapses, 0..1.
        memory: bytes, as `compaction.synapse_memory` counts them.
        operations: synaptic operations per inference on validation data; None before the first evaluation.
    """

    sparsity: float
    memory: int
    operations: float | None


def any_set(config: DevelopmentConfig) -> bool:
    """Return True if a stop_* criterion is set."""
    return any(getattr(config, name) is not None for name in ("stop_sparsity", "stop_operations", "stop_memory"))


def met(config: DevelopmentConfig, metrics: Metrics) -> bool:
    """Return True if a stop_* criterion is set and all that are set hold."""
    return any_set(config) and all(holds for *_, holds in _criteria(config, metrics))


def unmet(config: DevelopmentConfig, metrics: Metrics) -> list[str]:
    """Return a sentence for each stop_* criterion that is set and does not hold."""
    return [
        f"{name}: {limit:g} is not reached, the network is at {value:g}"
        for name, limit, value, holds in _criteria(config, metrics)
        if not holds
    ]


def _criteria(config: DevelopmentConfig, metrics: Metrics) -> list[tuple[str, float, float, bool]]:
    """Return (name, limit, value, whether it holds) of each criterion that is set."""
    values = {
        "stop_sparsity": metrics.sparsity,
        "stop_operations": math.inf if metrics.operations is None else metrics.operations,
        "stop_memory": metrics.memory,
    }
    limits = {name: getattr(config, name) for name in values}
    return [
        (name, limit, values[name], values[name] >= limit if name == "stop_sparsity" else values[name] <= limit)
        for name, limit in limits.items()
        if limit is not None
    ]


def too_inaccurate(config: DevelopmentConfig, accuracy: float | None, best: float) -> bool:
    """Return True if accuracy (0..1) is more than `max_accuracy_drop` below its best."""
    drop = config.max_accuracy_drop
    return drop is not None and accuracy is not None and accuracy < best - drop
