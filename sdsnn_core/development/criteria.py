"""Criteria of unit pruning: scores of units, lowest pruned first.

* spine: the sum of the ranges of a unit's synapses, of SD-SNN (arXiv:2211.12219): `pruning.unit_scores`.
* magnitude: the sum of abs(w) of a unit's synapses (Li et al., "Pruning filters for efficient ConvNets",
  arXiv:1608.08710).
* random: a fixed random order; what a criterion must beat.
* inverse: the largest spine sizes first; what a criterion must beat by far if its order means anything.
* activity: spikes of a unit while it trains, after the channel activity of Li et al., "Towards efficient deep spiking
  neural networks construction with spiking activity based pruning" (SCA, arXiv:2406.01072).
* dpap: spikes times a BCM rule, each scaled to 0..1, after Han et al., "Developmental plasticity-inspired adaptive
  pruning for deep spiking and artificial neural networks" (DPAP, arXiv:2211.12714). Spike counts of a sample stand for
  the traces of the paper.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from . import pruning, ranges
from .config import Criterion

NEED_ACTIVITY: Final = ("activity", "dpap")


class UnitActivity(NamedTuple):
    """Activity of a layer's units in the training of an epoch; all (units,) float64.

    Attributes:
        spikes: mean spikes of a unit per sample.
        plasticity: mean of post (post - threshold) pre per sample, summed over the inputs; see `bcm`.
    """

    spikes: Tensor
    plasticity: Tensor


def bcm(post: Tensor, pre: Tensor, threshold: Tensor) -> Tensor:
    """Return (samples, units) post (post - threshold) pre: the rule of Bienenstock, Cooper and Munro (1982).

    Args:
        post: (samples, units) mean spikes of a unit per step.
        pre: (samples,) mean spikes per step of all inputs together.
        threshold: (units,) running mean of post squared.
    """
    return post * (post - threshold) * pre[:, None]


def unit_scores(
    criterion: Criterion,
    weights: Sequence[Tensor],
    masks: Sequence[Tensor],
    spines: Sequence[ranges.RangeState],
    activity: UnitActivity | None,
) -> Tensor:
    """Return (units,) float64 scores of a layer by any criterion.

    Args:
        criterion: which one.
        weights: of each weight tensor of the layer.
        masks: of each, bool.
        spines: ranges of each.
        activity: of the epoch; needed by "activity" and "dpap" only.
    """
    if criterion == "magnitude":
        return pruning.unit_magnitudes(weights, masks)
    if criterion == "random":
        return random_scores(masks[0])
    if criterion in NEED_ACTIVITY:
        assert activity is not None
        return activity_scores(activity, criterion)
    scores = pruning.unit_scores([ranges.spine_size(each) for each in spines], masks)
    return scores if criterion == "spine" else scores.max() - scores


def activity_scores(activity: UnitActivity, criterion: str) -> Tensor:
    """Return (units,) scores by "activity" or "dpap"."""
    if criterion == "activity":
        return activity.spikes
    return _scaled(activity.spikes) * _scaled(activity.plasticity)


def _scaled(values: Tensor) -> Tensor:
    """Return values scaled to 0..1; 0.5 if all are equal."""
    span = values.max() - values.min()
    return torch.where(span > 0, (values - values.min()) / torch.where(span > 0, span, 1.0), 0.5)


def random_scores(mask: Tensor) -> Tensor:
    """Return a random order of units as scores, the same for every layer of this shape."""
    generator = torch.Generator().manual_seed(sum(mask.shape))
    return torch.randperm(mask.shape[0], generator=generator).double().to(mask.device)
