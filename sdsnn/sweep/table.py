"""The points of a sweep side by side: means over the seeds, and the points that no other beats."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from .plan import label
from .sweep import Point

# heading, key in the report's summary, how to print a value
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("accuracy", "test_accuracy", "{:.2%}".format),
    ("validation", "validation_accuracy", "{:.2%}".format),
    ("sparsity", "connection_sparsity", "{:.1%}".format),
    ("synapses", "synapses_kept", "{:,.0f}".format),
    ("operations", "synaptic_operations_per_inference", "{:,.0f}".format),
    ("cores", "cores", "{:.3g}".format),
)


def mean(point: Point, key: str) -> float | None:
    """Return the mean of a number over the runs of a point; None where a run lacks it."""
    values: list[Any] = [run.get(key) for run in point.runs]
    return None if None in values else statistics.fmean(values)


def front(points: Sequence[Point], cost: str = "synaptic_operations_per_inference") -> list[int]:
    """Return the numbers of the points that no other beats: more accurate on validation, or cheaper."""
    scored = [
        (spent, -accuracy, point.number)
        for point in points
        if (spent := mean(point, cost)) is not None and (accuracy := mean(point, "validation_accuracy")) is not None
    ]
    best: list[int] = []
    highest = float("-inf")
    for _, negative, number in sorted(scored):
        if -negative > highest:
            best.append(number)
            highest = -negative
    return best


def rows(points: Sequence[Point]) -> list[list[str]]:
    """Return the headings and one row for each point; a star marks the front. Spread: standard deviation over seeds."""
    starred = set(front(points))
    table = [["point", *(heading for heading, _, _ in COLUMNS), "settings"]]
    for point in points:
        cells = [f"{point.number}{' *' if point.number in starred else ''}"]
        for _, key, show in COLUMNS:
            average = mean(point, key)
            values: list[Any] = [run[key] for run in point.runs if run.get(key) is not None]
            spread = f" ± {show(statistics.stdev(values))}" if average is not None and len(values) > 1 else ""
            cells.append("not recorded" if average is None else show(average) + spread)
        table.append([*cells, label(point.values)])
    return table
