"""Resets within a run: which population is reset when, and to what."""

from dataclasses import replace

import numpy as np

from ..errors import NetworkError
from ..network import Network
from .models import CubaLif, Population, RefractoryLif


def depths(network: Network) -> dict[str, int]:
    """Return population -> how many populations an event of an input passes before it, on the shortest way.

    In a chain that is the number of the layer, from 0. Populations that no input reaches have 0.
    """
    result: dict[str, int] = {}
    reached, depth = list(network.inputs), 0
    while reached:
        following = [p.target for name in reached for _, p in network.outgoing(name)]
        reached = [name for name in dict.fromkeys(following) if name not in result]
        result.update(dict.fromkeys(reached, depth))
        depth += 1
    return {name: result.get(name, 0) for name in network.populations}


def check_resets(every: int) -> None:
    """Raise NetworkError for an interval that is none."""
    if every < 0:
        raise NetworkError(f"reset_every: expected 0 (no resets) or a number of steps, got {every}")


def resets_at(step: int, depth: int, every: int, offset: int) -> bool:
    """Return whether a population at `depth` is reset at the start of a step (from 0)."""
    return every > 0 and (step - offset - depth) % every == 0


def zeroed(population: Population) -> Population:
    """Return the population with all its states at 0 before the first step, as a reset leaves them."""
    if isinstance(population, CubaLif | RefractoryLif):
        return replace(population, initial_voltage=np.zeros((), np.int32))
    return population
