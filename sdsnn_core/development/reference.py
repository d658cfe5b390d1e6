"""The validation accuracy from which `max_accuracy_drop` counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .config import DevelopmentConfig
from .stop_criteria import too_inaccurate
from .trend import Trend


class Reference(NamedTuple):
    """The accuracy to keep. In mode adaptive, accuracies are means over T epochs.

    Attributes:
        accuracy: the best so far, or that of the network that the run began with; 0 before the first.
        trained: the run began with a trained network: mode adaptive does not wait for it to learn.
    """

    accuracy: float = 0.0
    trained: bool = False

    @classmethod
    def of_trained(cls, accuracy: float, config: DevelopmentConfig) -> Reference:
        """Return the reference of a run that begins with a trained network of this accuracy.

        Mode adaptive counts from the mean of this accuracy and those of the next T - 1 epochs instead: a network that
        was chosen by its accuracy does a little worse the next time.
        """
        return cls(0.0 if config.mode == "adaptive" else max(accuracy, 0.0), trained=True)

    def after(self, accuracy: float | None, trend: Trend, config: DevelopmentConfig) -> tuple[Reference, bool, bool]:
        """Return the reference after an epoch, whether accuracy is too low, and whether mode adaptive waits.

        It waits while the network still learns, and while it is not sure that accuracy is within the tolerance. Only a
        mean that lies two standard errors above the reference raises it: the highest of many noisy means would be too
        high a bar.

        Args:
            accuracy: the latest one, 0..1; None where it is not known.
            trend: has noted it.
            config: of development.
        """
        noise = 0.0
        if config.mode == "adaptive":
            accuracy, noise = trend.accuracy, trend.noise
        low = too_inaccurate(config, accuracy, self.accuracy)
        higher = (accuracy or 0.0) - (2 * noise if self.accuracy else 0.0)
        learns = not self.trained and trend.rising(config.max_accuracy_drop or 0.0)
        unsure = not self.accuracy or too_inaccurate(config, (accuracy or 0.0) - noise, self.accuracy)
        return self._replace(accuracy=max(self.accuracy, higher)), low, learns or unsure

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"best_accuracy": self.accuracy, **({"trained": True} if self.trained else {})}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Reference:
        """Return the reference of a saved state."""
        return cls(float(state["best_accuracy"]), bool(state.get("trained", False)))
