"""Schedules of the mechanisms for a run of any length.

Epochs count from 0. With the persistence T (18 of the released script's 600 epochs), ranges start at epoch 0, clamping
at T + 1, regeneration and pruning at e0 = 2T + 1. Rates are functions of the paper time tau = (epoch - e0) * 18 / T.
The rate of an epoch is the sum over the paper epochs that it covers, so the total removed does not depend on the length
of the run.
"""

import math
from dataclasses import dataclass
from typing import Literal

from .config import DevelopmentConfig

Kind = Literal["conv", "dense"]
PAPER_PERSISTENCE = 18
"""T of the released CIFAR-10 script."""


@dataclass(frozen=True)
class Schedule:
    """Schedules of one run of `n_epochs` epochs."""

    config: DevelopmentConfig
    n_epochs: int

    @property
    def persistence(self) -> int:
        """T: number of consecutive epochs after which a trend of a weight counts, at least 1.

        The script's share of the run, but at least `persistence_least`: a weight that moves at random decays T + 1
        times in a row with probability 2^-(T + 1). That minimum is at most an eighth of the run, for an early e0.
        """
        if self.config.persistence is not None:
            return self.config.persistence
        share = math.floor(self.config.persistence_fraction * self.n_epochs + 0.5)
        return max(1, share, min(self.config.persistence_least, self.n_epochs // 8))

    @property
    def regeneration_persistence(self) -> int:
        """Counts of a candidate after which it is unmasked: T."""
        return self.persistence

    @property
    def first_pruning(self) -> int:
        """e0 = 2T + 1, the first epoch with regeneration and pruning."""
        return 2 * self.persistence + 1

    @property
    def first_regeneration(self) -> int:
        """First epoch after which a synapse can be unmasked: masked at e0, then a candidate T + 1 times in a row."""
        return self.first_pruning + 1 + self.regeneration_persistence

    def idle(self) -> list[str]:
        """Return a sentence for each mechanism that is switched on but cannot act in this run."""
        config, last, notes = self.config, self.n_epochs - 1, []
        basis = f"persistence {self.persistence}, {self.n_epochs} epochs"
        if config.constraint and not self.clamps(last):
            notes.append(f"constraint: acts after epoch {self.persistence + 1} at the earliest ({basis})")
        if config.pruning and not self.prunes(last):
            notes.append(f"pruning: acts after epoch {self.first_pruning} at the earliest ({basis})")
        # Assumes that the run begins without masked synapses.
        if config.regeneration and config.synapse_stage and self.first_regeneration >= self.synapse_first:
            notes.append(
                f"regeneration: acts after epoch {self.first_regeneration} at the earliest ({basis}), but stops at "
                f"epoch {self.synapse_first}, where the synapse stage begins (synapse_begin)"
            )
        elif config.regeneration and config.pruning and self.first_regeneration > last:
            notes.append(f"regeneration: acts after epoch {self.first_regeneration} at the earliest ({basis})")
        return notes

    def clamps(self, epoch: int) -> bool:
        """Return True if weights are clamped to their ranges after `epoch`."""
        return epoch > self.persistence

    def prunes(self, epoch: int) -> bool:
        """Return True if regeneration and unit pruning act after `epoch`."""
        return epoch >= self.first_pruning

    def paper_time(self, epoch: int) -> float:
        """Return tau, in paper epochs after e0."""
        return (epoch - self.first_pruning) * PAPER_PERSISTENCE / self.persistence

    def initial_percent(self, kind: Kind) -> float:
        """Return P at e0, in percent of the layer's units."""
        return self.config.initial_percent_conv if kind == "conv" else self.config.initial_percent_dense

    def rate(self, epoch: int, kind: Kind) -> float:
        """Return the increase of P in `epoch`, in percentage points per (alive unit / alive unit of the next layer).

        The sum over the epoch of a(t) = exp(-t / 5) for convolutions, and for dense layers of a(t) = 0.5 exp(-t) up to
        t = 23, then 0.0005: the rates of the released script.
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
        """Return the sum of a(t) over t = 0 .. count - 1."""
        config = self.config
        if kind == "conv":
            return _geometric(math.exp(-1 / config.rate_decay_conv), count)
        fast = min(count, math.floor(min(config.rate_dense_switch, count)) + 1)
        early = config.rate_dense_scale * _geometric(math.exp(-1 / config.rate_decay_dense), fast)
        return early + config.rate_dense_floor * (count - fast)

    def regeneration_percent(self, epoch: int, kind: Kind) -> float:
        """Return rho, the percentage of the masked synapses that are candidates for regeneration.

        rho(t) = rho0 - 1.1^t, at least 1: the complement of the released script's percentile.
        """
        config = self.config
        if not config.adaptive_regeneration_rate:
            return config.fixed_regeneration_percent
        start = config.regeneration_percent_conv if kind == "conv" else config.regeneration_percent_dense
        # Beyond tau = 100, 1.1^tau is far above 100 percent; capping it keeps the power from overflowing.
        return max(1.0, start - math.pow(1.1, min(self.paper_time(epoch), 100.0)))

    @property
    def settled_from(self) -> int:
        """First epoch after which the structure hardly changes: the fast phases of both stages are over.

        At a fixed pruning rate that is the last epoch.
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
        """Last epoch of the synapse stage."""
        return min(self.n_epochs - 1, max(self.synapse_first, math.ceil(self.config.synapse_end * self.n_epochs) - 1))

    def synapse_phase(self, epoch: int) -> float | None:
        """Return the completed share of the synapse stage after `epoch`, in (0, 1]; None outside the stage."""
        if not self.config.synapse_stage or not self.synapse_first <= epoch <= self.synapse_last:
            return None
        return (epoch - self.synapse_first + 1) / (self.synapse_last - self.synapse_first + 1)


def _geometric(ratio: float, count: int) -> float:
    """Return the sum of ratio^j over j = 0 .. count - 1."""
    if ratio == 1:
        return float(count)
    return (1 - ratio**count) / (1 - ratio) if count > 0 else 0.0
