"""Unit pruning: the units whose spines are smallest go, at a rate that follows who is alive behind them.

A layer may have several weight tensors with the same units (a recurrent layer has two); lists hold one tensor each.
Dimension 0 of a weight is the unit. No function changes its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def normalised_sizes(sizes: Sequence[Tensor]) -> list[Tensor]:
    """Return sizes scaled to 0..1 by the least and the greatest of the whole layer; 0.5 where all are equal."""
    low = torch.stack([size.min() for size in sizes]).min()
    high = torch.stack([size.max() for size in sizes]).max()
    span = high - low
    return [torch.where(span > 0, (size - low) / torch.where(span > 0, span, 1.0), 0.5) for size in sizes]


def unit_scores(sizes: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Return (units,) scores: the normalised sizes of a unit's present synapses, summed (in float64)."""
    parts = [
        (size.double() * mask).flatten(1).sum(1) for size, mask in zip(normalised_sizes(sizes), masks, strict=True)
    ]
    return torch.stack(parts).sum(0)


def unit_magnitudes(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Return (units,) sums of abs(w) over a unit's present synapses, the tie-break of the order (in float64)."""
    parts = [
        (weight.detach().abs().double() * mask).flatten(1).sum(1) for weight, mask in zip(weights, masks, strict=True)
    ]
    return torch.stack(parts).sum(0)


def pruning_order(scores: Tensor, magnitudes: Tensor | None) -> Tensor:
    """Return the units from the first to go to the last: by score, then by magnitude, then by index.

    magnitudes=None leaves ties to torch's unstable sort, as the released code does.
    """
    if magnitudes is None:
        return torch.argsort(scores)
    by_magnitude = torch.argsort(magnitudes, stable=True)
    return by_magnitude[torch.argsort(scores[by_magnitude], stable=True)]


def choose_units(
    order: Tensor, history: Tensor, alive: Tensor, percent: float, *, max_step: float = 1.0, min_kept: float = 0.0
) -> Tensor:
    """Return a (units,) bool mask of the units to remove now.

    The first floor(N * percent / 100) of `order` are candidates; those in `history`, pruned before, are passed over. At
    most max_step * N go at once (at least one may), and max(1, ceil(min_kept * N)) of the alive stay.
    """
    n_units = order.numel()
    candidates = order[: min(n_units, max(0, math.floor(n_units * percent / 100 + 1e-9)))]
    fresh = candidates[~history[candidates]]
    step = max(1, math.floor(max_step * n_units + 1e-9))
    spare = int(alive.sum()) - max(1, math.ceil(min_kept * n_units - 1e-9)) if min_kept > 0 else n_units
    going = fresh[:step]
    # Removing a unit that is not alive anyway costs no spare one.
    cost = torch.cumsum(alive[going].long(), 0)
    going = going[cost <= max(0, spare)]
    chosen = torch.zeros_like(history)
    chosen[going] = True
    return chosen


def alive_units(present: Sequence[Tensor], fraction: float, *, least: int = 1) -> Tensor:
    """Return (units,) bool: at least max(least, ceil(fraction * fan-in)) incoming synapses are present (B9)."""
    count = torch.stack([mask.flatten(1).sum(1) for mask in present]).sum(0)
    fan_in = sum(mask[0].numel() for mask in present)
    return count >= max(least, math.ceil(fraction * fan_in - 1e-9))


def next_percent(percent: float, rate: float, alive: int, alive_next: int) -> float:
    """Return P after one epoch: P + rate * alive_l / alive_{l+1}, both counted as at least 1 (B10), at most 100.

    The neurotrophic rule: the more survivors behind a layer per unit of it, the slower it is pruned.
    """
    return min(100.0, percent + rate * max(1, alive) / max(1, alive_next))


def remove_units(mask: Tensor, units: Tensor) -> Tensor:
    """Return the mask with every incoming synapse of the units (bool) absent."""
    return mask & ~units.reshape(-1, *(1,) * (mask.dim() - 1))
