"""What a network costs on a chip, and what single synapses cost there."""

from typing import NamedTuple

import torch
from torch import Tensor

WORD, BLOCK, HEADER = 64, 64, 10  # bits: a list of synapses as nengo-loihi stores it (docs/placement.md)


class ChipCost(NamedTuple):
    """Cost of a placed network.

    cores: number of them. busiest: synaptic events of the busiest core in a step. energy: joules of events and traffic
    in a step. time: seconds of a step. binds: the limit that decides the number of cores. bits: of a synapse, with its
    index. pieces: cores of each population, in order. busiest, energy and time are None where no spikes were given.
    """

    cores: int
    busiest: float | None = None
    energy: float | None = None
    time: float | None = None
    binds: str = "synapse_bits"
    bits: int = 16
    pieces: tuple[int, ...] = ()


def list_costs(mask: Tensor, pieces: int, binds: str, bits: int) -> Tensor:
    """Return the cost of each synapse of a dense layer as a share of the mean; (units, inputs), 1 where none binds.

    A source has one list of synapses for each core that its targets are on. Memory is counted in whole words per list,
    and an axon per list, so a synapse of a short list costs more: dropping the list frees the word and the axon.

    Args:
        mask: (units, inputs) bool.
        pieces: cores that the units are spread over, as runs of equal length.
        binds: "synapse_bits" or "input_axons"; other limits do not depend on lists.
        bits: of a synapse.
    """
    costs = torch.ones(mask.shape, dtype=torch.float64, device=mask.device)
    if binds not in ("synapse_bits", "input_axons"):
        return costs
    present = int(mask.sum())
    for rows in torch.arange(len(mask), device=mask.device).tensor_split(max(1, min(pieces, len(mask)))):
        n = mask[rows].sum(0).double().clamp(min=1)
        each = torch.ones_like(n)
        if binds == "synapse_bits":
            full, rest = n // BLOCK, n % BLOCK
            words = full * -(-(BLOCK * bits + HEADER) // WORD) + (rest > 0) * ((rest * bits + HEADER) / WORD).ceil()
            each = words
        costs[rows] = each / n
    return costs / ((costs * mask).sum() / max(present, 1)).clamp(min=1e-12)
