"""Adaptive compression: the share of synapses to remove follows validation, without a target.

While validation accuracy is within the tolerance, synapses are removed, faster from epoch to epoch. Once it is not, the
last removal is taken back and the rate is halved. Rates are shares of the synapses that survive.
"""

from typing import Final, NamedTuple

FASTER: Final = 1.25  # factor on the rate after an epoch within the tolerance
SLOWER: Final = 0.5  # and after one outside it
SLOWEST: Final = 0.01


class Pace(NamedTuple):
    """State between epochs.

    Attributes:
        rate: share of the present synapses that the next removal takes.
        removed: share that the latest removal took.
    """

    rate: float
    removed: float = 0.0


def next_step(pace: Pace, present: int, total: int, fastest: float, *, held: bool) -> tuple[Pace, int]:
    """Return the state after an epoch, and how many synapses to keep.

    Args:
        pace: state before.
        present: synapses of the network.
        total: synapses of the dense network.
        fastest: largest rate.
        held: whether validation accuracy is outside the tolerance.
    """
    if held:
        kept = min(total, round(present / (1 - pace.removed)))
        return Pace(max(SLOWEST, pace.rate * SLOWER), 0.0), kept
    return Pace(min(fastest, pace.rate * FASTER), pace.rate), round(present * (1 - pace.rate))
