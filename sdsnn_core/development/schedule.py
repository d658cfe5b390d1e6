"""When each mechanism acts and how fast, for a run of any length.

Epochs count from 0. With the persistence T (18 of the script's 600 epochs): ranges start at epoch 0, clamping at
T + 1, regeneration and pruning at e0 = 2T + 1. Rates live on the script's clock, the paper time
tau = (epoch - e0) * 18 / T, and what a short run does in one epoch is the sum over the paper epochs that it passes:
the total removed does not depend on the length of the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from .config import DevelopmentConfig

Kind = Literal["conv", "dense"]
PAPER_PERSISTENCE = 18
"""T of the released CIFAR-10 script."""


@final
@dataclass(frozen=True)
class Schedule:
    """The clock of one run of `n_epochs` epochs."""

    config: DevelopmentConfig
    n_epochs: int

    @property
    def persistence(self) -> int:
        """T: how many epochs in a row make a habit.

        The script's share of the run to the nearest epoch, but at least persistence_least (a habit of two epochs is
        mostly chance: a weight that moves at random fades T + 1 times in a row with odds of 2^-(T + 1)), which in turn
        is at most an eighth of the run, so that e0 comes in its first third; and at least 1.
        """
        if self.config.persistence is not None:
            return self.config.persistence
        share = math.floor(self.config.persistence_fraction * self.n_epochs + 0.5)
        return max(1, share, min(self.config.persistence_least, self.n_epochs // 8))

    @property
    def first_pruning(self) -> int:
        """e0 = 2T + 1, the first epoch with regeneration and pruning."""
        return 2 * self.persistence + 1

    @property
    def first_regeneration(self) -> int:
        """First epoch after which a synapse can come back: absent since e0, it is asked for T + 1 times in a row."""
        return self.first_pruning + 1 + self.persistence + int(self.config.has("B12"))

    def idle(self) -> list[str]:
        """Return a sentence for each mechanism that is on and cannot act in this run."""
        config, last, found = self.config, self.n_epochs - 1, []
        known = f"persistence {self.persistence}, {self.n_epochs} epochs"
        if config.constraint and not self.clamps(last):
            found.append(f"constraint: acts after epoch {self.persistence + 1} at the earliest ({known})")
        if config.pruning and not self.prunes(last):
            found.append(f"pruning: acts after epoch {self.first_pruning} at the earliest ({known})")
        # What was absent before the run may come back earlier, but a run begins with every synapse.
        if config.regeneration and config.synapse_stage and self.first_regeneration >= self.synapse_first:
            found.append(
                f"regeneration: acts after epoch {self.first_regeneration} at the earliest ({known}), and rests from "
                f"epoch {self.synapse_first} on, where the synapse stage grows instead (synapse_begin)"
            )
        elif config.regeneration and config.pruning and self.first_regeneration > last:
            found.append(f"regeneration: acts after epoch {self.first_regeneration} at the earliest ({known})")
        return found

    def clamps(self, epoch: int) -> bool:
        """Return whether weights are clamped to their ranges after `epoch`."""
        return epoch > self.persistence

    def prunes(self, epoch: int) -> bool:
        """Return whether regeneration and unit pruning act after `epoch`."""
        return epoch >= self.first_pruning

    def paper_time(self, epoch: int) -> float:
        """Return tau, in paper epochs after e0."""
        return (epoch - self.first_pruning) * PAPER_PERSISTENCE / self.persistence

    def initial_percent(self, kind: Kind) -> float:
        """Return P at e0, in percent of the layer's units."""
        return self.config.initial_percent_conv if kind == "conv" else self.config.initial_percent_dense

    def rate(self, epoch: int, kind: Kind) -> float:
        """Return what `epoch` adds to P for each alive unit per alive unit of the next layer, in percentage points.

        conv: a(t) = exp(-t / 5); dense: a(t) = 0.5 exp(-t) up to t = 23, then 0.0005; summed over the epoch.
        """
        start, stop = self.paper_time(epoch), self.paper_time(epoch + 1)
        if not self.config.adaptive_pruning_rate:
            return self.config.fixed_pruning_rate * (stop - start)
        return self.config.pruning_gain * (self._passed(stop, kind) - self._passed(start, kind))

    def _passed(self, time: float, kind: Kind) -> float:
        """Return the sum of a(t) over the paper epochs 0 .. time - 1, linear within a paper epoch."""
        whole = math.floor(time)
        return self._sum(whole, kind) + (time - whole) * (self._sum(whole + 1, kind) - self._sum(whole, kind))

    def _sum(self, count: int, kind: Kind) -> float:
        config = self.config
        if kind == "conv":
            return _geometric(math.exp(-1 / config.rate_decay_conv), count)
        fast = min(count, math.floor(min(config.rate_dense_switch, count)) + 1)
        early = config.rate_dense_scale * _geometric(math.exp(-1 / config.rate_decay_dense), fast)
        return early + config.rate_dense_floor * (count - fast)

    def regeneration_percent(self, epoch: int, kind: Kind) -> float:
        """Return rho: the best absent synapses, in percent of the absent ones, that may come back.

        rho(t) = rho0 - 1.1^t, at least 1: the complement of the released code's percentile q.
        """
        config = self.config
        if not config.adaptive_regeneration_rate:
            return config.fixed_regeneration_percent
        start = config.regeneration_percent_conv if kind == "conv" else config.regeneration_percent_dense
        # Beyond tau = 100, 1.1^tau is far above 100 percent; capping it keeps the power from overflowing.
        return max(1.0, start - math.pow(1.1, min(self.paper_time(epoch), 100.0)))

    @property
    def settled_from(self) -> int:
        """First epoch after whose end the structure hardly changes: the fast phases of both stages have passed.

        At a fixed pruning rate units go until the last one.
        """
        ends = [0]
        if self.config.pruning:
            fast = self.config.rate_dense_switch * self.persistence / PAPER_PERSISTENCE
            if not self.config.adaptive_pruning_rate and self.config.fixed_pruning_rate:
                fast = math.inf
            ends.append(self.first_pruning + math.ceil(min(fast, self.n_epochs)))
        if self.config.synapse_stage:
            ends.append(self.synapse_last)
        return max(0, min(max(ends), self.n_epochs - 1))

    @property
    def synapse_first(self) -> int:
        """First epoch of the synapse stage."""
        return math.floor(self.config.synapse_begin * self.n_epochs)

    @property
    def synapse_last(self) -> int:
        """Epoch after which the synapse stage has reached its target; at most the last one."""
        return min(self.n_epochs - 1, max(self.synapse_first, math.ceil(self.config.synapse_end * self.n_epochs) - 1))

    def synapse_phase(self, epoch: int) -> float | None:
        """Return how far the synapse stage is after `epoch`, in 0..1 and above 0; None where it does not act."""
        if not self.config.synapse_stage or not self.synapse_first <= epoch <= self.synapse_last:
            return None
        return (epoch - self.synapse_first + 1) / (self.synapse_last - self.synapse_first + 1)


def _geometric(ratio: float, count: int) -> float:
    """Return the sum of ratio^j over j = 0 .. count - 1."""
    if ratio == 1:
        return float(count)
    return (1 - ratio**count) / (1 - ratio) if count > 0 else 0.0
