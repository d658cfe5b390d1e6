"""When enough is gone: the criteria of someone who deploys, and what removes less until they are met.

Each is optional. Without any, the adaptive rates settle by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .config import DevelopmentConfig


class Measures(NamedTuple):
    """What a network costs now.

    sparsity: share of absent synapses, 0..1. memory: bytes of `synapse_memory`. operations: synaptic operations per
    inference on validation data; None before the first evaluation.
    """

    sparsity: float
    memory: int
    operations: float | None


def synapse_memory(present: Sequence[int], total: Sequence[int]) -> int:
    """Return bytes for the weights of a network, one entry per weight tensor: what a chip-like memory needs at least.

    A tensor is held in full, a byte per place, or as a list, a byte of weight and a byte of index per present synapse,
    whichever is smaller. What a chip takes for its own formats, `sdsnn place` tells.
    """
    return sum(min(full, 2 * some) for some, full in zip(present, total, strict=True))


def any_set(config: DevelopmentConfig) -> bool:
    """Return whether there is a stop_* criterion to measure for."""
    return any(value is not None for value in (config.stop_sparsity, config.stop_operations, config.stop_memory))


def met(config: DevelopmentConfig, now: Measures) -> bool:
    """Return whether every stop_* criterion that is set holds; False where none is set."""
    found = []
    if config.stop_sparsity is not None:
        found.append(now.sparsity >= config.stop_sparsity)
    if config.stop_operations is not None:
        found.append(now.operations is not None and now.operations <= config.stop_operations)
    if config.stop_memory is not None:
        found.append(now.memory <= config.stop_memory)
    return bool(found) and all(found)


def too_inaccurate(config: DevelopmentConfig, accuracy: float | None, best: float) -> bool:
    """Return whether accuracy (0..1) lies further below its best than max_accuracy_drop allows."""
    drop = config.max_accuracy_drop
    return drop is not None and accuracy is not None and accuracy < best - drop
