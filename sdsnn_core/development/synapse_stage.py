"""The synapse stage: single synapses are dropped and grown under one budget until a target share of them is gone.

The largest networks of current work lose 90 to 99 % of their synapses this way, which unit pruning alone does not.
Lists hold one tensor per weight; no function changes its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def sparsity_at(phase: float, start: float, target: float, exponent: float = 3.0) -> float:
    """Return the share of absent synapses at `phase` in 0..1: start + (target - start) (1 - (1 - phase)^exponent).

    Zhu and Gupta, "To prune, or not to prune" (2017), equation 1. Never below `start`.
    """
    left = 1 - min(1.0, max(0.0, phase))
    return start + max(0.0, target - start) * (1 - math.pow(left, exponent))


def turnover_at(phase: float, first: float) -> float:
    """Return the share of present synapses to replace: first / 2 (1 + cos(pi phase)), as RigL anneals it."""
    return first / 2 * (1 + math.cos(math.pi * min(1.0, max(0.0, phase))))


def balanced_budgets(shapes: Sequence[Sequence[int]], keep: int) -> list[int]:
    """Return how many synapses each tensor may keep of `keep` in all, by its size: thin layers stay denser.

    shapes: (out, in, *kernel) of each. In proportion to the sum of the dimensions, at most all: the Erdos-Renyi-kernel
    densities of Evci et al., "Rigging the Lottery" (2020), after Mocanu et al. (2018). Whole numbers that add up.
    """
    sizes = [math.prod(shape) for shape in shapes]
    keep = max(0, min(keep, sum(sizes)))
    weights = [sum(n for n in shape if n > 1) or 1 for shape in shapes]
    full: set[int] = set()
    while True:
        left = keep - sum(sizes[i] for i in full)
        total = sum(weight for i, weight in enumerate(weights) if i not in full)
        shares = [sizes[i] if i in full else left * weights[i] / total for i in range(len(sizes))]
        over = {i for i, share in enumerate(shares) if i not in full and share > sizes[i]}
        if not over:
            break
        full |= over
    budgets = [math.floor(share) for share in shares]
    by_rest = sorted(range(len(sizes)), key=lambda i: (budgets[i] - shares[i], i))
    for i in by_rest[: keep - sum(budgets)]:
        budgets[i] += 1
    return budgets


def drop_and_grow(
    keep_values: Sequence[Tensor],
    grow_values: Sequence[Tensor],
    masks: Sequence[Tensor],
    growable: Sequence[Tensor],
    keep: int,
    grow: int,
) -> list[Tensor]:
    """Return new masks with at most `keep` synapses present over all tensors together.

    keep_values: what a present synapse is worth (such as abs(w)); the least go, until keep - grown are left.
    grow_values: what an absent one promises (accumulated abs(gradient)); the best `grow` of those with a value above 0
    that `growable` (bool) allows and that were absent before come in. Ties go to the lower index.
    """
    present = torch.cat([mask.flatten() for mask in masks])
    promise = torch.cat([value.flatten() for value in grow_values])
    open_places = torch.cat([allowed.flatten() for allowed in growable]) & ~present & (promise > 0)
    grown = _best(promise, open_places, min(grow, keep))
    worth = torch.cat([value.flatten() for value in keep_values])
    kept = _best(worth, present, keep - int(grown.sum()))
    pieces = torch.split(kept | grown, [mask.numel() for mask in masks])
    return [piece.reshape(mask.shape) for piece, mask in zip(pieces, masks, strict=True)]


def _best(value: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Return bool places of the `count` largest allowed values; ties go to the lower index."""
    places = torch.nonzero(allowed).flatten()
    if count >= places.numel():
        return allowed.clone()
    chosen = torch.zeros_like(allowed)
    if count > 0:
        found = value[places]
        edge = found.kthvalue(places.numel() - count + 1).values  # a sort would take ten times as long
        above, tied = found > edge, found == edge
        chosen[places] = above | (tied & (torch.cumsum(tied, 0) <= count - above.sum()))
    return chosen
