"""Stop criteria: development removes nothing more once a network is small enough, or while it is too inaccurate.

Each criterion is optional. Without any, the schedules of `schedule.py` alone decide.
"""

import math
from typing import NamedTuple

from .chip_costs import ChipCost
from .config import ON_CHIP, DevelopmentConfig

_TINY, _JUST_ABOVE = 1e-30, 1.001


class Metrics(NamedTuple):
    """Size and cost of a network."""

    sparsity: float  # share of absent synapses, 0..1
    memory: int  # bytes, as `compaction.synapse_memory` counts them
    operations: float | None  # per inference on validation data; None before the first evaluation
    chip: ChipCost | None = None  # of the latest measurement; None where no chip is set, or before the first


def any_set(config: DevelopmentConfig) -> bool:
    """Return True if a stop_* criterion is set."""
    return any(
        getattr(config, name) is not None for name in ("stop_sparsity", "stop_operations", "stop_memory", *ON_CHIP)
    )


def met(config: DevelopmentConfig, metrics: Metrics) -> bool:
    """Return True if a stop_* criterion is set and all that are set hold."""
    return any_set(config) and not unmet(config, metrics)


def unmet(config: DevelopmentConfig, metrics: Metrics) -> list[str]:
    """Return a sentence for each stop_* criterion that is set and does not hold."""
    operations = math.inf if metrics.operations is None else metrics.operations
    criteria = (
        ("stop_sparsity", config.stop_sparsity, metrics.sparsity, -1),  # at least the limit, the others at most
        ("stop_operations", config.stop_operations, operations, 1),
        ("stop_memory", config.stop_memory, metrics.memory, 1),
    )
    sentences = [
        f"{name}: {limit:g} is not reached, the network is at {value:g}"
        for name, limit, value, sign in criteria
        if limit is not None and not sign * value <= sign * limit
    ]
    return sentences + unmet_on_chip(config, metrics.chip)


def unmet_on_chip(config: DevelopmentConfig, cost: ChipCost | None) -> list[str]:
    """Return a sentence for each criterion of the chip that is set and does not hold; all of them without a cost."""
    sentences = []
    for name in ON_CHIP:
        limit = getattr(config, name)
        value = None if cost is None else getattr(cost, name.removeprefix("stop_"))
        if limit is not None and not (value is not None and value <= limit):
            got = "was not measured" if value is None else f"is at {value:g}"
            sentences.append(f"{name}: {limit:g} is not reached, the network {got}")
    return sentences


def excess_on_chip(config: DevelopmentConfig, cost: ChipCost) -> float:
    """Return what is used divided by what may be used, of the criterion of the chip that is farthest from being met.

    It is above 1 exactly where a criterion does not hold. Of cores it is a fraction where the cost has one.
    """
    return max(_excesses(config, cost).values())


def binding_on_chip(config: DevelopmentConfig, cost: ChipCost) -> str:
    """Return the limit that decides: a resource of a core, or "busiest", "energy" or "time"."""
    excesses = _excesses(config, cost)
    name = max(excesses, key=lambda name: excesses[name])
    return cost.binds if name == "stop_cores" else name.removeprefix("stop_")


def _excesses(config: DevelopmentConfig, cost: ChipCost) -> dict[str, float]:
    excesses = {}
    for name in ON_CHIP:
        if (limit := getattr(config, name)) is not None:
            value = getattr(cost, name.removeprefix("stop_"))
            value = math.inf if value is None else value
            ratio = value / max(limit, _TINY)
            if name == "stop_cores" and cost.need:  # whole cores alone would not say how far away the limit is
                ratio = max(cost.need / limit, _JUST_ABOVE) if value > limit else min(cost.need / limit, 1.0)
            excesses[name] = ratio
    return excesses


def too_inaccurate(config: DevelopmentConfig, accuracy: float | None, best: float) -> bool:
    """Return True if accuracy (0..1) is more than `max_accuracy_drop` below its best."""
    drop = config.max_accuracy_drop
    return drop is not None and accuracy is not None and accuracy < best - drop
