"""What a network costs on a chip, and what each of its synapses costs under the limit that binds.

A synapse costs the chip in three ways: by itself (an event per spike, bits), by the list that it lies in (an axon, a
packet, a word of memory), and by its neuron (room in a core, an update per step). What a list or a neuron costs is
divided among its synapses, because it is saved only when all of them are removed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

WORD, BLOCK, HEADER = 64, 64, 10  # bits: a list of synapses as nengo-loihi stores it (docs/placement.md)
LEAST = 0.05  # of the mean cost of a tensor's synapses: what each costs beside, so that none is free

Floats = npt.NDArray[np.float64]


class NodeCost(NamedTuple):
    """What the neurons of a node cost under one limit; arrays over its neurons, the first three empty for an input.

    core: core of each neuron. share: factor on what ends at it: how near its core is to the busiest, 1 on average.
    unit: cost of the neuron. source, axon: cost of a synapse, and of a list of synapses, that it feeds.
    """

    core: npt.NDArray[np.int64]
    share: Floats
    unit: Floats
    source: Floats
    axon: Floats


Marginal = Callable[[str], Mapping[str, NodeCost]]


@dataclass(frozen=True)
class ChipCost:
    """Cost of a placed network.

    cores: number of them. busiest: synaptic events of the busiest core in a step. energy: joules of events and traffic
    in a step. time: seconds of a step. binds: the limit that decides the number of cores. bits: of a synapse, with its
    index. pieces: cores of each population, in order. need: cores if what all of them need could be shared out without
    loss; 0 where it is not known. busiest, energy and time are None where no spikes were given. marginal: limit -> node
    -> what its neurons cost under it; a limit is a resource of a core, "busiest", "energy" or "time".
    """

    cores: int
    busiest: float | None = None
    energy: float | None = None
    time: float | None = None
    binds: str = "synapse_bits"
    bits: int = 16
    pieces: tuple[int, ...] = ()
    need: float = 0.0
    marginal: Marginal | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "marginal"}


class SynapseCosts(NamedTuple):
    """What the synapses of one weight tensor cost under one limit.

    core, share, unit: (units,), as in `NodeCost`; of a channel the core of its first neuron, and means. source, axon:
    (inputs,). copies: (units,) cores that store a weight. bits: of a synapse, 0 where memory does not bind.

    A weight of a convolution causes events at every neuron of its channel, and does its work at every one. So both are
    counted at one neuron.
    """

    core: Tensor
    share: Tensor
    unit: Tensor
    source: Tensor
    axon: Tensor
    copies: Tensor | None = None
    bits: int = 0


def divide(score: Tensor, mask: Tensor, costs: SynapseCosts) -> tuple[Tensor, Tensor]:
    """Return scores of synapses with those of whole lists and neurons pooled, and the cost of each synapse.

    Where nothing is saved before the last synapse of a list or neuron is removed, the mean score of its synapses takes
    the place of their own, in proportion to its part of the cost: they are kept or removed together.

    Args:
        score: (units, inputs), at least 0.
        mask: (units, inputs) bool.
        costs: of the tensor.
    """
    cost = (costs.share[:, None] * costs.source[None].to(score.dtype)).to(score.dtype)
    if costs.copies is not None and costs.bits:
        cost += (costs.copies * (costs.bits / WORD))[:, None].to(score.dtype)
    pooled = cost * score
    if costs.copies is None and (costs.bits or bool(costs.axon.any())):
        for number in sorted(set(costs.core.tolist())):
            rows = torch.nonzero(costs.core == number).flatten()
            part, inside = score[rows], mask[rows]
            n = inside.sum(0).clamp(min=1).to(score.dtype)
            words = list_words(n, costs.bits) if costs.bits else torch.zeros_like(n)
            own = torch.where(words > 1, words / n, 0)
            whole = (torch.where(words > 1, 0, words) + costs.share[rows[0]] * costs.axon).to(score.dtype) / n
            mean = (part * inside).sum(0) / n
            cost[rows] += own + whole
            pooled[rows] += own * part + whole * mean
    if bool(costs.unit.any()):
        n = mask.sum(1).clamp(min=1)
        part = (costs.unit / n)[:, None].to(score.dtype)
        cost += part
        pooled += part * ((score * mask).sum(1) / n)[:, None]
    least = LEAST * float((cost * mask).sum()) / max(int(mask.sum()), 1) or 1.0
    return (pooled + least * score) / (cost + least), cost + least


def list_words(n: Tensor, bits: int) -> Tensor:
    """Return the words that lists of n synapses take, each of `bits`."""
    full, rest = n // BLOCK, n % BLOCK
    return full * -(-(BLOCK * bits + HEADER) // WORD) + (rest > 0) * ((rest * bits + HEADER) / WORD).ceil()
