"""Validation over the latest T epochs: the signal that adaptive development follows.

One epoch of validation is noisy, on small splits above all. A mean over T epochs, the persistence of the schedule,
separates a trend from noise, as the ranges of synapses do.
"""

import math
from collections.abc import Mapping
from statistics import stdev
from typing import Any, final


@final
class Trend:
    """Means of validation accuracy and loss over the latest epochs, and the best mean of the loss.

    Args:
        window: number of epochs T.

    Attributes:
        loss: of the latest validation; set it after each.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.loss: float | None = None
        self.accuracies: list[float] = []
        self.records: list[float] = []  # best mean accuracy so far, after each of the latest T + 1 epochs
        self.losses: list[float] = []
        self.best_loss: float | None = None

    def note(self, accuracy: float | None) -> None:
        """Add `accuracy` and `loss` of the latest validation; None where there was none."""
        if accuracy is not None:
            self.accuracies = [*self.accuracies, accuracy][-self.window :]
            self.records = [*self.records, max([*self.records[-1:], self.accuracy or 0.0])][-self.window - 1 :]
        if self.loss is not None:
            self.losses = [*self.losses, self.loss][-self.window :]
            if len(self.losses) == self.window:
                mean = _mean(self.losses)
                self.best_loss = mean if self.best_loss is None else min(self.best_loss, mean)

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of the latest epochs; None before T of them."""
        return _mean(self.accuracies) if len(self.accuracies) == self.window else None

    @property
    def noise(self) -> float:
        """Standard error of `accuracy`, from the spread of the epochs; 0 where there is one."""
        n = len(self.accuracies)
        return stdev(self.accuracies) / math.sqrt(n) if n > 1 else 0.0

    def rising(self, margin: float) -> bool:
        """Return True if the mean accuracy beats its record of T epochs ago by more than `margin`, or is unknown."""
        if self.accuracy is None or len(self.records) <= self.window or not self.records[0]:
            return True
        return self.accuracy > self.records[0] + margin

    def worse(self, margin: float) -> bool:
        """Return True if the mean loss lies above its best by more than a share of `margin`.

        This is the neurotrophic signal: a network that does worse than it did lacks synapses.
        """
        return self.best_loss is not None and _mean(self.losses) > (1 + margin) * self.best_loss

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in ("loss", "accuracies", "records", "losses", "best_loss")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.loss, self.best_loss = state["loss"], state["best_loss"]
        self.accuracies, self.records = list(state["accuracies"]), list(state["records"])
        self.losses = list(state["losses"])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
