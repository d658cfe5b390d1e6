"""Regeneration: absent synapses that training keeps asking for come back.

Values and counts have one entry per group: a synapse of a dense layer, or a whole 2-D kernel of a convolution,
(out, in, 1, ...). No function changes its arguments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class RegenerationState(NamedTuple):
    """run: int16, epochs in a row that a group was a candidate, not counting the first. was_hit: bool."""

    run: Tensor
    was_hit: Tensor


def grouped(value: Tensor, kernelwise: bool) -> Tensor:
    """Return the sum of each 2-D kernel, (out, in, 1, ...), or the value itself."""
    return value.sum(dim=tuple(range(2, value.dim())), keepdim=True) if kernelwise else value


def absent_groups(mask: Tensor, kernelwise: bool) -> Tensor:
    """Return bool groups in which at least one synapse is absent."""
    return (~mask).amax(dim=tuple(range(2, mask.dim())), keepdim=True) if kernelwise else ~mask


def init_regeneration(groups: Tensor) -> RegenerationState:
    """Return a state without memory for groups shaped like `groups`."""
    zero = torch.zeros_like(groups, dtype=torch.bool)
    return RegenerationState(zero.to(torch.int16), zero)


def gradient_hits(value: Tensor, absent: Tensor, percent: float) -> Tensor:
    """Return the top `percent` of the absent groups by value: accumulated abs(gradient), so both signs (B4, B5, B11).

    Groups of value 0 never hit; equal values at the edge all do.
    """
    candidates = value[absent]
    n_top = math.ceil(candidates.numel() * percent / 100 - 1e-9)
    if n_top < 1:
        return torch.zeros_like(absent)
    edge = candidates.kthvalue(candidates.numel() - n_top + 1).values
    return absent & (value >= edge) & (value > 0)


def percentile_hits(value: Tensor, absent: Tensor, percent: float, *, among_absent: bool = False) -> Tensor:
    """Return absent groups whose signed value lies above the (100 - percent) percentile of the layer: the literal rule.

    The percentile is taken over all groups, kept and absent alike (B11), with linear interpolation as numpy's.
    """
    pool = (value[absent] if among_absent else value).flatten()
    if pool.numel() == 0:
        return torch.zeros_like(absent)
    place = (pool.numel() - 1) * (100 - percent) / 100
    low = math.floor(place)
    at_low = pool.kthvalue(low + 1).values
    at_high = pool.kthvalue(min(low + 2, pool.numel())).values
    return absent & (value > at_low + (place - low) * (at_high - at_low))


def update_persistence(state: RegenerationState, hits: Tensor) -> RegenerationState:
    """Return the counts after one more epoch: one more where hit now and in the epoch before, else 0."""
    return RegenerationState(torch.where(hits & state.was_hit, state.run + 1, 0).to(torch.int16), hits)


def choose_groups(state: RegenerationState, value: Tensor, persistence: int, budget: int | None) -> Tensor:
    """Return bool groups to regrow: at least `persistence` counts, the `budget` largest values of them (None: all).

    Ties at the budget's edge go to the lower index.
    """
    ready = state.run >= persistence
    if budget is None:
        return ready
    places = torch.nonzero(ready.flatten()).flatten()
    if places.numel() <= budget:
        return ready
    best = torch.argsort(value.flatten()[places], descending=True, stable=True)[: max(0, budget)]
    chosen = torch.zeros_like(ready).flatten()
    chosen[places[best]] = True
    return chosen.reshape(ready.shape)


def forget(state: RegenerationState, groups: Tensor) -> RegenerationState:
    """Return the state without memory of the groups (bool): those that came back."""
    return RegenerationState(state.run.masked_fill(groups, 0), state.was_hit & ~groups)
