"""Regeneration of SD-SNN (arXiv:2211.12219): unmask synapses whose grow score stays among the highest for T + 1 epochs.

The grow score is abs(gradient) summed over the batches of an epoch, as in RigL (arXiv:1911.11134). Scores and counts
have one entry per group: a synapse of a dense layer, or a whole 2-D kernel of a convolution, (out, in, 1, ...). No
function changes its arguments.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class RegenerationState(NamedTuple):
    """Counters of each group."""

    run: Tensor  # int16, consecutive epochs in which the group was a candidate, the first not counted
    was_hit: Tensor  # bool, whether it was one in the last epoch


def grouped(value: Tensor, kernelwise: bool) -> Tensor:
    """Return the sum of each 2-D kernel, (out, in, 1, ...), or the value itself."""
    return value.sum(dim=tuple(range(2, value.dim())), keepdim=True) if kernelwise else value


def absent_groups(mask: Tensor, kernelwise: bool) -> Tensor:
    """Return bool groups with at least one masked synapse."""
    return (~mask).amax(dim=tuple(range(2, mask.dim())), keepdim=True) if kernelwise else ~mask


def init_regeneration(groups: Tensor) -> RegenerationState:
    """Return zero counts for groups shaped like `groups`."""
    zero = torch.zeros_like(groups, dtype=torch.bool)
    return RegenerationState(zero.to(torch.int16), zero)


def gradient_hits(value: Tensor, absent: Tensor, percent: float) -> Tensor:
    """Return the `percent` of the absent groups with the highest value; ties at the threshold are all included.

    Groups of value 0 are never included.
    """
    candidates = value[absent]
    n_top = math.ceil(candidates.numel() * percent / 100 - 1e-9)
    if n_top < 1:
        return torch.zeros_like(absent)
    edge = candidates.kthvalue(candidates.numel() - n_top + 1).values
    return absent & (value >= edge) & (value > 0)


def update_persistence(state: RegenerationState, hits: Tensor) -> RegenerationState:
    """Return the counts after one more epoch: increased where hit in this epoch and the one before, otherwise 0."""
    return RegenerationState(torch.where(hits & state.was_hit, state.run + 1, 0).to(torch.int16), hits)


def choose_groups(state: RegenerationState, value: Tensor, persistence: int, budget: int) -> Tensor:
    """Return bool groups to unmask: those with at least `persistence` counts, but only the `budget` highest values.

    Ties at the budget's threshold are resolved by the lower index.
    """
    ready = state.run >= persistence
    places = torch.nonzero(ready.flatten()).flatten()
    if places.numel() <= budget:
        return ready
    best = torch.argsort(value.flatten()[places], descending=True, stable=True)[: max(0, budget)]
    chosen = torch.zeros_like(ready).flatten()
    chosen[places[best]] = True
    return chosen.reshape(ready.shape)


def forget(state: RegenerationState, groups: Tensor) -> RegenerationState:
    """Return the state with the counts of `groups` (bool) reset."""
    return RegenerationState(state.run.masked_fill(groups, 0), state.was_hit & ~groups)
