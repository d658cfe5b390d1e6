"""Counts of one inference, and numbers of which only bounds are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """A number known to lie in low..high; exact where both are equal."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """True where the number is known."""
        return self.low == self.high

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __format__(self, spec: str) -> str:
        """Return one number, or two with 'to' between them."""
        low, high = format(self.low, spec), format(self.high, spec)
        return low if low == high else f"{low} to {high}"

    def times(self, factor: float) -> Span:
        """Scaled by a factor of at least 0."""
        return Span(self.low * factor, self.high * factor)


def format_joules(amount: Span) -> str:
    """Return joules with a fitting prefix; a range as 'low to high'."""
    sizes = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ"))
    scale, unit = next((size for size in sizes if amount.high >= size[0]), (1e-12, "pJ"))
    return f"{Span(amount.low / scale, amount.high / scale):.3g} {unit}"


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """Work per core, mean over samples and steps. Arrays (n_cores,) float64.

    events: synaptic events. active: updates of active neurons, upper bound. neurons: all neurons. packets_in: packets
    that arrive. worst_events: mean over samples and steps of the busiest core's events in that very step, or None if
    spikes were not recorded.
    """

    events: Floats
    active: Floats
    neurons: Floats
    packets_in: Floats
    worst_events: float | None


@dataclass(frozen=True, eq=False)
class Counts:
    """Events of one inference, mean over the samples of an Activity, summed over its steps.

    events: projection -> synaptic events. events_by_kind: kind ('dense', 'sparse', 'convolution', 'graded', or
    'unplaced' where no placement decided between dense and sparse) -> events. active: population -> neuron updates
    that are active; updates: population -> all of them. spikes: node -> spikes. packets, hops: None without a
    placement; packets_from_input: the part of the packets that comes from input ports, which has no source core.
    zeros_by_kind: kind -> crossings of zeros that dense lists store in their gaps, which a chip may or may not spend
    an event on; empty without a placement.
    """

    n_steps: int
    n_samples: int
    events: Mapping[str, float]
    events_by_kind: Mapping[str, float]
    active: Mapping[str, Span]
    updates: Mapping[str, float]
    spikes: Mapping[str, float]
    population_spikes: float
    packets: float | None = None
    packets_from_input: float | None = None
    packets_between_chips: float | None = None
    hops_east_west: float | None = None
    hops_north_south: float | None = None
    load: CoreLoad | None = None
    zeros_by_kind: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_zeros(self) -> float:
        """Crossings of stored zeros of one inference."""
        return sum(self.zeros_by_kind.values())

    @property
    def total_events(self) -> float:
        """Synaptic events of one inference."""
        return sum(self.events.values())

    @property
    def total_active(self) -> Span:
        """Active neuron updates of one inference."""
        return sum(self.active.values(), Span(0.0, 0.0))

    @property
    def total_updates(self) -> float:
        """Neuron updates of one inference: neurons times steps."""
        return sum(self.updates.values())
