"""Revival of whole units: regeneration that repairs an over-pruned layer.

A pruned unit returns with all its synapses, and with weights that make it fire: those it had when it was pruned, or new
ones of one sign in the direction that the gradient asks for. The units whose return lowers the loss most, to first
order, come first. Rows are units; a row holds all incoming synapses of a unit. No function changes its arguments.
"""

import math

import torch
from torch import Tensor


def excitatory_drive(weights: Tensor, units: Tensor) -> float:
    """Return the median, over `units` (bool), of the sum of a unit's positive weights; 0 without units."""
    sums = weights[units].clamp(min=0).sum(1)
    return float(sums.median()) if sums.numel() else 0.0


def start_weights(gradient: Tensor, drive: float, step: float) -> Tensor:
    """Return weights for silent units, (units, fan-in): excitatory where the gradient asks for more, else zero.

    A silent unit cannot fire less, so only synapses with a negative gradient carry a request. The strongest
    requests get two quantiser steps each, until they add up to `drive`; fewer requests than that share the drive.

    Args:
        gradient: dL/dw, summed with its sign over an epoch.
        drive: sum of the positive weights of a typical living unit.
        step: step of the quantiser, in weight units.
    """
    fan_in = gradient.shape[1]
    count = min(fan_in, max(1, math.ceil(drive / (2 * step) - 1e-9)))
    best = gradient.neg().topk(count, dim=1)
    asked = best.values > 0
    each = drive / asked.sum(1, keepdim=True).clamp(min=1)
    values = torch.where(asked, each.clamp(min=2 * step).expand_as(best.values), torch.zeros_like(best.values))
    return torch.zeros_like(gradient).scatter(1, best.indices, values.to(gradient.dtype))


def predicted_gain(gradient: Tensor, start: Tensor) -> Tensor:
    """Return (units,) the decrease of the loss, to first order, when the weights of silent units become `start`."""
    return -(gradient.double() * start.double()).sum(1)


def choose_units(gain: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Return bool units: the `count` candidates with the largest gain above 0; ties by the lower index."""
    places = torch.nonzero(candidates & (gain > 0)).flatten()
    best = torch.argsort(gain[places], descending=True, stable=True)[: max(0, count)]
    chosen = torch.zeros_like(candidates)
    chosen[places[best]] = True
    return chosen
