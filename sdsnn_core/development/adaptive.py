"""Adaptive compression: the share of synapses to remove follows validation, without a target.

One decision in T epochs, since accuracy is a mean over T epochs. While it is within the tolerance of its best, synapses
are removed, more each time. When it is not, the last removal is taken back and the rate is halved. While it still
rises, the structure waits: damage would not show. Rates are shares of the synapses that survive.
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
        removed: share that the latest removal took; 0 once it is taken back.
        epochs: epochs since the latest change.
    """

    rate: float
    removed: float = 0.0
    epochs: int = 0


def next_step(
    pace: Pace, present: int, total: int, fastest: float, *, window: int, verdict: Verdict
) -> tuple[Pace, int]:
    """Return the state after an epoch, and how many synapses to keep.

    Args:
        pace: state before.
        present: synapses of the network.
        total: synapses of the dense network.
        fastest: largest rate.
        window: T, epochs between two changes.
        verdict: of validation.
    """
    epochs = pace.epochs + 1
    if epochs < window or verdict == "wait":
        return pace._replace(epochs=epochs), present
    if verdict == "give back" and not pace.removed:
        return pace._replace(epochs=epochs), present
    if verdict == "give back":
        return Pace(max(SLOWEST, pace.rate * SLOWER)), min(total, round(present / (1 - pace.removed)))
    return Pace(min(fastest, pace.rate * FASTER), pace.rate), round(present * (1 - pace.rate))
