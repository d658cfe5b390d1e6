"""When enough is gone: the criteria of someone who deploys, and what removes less until they are met.

Each is optional. Without any, the adaptive rates settle by themselves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .config import DevelopmentConfig


class Measures(NamedTuple):
    """What a network costs now.

    sparsity: share of absent synapses, 0..1. memory: bytes of `compaction.synapse_memory`. operations: synaptic
    operations per inference on validation data; None before the first evaluation.
    """

    sparsity: float
    memory: int
    operations: float | None


def any_set(config: DevelopmentConfig) -> bool:
    """Return whether there is a stop_* criterion to measure for."""
    return any(value is not None for value in (config.stop_sparsity, config.stop_operations, config.stop_memory))


def met(config: DevelopmentConfig, now: Measures) -> bool:
    """Return whether every stop_* criterion that is set holds; False where none is set."""
    return any_set(config) and not unmet(config, now)


def unmet(config: DevelopmentConfig, now: Measures) -> list[str]:
    """Return a sentence for each stop_* criterion that is set and does not hold."""
    operations = math.inf if now.operations is None else now.operations
    pairs = (
        ("stop_sparsity", config.stop_sparsity, now.sparsity, now.sparsity >= (config.stop_sparsity or 0)),
        ("stop_operations", config.stop_operations, operations, operations <= (config.stop_operations or 0)),
        ("stop_memory", config.stop_memory, now.memory, now.memory <= (config.stop_memory or 0)),
    )
    return [
        f"{name}: {wanted:g} is not reached, the network is at {value:g}"
        for name, wanted, value, holds in pairs
        if wanted is not None and not holds
    ]


def too_inaccurate(config: DevelopmentConfig, accuracy: float | None, best: float) -> bool:
    """Return whether accuracy (0..1) lies further below its best than max_accuracy_drop allows."""
    drop = config.max_accuracy_drop
    return drop is not None and accuracy is not None and accuracy < best - drop
