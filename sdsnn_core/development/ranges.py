"""Dendritic spine rule of SD-SNN (arXiv:2211.12219): each synapse has a range of allowed weights.

The range widens while the weight stays at its bound and shrinks while the weight decays. `trust_regions` is another
rule for it: a range around each weight, which limits what the weight gains in an epoch. All functions take and return
tensors of the weight's shape, on its device, and change none of their arguments.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class RangeState(NamedTuple):
    """Range and counters of each synapse; all tensors have the weight's shape."""

    upper: Tensor  # the range, upper >= 0 >= lower, in weight units
    lower: Tensor
    over: Tensor  # int16, consecutive epochs in which the weight was at or above `upper`, the first not counted
    over_sum: Tensor  # overshoot summed over these epochs
    was_over: Tensor  # bool, state of the last epoch
    under: Tensor  # the same for `lower`
    under_sum: Tensor
    was_under: Tensor
    fading: Tensor  # the same for epochs in which abs(w) fell
    was_fading: Tensor
    magnitude: Tensor  # abs(w) of the last epoch


def init_ranges(weight: Tensor, quantile: float = 1.0) -> RangeState:
    """Return ranges -r..r, where r is the `quantile` of abs(w) in the layer (1: the largest)."""
    magnitude = weight.detach().abs()
    if quantile >= 1:
        return constant_ranges(weight, magnitude.max())
    flat = magnitude.flatten()  # kthvalue, because torch.quantile refuses more than 16 million values
    return constant_ranges(weight, flat.kthvalue(max(1, round(quantile * flat.numel()))).values)


def constant_ranges(weight: Tensor, radius: Tensor) -> RangeState:
    """Return the range -radius..radius (a scalar) for each synapse."""
    values = weight.detach()
    upper = radius.expand_as(values).clone()
    count = torch.zeros_like(values, dtype=torch.int16)
    no = torch.zeros_like(values, dtype=torch.bool)
    zero = torch.zeros_like(values)
    return RangeState(
        upper, -upper, count, zero, no, count.clone(), zero.clone(), no.clone(), count.clone(), no.clone(), values.abs()
    )


def update_ranges(
    state: RangeState, weight: Tensor, persistence: int, *, shrink: float = 0.75, fade: float = 0.0
) -> RangeState:
    """Return the ranges after one more epoch, from the weights after it (0 where masked).

    An epoch counts if its condition also held in the epoch before, so a rule acts after persistence + 1 consecutive
    epochs, and again after `persistence` more. A weight at or outside a bound moves that bound out by the mean
    overshoot. abs(w) that falls by a share of more than `fade` per epoch multiplies both bounds by `shrink`.
    """
    value = weight.detach()
    is_over = value >= state.upper
    over, over_sum = _count(is_over & state.was_over, state.over, state.over_sum, value - state.upper)
    upper, over, over_sum = _widen(state.upper, over, over_sum, persistence)
    is_under = value <= state.lower
    under, under_sum = _count(is_under & state.was_under, state.under, state.under_sum, value - state.lower)
    lower, under, under_sum = _widen(state.lower, under, under_sum, persistence)

    magnitude = value.abs()
    is_fading = magnitude < (1 - fade) * state.magnitude
    fading = torch.where(is_fading & state.was_fading, state.fading + 1, 0).to(torch.int16)
    shrinks = fading >= persistence
    upper = torch.where(shrinks, upper * shrink, upper)
    lower = torch.where(shrinks, lower * shrink, lower)
    fading = fading.masked_fill(shrinks, 0)
    return RangeState(upper, lower, over, over_sum, is_over, under, under_sum, is_under, fading, is_fading, magnitude)


def trust_regions(
    state: RangeState, weight: Tensor, kept: Tensor, persistence: int, *, shrink: float = 0.75, fade: float = 0.0
) -> RangeState:
    """Return the ranges of the coming epoch as trust regions: what a weight may gain in it.

    The range of a weight w is min(0, w) - d to max(0, w) + d, so it may always decay. A weight that uses up its d for
    persistence + 1 consecutive epochs contributes, and d grows to d / shrink. One whose abs(w) decays for as long
    is redundant, and d falls to d * shrink. The rule is ours; the idea, to limit redundant synapses and facilitate
    contributing ones, is that of BDNN-dsd (Zhao, Zeng and others, Neural Computation 34(1), 2022).

    Args:
        state: the ranges around the weights of the last epoch.
        weight: after the epoch, 0 where masked.
        kept: the same after `clamp`, from which the coming epoch starts.
        persistence: T in epochs.
        shrink: factor on d.
        fade: least share of abs(w) lost in an epoch that counts as decay.
    """
    room = (state.upper - state.lower - state.magnitude) / 2
    moved = update_ranges(state, weight, persistence, shrink=shrink, fade=fade)
    grows = (moved.upper > state.upper) | (moved.lower < state.lower)
    shrinks = moved.was_fading & state.was_fading & (moved.fading == 0)  # the count has just started anew
    room = torch.where(grows, room / shrink, torch.where(shrinks, room * shrink, room))
    return around(moved, kept, room)


def around(state: RangeState, weight: Tensor, room: Tensor) -> RangeState:
    """Return the state with ranges min(0, w) - room to max(0, w) + room."""
    upper, lower = weight.clamp(min=0) + room, weight.clamp(max=0) - room
    return state._replace(upper=upper, lower=lower, magnitude=weight.abs())


def fresh(state: RangeState, weight: Tensor, units: Tensor) -> RangeState:
    """Return the state with the synapses of `units` (bool) at the layer's widest range, without counts.

    weight: the weights from now on.
    """
    radius = torch.maximum(state.upper.max(), state.lower.abs().max())
    new = constant_ranges(weight, radius)
    rows = units.reshape(-1, *(1,) * (weight.dim() - 1))
    return RangeState(*(torch.where(rows, after, before) for before, after in zip(state, new, strict=True)))


def _count(hit: Tensor, count: Tensor, total: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
    """Return count and sum after an epoch: increased on a hit, otherwise 0."""
    zero = torch.zeros((), dtype=total.dtype, device=total.device)
    return torch.where(hit, count + 1, 0).to(torch.int16), torch.where(hit, total + amount, zero)


def _widen(bound: Tensor, count: Tensor, total: Tensor, persistence: int) -> tuple[Tensor, Tensor, Tensor]:
    """Move a bound by its mean overshoot at `persistence` counts, which then restart."""
    fires = count >= persistence
    moved = torch.where(fires, bound + total / persistence, bound)
    return moved, count.masked_fill(fires, 0), total.masked_fill(fires, 0.0)


def clamp(weight: Tensor, state: RangeState) -> Tensor:
    """Return the weight clipped to its ranges."""
    return torch.minimum(torch.maximum(weight.detach(), state.lower), state.upper)


def spine_size(state: RangeState) -> Tensor:
    """Return the size of each synapse, upper + abs(lower), in weight units."""
    return state.upper + state.lower.abs()
