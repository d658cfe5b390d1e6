"""Unit pruning of SD-SNN: remove the units with the smallest synaptic ranges, at a rate that follows the next layer.

Han, Zhao, Pan, Zeng, "Adaptive Sparse Structure Development with Pruning and Regeneration for Spiking Neural Networks",
arXiv:2211.12219. Dimension 0 of a weight tensor is the unit. A layer may have several weight tensors with the same
units (a recurrent layer has two); lists hold one entry for each. No function changes its arguments.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def normalised_sizes(sizes: Sequence[Tensor]) -> list[Tensor]:
    """Return sizes scaled to 0..1 by the minimum and maximum of the whole layer; 0.5 if all are equal."""
    low = torch.stack([size.min() for size in sizes]).min()
    high = torch.stack([size.max() for size in sizes]).max()
    span = high - low
    return [torch.where(span > 0, (size - low) / torch.where(span > 0, span, 1.0), 0.5) for size in sizes]


def unit_scores(sizes: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Return (units,) float64 scores: the sum of the normalised sizes of a unit's unmasked synapses."""
    return _sums_per_unit(normalised_sizes(sizes), masks)


def unit_magnitudes(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Return (units,) float64 sums of abs(w) over a unit's unmasked synapses, which break ties of the order."""
    return _sums_per_unit([weight.detach().abs() for weight in weights], masks)


def _sums_per_unit(values: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    parts = [(value.double() * mask).flatten(1).sum(1) for value, mask in zip(values, masks, strict=True)]
    return torch.stack(parts).sum(0)


def pruning_order(scores: Tensor, magnitudes: Tensor) -> Tensor:
    """Return unit indices in the order of removal: by score, then by magnitude, then by index."""
    by_magnitude = torch.argsort(magnitudes, stable=True)
    return by_magnitude[torch.argsort(scores[by_magnitude], stable=True)]


def choose_units(
    order: Tensor, history: Tensor, alive: Tensor, percent: float, *, max_step: float = 1.0, min_kept: float = 0.0
) -> Tensor:
    """Return the units to remove now, (units,) bool: of the first `percent` of `order`, those never pruned before.

    history: bool, units that were pruned once. max_step: largest share of the units to remove at once, at least one
    unit. min_kept: share of the units that stays alive, rounded up, at least one; 0 sets no limit.
    """
    n_units = order.numel()
    candidates = order[: min(n_units, max(0, math.floor(n_units * percent / 100 + 1e-9)))]
    fresh = candidates[~history[candidates]]
    step = max(1, math.floor(max_step * n_units + 1e-9))
    spare = int(alive.sum()) - max(1, math.ceil(min_kept * n_units - 1e-9)) if min_kept > 0 else n_units
    removed = fresh[:step]
    # Removing a unit that is not alive does not lower the number of alive ones.
    cost = torch.cumsum(alive[removed].long(), 0)
    chosen = torch.zeros_like(history)
    chosen[removed[cost <= max(0, spare)]] = True
    return chosen


def incoming(present: Sequence[Tensor]) -> Tensor:
    """Return (units,) counts of incoming synapses, from bool tensors of the weights' shapes."""
    return torch.stack([mask.flatten(1).sum(1) for mask in present]).sum(0)


def alive_units(present: Sequence[Tensor], fraction: float) -> Tensor:
    """Return (units,) bool: units with at least ceil(fraction * fan-in) incoming synapses, and at least one."""
    fan_in = sum(mask[0].numel() for mask in present)
    return incoming(present) >= max(1, math.ceil(fraction * fan_in - 1e-9))


def next_percent(percent: float, rate: float, alive: int, alive_next: int) -> float:
    """Return P after one epoch: P + rate * alive / alive_next, at most 100; both counts are at least 1.

    The neurotrophic rule of SD-SNN: many alive units in the next layer per unit of this one slow down its pruning.
    """
    return min(100.0, percent + rate * max(1, alive) / max(1, alive_next))


def remove_units(mask: Tensor, units: Tensor) -> Tensor:
    """Return the mask without any incoming synapse of `units` (bool)."""
    return mask & ~units.reshape(-1, *(1,) * (mask.dim() - 1))
