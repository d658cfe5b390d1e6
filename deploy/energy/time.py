"""Time of a step, bounded by the busiest core, and the static energy that passes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..placement.types import Placement
from .prices import PriceList
from .types import Counts, Span

NANO = 1e-9


@dataclass(frozen=True)
class StepTime:
    """Mean time of one step by one list's times, seconds.

    core_s: what the busiest core needs, its events and updates one after the other. span_s: with the least and the
    greatest barrier time added. busiest: its number. mean_core_s: the mean over cores, so that their ratio shows how
    uneven the work is. per_step: whether the busiest core was taken step by step (spikes recorded) or on the mean.
    """

    list_name: str
    core_s: float
    span_s: Span
    busiest: int
    mean_core_s: float
    per_step: bool


@dataclass(frozen=True)
class StaticShare:
    """Static energy of one inference, joules, at one step time; shown beside the totals and not added to them."""

    title: str
    step_s: Span
    watts: float
    joules: Span
    source: str


def step_time(counts: Counts, prices: PriceList) -> StepTime:
    """Bound the mean step time from below by the busiest core. Needs counts made with a placement."""
    assert counts.load is not None
    assert prices.times_ns is not None
    times, load = prices.times_ns, counts.load
    updates = load.active * times.neuron_update_active + (load.neurons - load.active) * times.neuron_update_inactive
    each = (load.events * times.synaptic_event + updates) * NANO
    busiest = int(np.argmax(each))
    core = float(each[busiest])
    if load.worst_events is not None:
        # The busiest core may change from step to step; its events alone are another lower bound.
        core = max(core, load.worst_events * times.synaptic_event * NANO)
    return StepTime(
        prices.name,
        core,
        Span(core + times.barrier_min * NANO, core + times.barrier_max * NANO),
        busiest,
        float(each.mean()),
        load.worst_events is not None,
    )


def static_share(
    counts: Counts, lists: Sequence[PriceList], placement: Placement, dt_s: float
) -> Iterator[StaticShare]:
    """Yield static energy at the step time of each list and in real time (steps of dt_s), if a power is published."""
    power = placement.static_power
    if power is None:
        return
    watts = power.value * placement.n_chips
    runs = [(f"as fast as {t.name} allows", step_time(counts, t).span_s) for t in lists if t.times_ns]
    runs.append((f"in real time, {dt_s * 1e3:g} ms steps", Span(dt_s, dt_s)))
    for title, span in runs:
        yield StaticShare(title, span, watts, span.times(watts * counts.n_steps), power.citation)
