"""What was read from recordings, in one line: for training's log and for `sdsnn simulate`."""

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from .formats.events import Events

LOG = logging.getLogger("sdsnn.data")


@final
@dataclass
class Summary:
    """Counts over all recordings, filled one recording after another.

    Attributes:
        steps: time steps of a sample; of several lengths the largest.
        step_us: microseconds of a step; None for arrays of bins.
        recordings: number of samples.
        kept: events within the steps.
        left_out: events after the last step.
        first_us: earliest time of all events, by their own clocks; None without events.
        last_us: latest such time.
        longest_us: longest time from the first to the last event of a recording.
        largest_bin: largest value in arrays of bins.
    """

    steps: int = 0
    step_us: float | None = None
    recordings: int = 0
    kept: int = 0
    left_out: int = 0
    first_us: float | None = None
    last_us: float | None = None
    longest_us: float = 0.0
    largest_bin: int = 0

    def add(self, recording: npt.NDArray[Any], *, from_first: bool = True, limit: int | None = None) -> None:
        """Count one recording.

        Args:
            recording: its events, or its bins (steps, *shape).
            from_first: time counts from the first event, not from 0.
            limit: steps that are kept; None keeps all.
        """
        self.recordings += 1
        if recording.dtype.names is None:
            self.steps = max(self.steps, min(len(recording), limit or len(recording)))
            largest = recording.max(initial=0)
            if np.isfinite(largest):  # others are refused where bins are used
                self.largest_bin = max(self.largest_bin, int(largest))
            return
        self._add_times(recording["t"], from_first, limit)

    def _add_times(self, times: Events, from_first: bool, limit: int | None) -> None:
        if not len(times):
            return
        first, last = times.min().item(), times.max().item()
        self.first_us = first if self.first_us is None else min(self.first_us, first)
        self.last_us = last if self.last_us is None else max(self.last_us, last)
        begin = first if from_first else 0
        self.longest_us = max(self.longest_us, float(last - begin))
        width = self.step_us or 1.0
        inside = len(times) if limit is None else int((np.floor((times - begin) / width) < limit).sum())
        self.kept += inside
        self.left_out += len(times) - inside
        self.steps = max(self.steps, limit or math.floor((last - begin) / width) + 1)

    def line(self, classes: tuple[str, ...] = (), sensor: tuple[int, ...] = ()) -> str:
        """Return all of it as one line.

        Args:
            classes: their names; none where there are no labels.
            sensor: width, height and polarities, or the shape of a sample.
        """
        parts = [_classes(classes), f"{self.recordings:,} recording{'' if self.recordings == 1 else 's'}"]
        parts.append(f"sensor {' x '.join(map(str, sensor))}" if sensor else "")
        width = f" of {self.step_us:g} us" if self.step_us is not None and self.first_us is not None else ""
        parts.append(f"{self.steps:,} step{'' if self.steps == 1 else 's'}{width}")
        if self.first_us is not None and self.last_us is not None:
            parts.append(f"{self.kept:,} events ({self.left_out:,} after the last step left out)")
            parts.append(f"times {self.first_us:,.0f} to {self.last_us:,.0f} us")
        return ", ".join(part for part in parts if part)

    def warning(self) -> str | None:
        """Return a sentence where the unit of times seems to be another one; None where nothing does."""
        if self.first_us is None or self.step_us is None or self.steps < 2 or self.longest_us >= self.step_us:
            return None
        if not self.longest_us:  # single events have no duration
            return None
        steps = {unit: self.longest_us * factor / self.step_us for unit, factor in (("ms", 1e3), ("s", 1e6))}
        unit = min(steps, key=lambda each: abs(math.log(max(steps[each], 1e-9) / self.steps)))
        return f"all events of every recording fall into step 0 of {self.steps}; are the times in {unit}? (time unit)"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])}, ..., {names[-1]}"
    return f"{len(names)} class{'' if len(names) == 1 else 'es'} ({shown})" if names else ""


def log_summary(name: str, summary: Summary, classes: tuple[str, ...], sensor: tuple[int, ...]) -> None:
    """Log the line of a data set, which `sdsnn train` prints, and its warning."""
    LOG.info("data %s: %s", name, summary.line(classes, sensor))
    if warning := summary.warning():
        LOG.warning("data %s: %s", name, warning)
