"""Adaptive compression: the share of synapses to remove follows validation, without a target.

Accuracy is a mean over T epochs. While it is within the tolerance, a share of the synapses goes in every epoch, more
each time. While it is not, one removal after another is taken back, the latest first, and the share is halved. In the
last T epochs of the stage nothing is removed, so that the last removal is judged too. Rates are shares of the synapses
that survive.
"""

from typing import Final, Literal, NamedTuple

FASTER: Final = 1.25  # factor on the rate after an accuracy within the tolerance
SLOWER: Final = 0.5  # and after one outside it
SLOWEST: Final = 0.01
Verdict = Literal["remove", "wait", "give back"]


class Pace(NamedTuple):
    """State between epochs.

    Attributes:
        rate: share of the present synapses that the next removal takes.
        sizes: synapses before each removal that was not taken back.
    """

    rate: float
    sizes: tuple[int, ...] = ()


def per_epoch(share: float, window: int) -> float:
    """Return the share to remove in each epoch, so that `window` epochs remove `share`."""
    return 1 - float((1 - share) ** (1 / window))


def next_step(pace: Pace, present: int, fastest: float, *, verdict: Verdict) -> tuple[Pace, int]:
    """Return the state after an epoch, and how many synapses to keep.

    Args:
        pace: state before.
        present: synapses of the network.
        fastest: largest rate.
        verdict: of validation.
    """
    if verdict == "wait":
        return pace, present
    if verdict == "give back":
        if not pace.sizes:
            return pace, present
        return Pace(max(SLOWEST, pace.rate * SLOWER), pace.sizes[:-1]), max(present, pace.sizes[-1])
    return Pace(min(fastest, pace.rate * FASTER), (*pace.sizes, present)), round(present * (1 - pace.rate))
