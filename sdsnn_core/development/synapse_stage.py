"""The synapse stage: gradual magnitude pruning with drop and grow, until a target share of the synapses is masked.

Zhu and Gupta, "To prune, or not to prune", arXiv:1710.01878, give the schedule; Evci et al., "Rigging the Lottery"
(RigL), arXiv:1911.11134, the exchange of synapses. Lists hold one tensor per weight; no function changes its arguments.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def sparsity_at(phase: float, start: float, target: float, exponent: float = 3.0) -> float:
    """Return the masked share at `phase` (0..1), start + (target - start) (1 - (1 - phase)^exponent), but >= `start`.

    Equation 1 of Zhu and Gupta (arXiv:1710.01878) has the exponent 3.
    """
    remaining = 1 - min(1.0, max(0.0, phase))
    return start + max(0.0, target - start) * (1 - math.pow(remaining, exponent))


def turnover_at(phase: float, first: float) -> float:
    """Return the share of present synapses to replace: first / 2 (1 + cos(pi phase)), the annealing of RigL."""
    return first / 2 * (1 + math.cos(math.pi * min(1.0, max(0.0, phase))))


def balanced_budgets(shapes: Sequence[Sequence[int]], keep: int, costs: Sequence[float] | None = None) -> list[int]:
    """Return the number of synapses that each tensor keeps; small layers stay denser, and the numbers add up to `keep`.

    In proportion to the sum of the dimensions, limited to the size: the Erdos-Renyi-kernel densities of RigL
    (arXiv:1911.11134), after Mocanu et al. (arXiv:1707.04780). shapes: (out, in, *kernel) of each tensor. costs: of a
    synapse of each tensor; those that cost more get fewer.
    """
    weights: list[float] = [sum(n for n in shape if n > 1) or 1 for shape in shapes]
    if costs is not None:
        weights = [weight / cost for weight, cost in zip(weights, costs, strict=True)]
    return shared_out([math.prod(shape) for shape in shapes], weights, keep)


def shared_out(sizes: Sequence[int], weights: Sequence[float], keep: int) -> list[int]:
    """Return `keep` shared out in proportion to the weights, each share at most its size; the shares add up to it."""
    keep = max(0, min(keep, sum(sizes)))
    full: set[int] = set()
    while True:
        rest = keep - sum(sizes[i] for i in full)
        total = sum(weight for i, weight in enumerate(weights) if i not in full)
        shares = [sizes[i] if i in full else rest * weights[i] / total for i in range(len(sizes))]
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
    drop_scores: Tensors, grow_scores: Tensors, masks: Tensors, growable: Tensors, keep: int, grow: int
) -> list[Tensor]:
    """Return new masks with at most `keep` synapses over all tensors together. Ties are resolved by the lower index.

    The present synapses (masks) with the lowest drop scores are dropped. Up to `grow` masked ones with the highest grow
    scores above 0 are grown, where `growable` is True.
    """
    present = torch.cat([mask.flatten() for mask in masks])
    scores = torch.cat([score.flatten() for score in grow_scores])
    candidates = torch.cat([allowed.flatten() for allowed in growable]) & ~present & (scores > 0)
    grown = _highest(scores, candidates, min(grow, keep))
    kept = _highest(torch.cat([score.flatten() for score in drop_scores]), present, keep - int(grown.sum()))
    pieces = torch.split(kept | grown, [mask.numel() for mask in masks])
    return [piece.reshape(mask.shape) for piece, mask in zip(pieces, masks, strict=True)]


def _highest(scores: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Return bool places of the `count` highest allowed scores; ties are resolved by the lower index."""
    places = torch.nonzero(allowed).flatten()
    if count >= places.numel():
        return allowed.clone()
    chosen = torch.zeros_like(allowed)
    if count > 0:
        values = scores[places]
        threshold = values.kthvalue(places.numel() - count + 1).values  # a sort would take ten times as long
        above, tied = values > threshold, values == threshold
        chosen[places] = above | (tied & (torch.cumsum(tied, 0) <= count - above.sum()))
    return chosen
