"""Adaptive compression: the share of synapses to remove follows validation, without a target.

One decision in T epochs, since accuracy is a mean over T epochs. While it is within the tolerance of its best, synapses
are removed, more each time. When it is not, the latest removal is taken back, then the one before it, and the rate is
halved. While it still rises, the structure waits: damage would not show. The last T epochs of the stage remove
nothing, so that the last removal is judged too. Rates are shares of the synapses that survive.
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
        epochs: epochs since the latest change.
    """

    rate: float
    sizes: tuple[int, ...] = ()
    epochs: int = 0


def next_step(
    pace: Pace, present: int, fastest: float, *, window: int, verdict: Verdict, remaining: int
) -> tuple[Pace, int]:
    """Return the state after an epoch, and how many synapses to keep.

    Args:
        pace: state before.
        present: synapses of the network.
        fastest: largest rate.
        window: T, epochs between two changes.
        verdict: of validation.
        remaining: epochs of the stage after this one.
    """
    epochs = pace.epochs + 1
    later = pace._replace(epochs=epochs), present
    if verdict == "wait" or (epochs < window and remaining):
        return later
    if verdict == "give back":
        if not pace.sizes:
            return later
        return Pace(max(SLOWEST, pace.rate * SLOWER), pace.sizes[:-1]), max(present, pace.sizes[-1])
    if remaining < window:
        return later
    return Pace(min(fastest, pace.rate * FASTER), (*pace.sizes, present)), round(present * (1 - pace.rate))
