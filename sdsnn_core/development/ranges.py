"""The spine rule: every synapse has a range that widens where its weight keeps pushing and shrinks where it fades.

All functions take and return tensors of the weight's shape, on its device, and change none of their arguments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RangeState(NamedTuple):
    """Range and habits of each synapse; all tensors have the weight's shape.

    upper, lower: the range, upper >= 0 >= lower, in weight units. over, under, fading: int16, how many epochs in a row
    the weight was outside, or lost magnitude, not counting the first. over_sum, under_sum: the overshoot summed over
    them. was_over, was_under, was_fading: bool, the last epoch. magnitude: abs(w) of the last epoch.
    """

    upper: Tensor
    lower: Tensor
    over: Tensor
    over_sum: Tensor
    was_over: Tensor
    under: Tensor
    under_sum: Tensor
    was_under: Tensor
    fading: Tensor
    was_fading: Tensor
    magnitude: Tensor


def init_ranges(weight: Tensor, *, quantile: float = 1.0, signed: bool = False) -> RangeState:
    """Return ranges of -r..r with one r for the layer: a quantile of abs(w), 1 being the largest.

    signed=True takes the largest signed weight instead, as the released code does (B2).
    """
    values = weight.detach()
    if signed:
        radius = values.max()
    elif quantile >= 1:
        radius = values.abs().max()
    else:
        flat = values.abs().flatten()  # kthvalue, since torch.quantile refuses more than 16 million values
        radius = flat.kthvalue(max(1, round(quantile * flat.numel()))).values
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
    """Return the ranges after one more epoch.

    A weight at or above `upper` now and in the epoch before counts one; at `persistence` counts the bound moves out by
    the mean overshoot and the count restarts. `lower` mirrors it. A magnitude that fell by more than the share `fade`
    now and in the epoch before counts one; at `persistence` counts both bounds shrink by the factor. So a rule fires
    after persistence + 1 epochs in a row, and again after `persistence` more.
    """
    value = weight.detach()
    is_over = value >= state.upper
    over, over_sum = _habit(is_over & state.was_over, state.over, state.over_sum, value - state.upper)
    upper, over, over_sum = _widen(state.upper, over, over_sum, persistence)
    is_under = value <= state.lower
    under, under_sum = _habit(is_under & state.was_under, state.under, state.under_sum, value - state.lower)
    lower, under, under_sum = _widen(state.lower, under, under_sum, persistence)

    magnitude = value.abs()
    is_fading = magnitude < (1 - fade) * state.magnitude
    fading = torch.where(is_fading & state.was_fading, state.fading + 1, 0).to(torch.int16)
    shrinks = fading >= persistence
    upper = torch.where(shrinks, upper * shrink, upper)
    lower = torch.where(shrinks, lower * shrink, lower)
    fading = fading.masked_fill(shrinks, 0)
    return RangeState(upper, lower, over, over_sum, is_over, under, under_sum, is_under, fading, is_fading, magnitude)


def _habit(hit: Tensor, count: Tensor, total: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
    zero = torch.zeros((), dtype=total.dtype, device=total.device)
    return torch.where(hit, count + 1, 0).to(torch.int16), torch.where(hit, total + amount, zero)


def _widen(bound: Tensor, count: Tensor, total: Tensor, persistence: int) -> tuple[Tensor, Tensor, Tensor]:
    fires = count >= persistence
    return (
        torch.where(fires, bound + total / persistence, bound),
        count.masked_fill(fires, 0),
        total.masked_fill(fires, 0.0),
    )


def clamp(weight: Tensor, state: RangeState) -> Tensor:
    """Return the weight clipped to its ranges."""
    return torch.minimum(torch.maximum(weight.detach(), state.lower), state.upper)


def spine_size(state: RangeState) -> Tensor:
    """Return the size of each synapse, upper + abs(lower), in weight units."""
    return state.upper + state.lower.abs()
