"""The report's other drawings as inline SVG: matrix, ranges, map of cores, front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from .svg import BOTTOM, COLOURS, TOP, Frame, axes, line, number, opening, text, ticks


def matrix(counts: npt.NDArray[np.int64]) -> str:
    """Return a confusion matrix with its numbers; shade is the share of the row."""
    n = counts.shape[0]
    cell = max(14.0, min(34.0, 420.0 / n))
    left, top = 44.0, 30.0
    width, height = left + n * cell + 8, top + n * cell + 8
    parts = [opening(width, height, "confusion matrix: true class by predicted class")]
    rows = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(rows, 1)
    for i in range(n):
        y, x = top + i * cell, left + i * cell + cell / 2
        parts += [text(left - 5, y + cell / 2 + 4, i, "end"), text(x, top - 5, i, "middle")]
        for j in range(n):
            opacity = 0.06 + 0.94 * share[i, j] if counts[i, j] else 0.03
            colour = "var(--series-1)" if i == j else "var(--series-2)"
            x = left + j * cell
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                f'fill="{colour}" fill-opacity="{opacity:.2f}">'
                f"<title>true {i}, predicted {j}: {counts[i, j]}</title></rect>"
            )
            if counts[i, j] and cell >= 18:
                ink = "on" if share[i, j] > 0.55 else "ink"
                parts.append(text(x + cell / 2, y + cell / 2 + 4, counts[i, j], "middle", ink))
    parts.append(text(left, 11, "predicted class", kind="label"))
    parts.append(text(12, top + n * cell / 2, "true class", "middle", "label", turned=True))
    return "".join(parts) + "</svg>"


def ranges(rows: Sequence[tuple[str, float, float, int]], x_label: str) -> str:
    """Return horizontal spans on a logarithmic axis. rows: (name, low, high, colour index); zeros are left out."""
    kept = [row for row in rows if row[1] > 0]
    if not kept:
        return ""
    width, each, left = 560.0, 30.0, 205.0
    height = TOP + each * len(kept) + BOTTOM
    first = math.floor(math.log10(min(row[1] for row in kept)) - 0.05)
    last = math.ceil(math.log10(max(row[2] for row in kept)) + 0.05)

    def at(value: float) -> float:
        return left + (math.log10(value) - first) / (last - first) * (width - left - 70)

    parts = [opening(width, height, x_label)]
    for power in range(first, last + 1):
        x = at(10.0**power)
        parts.append(line("grid", x, x, TOP, height - BOTTOM))
        parts.append(text(x, height - BOTTOM + 16, number(10.0**power), "middle"))
    for i, (name, low, high, colour) in enumerate(kept):
        y = TOP + i * each + each / 2
        x, w = at(low), max(at(high) - at(low), 4.0)
        parts.append(text(left - 8, y + 4, name, "end"))
        parts.append(
            f'<rect x="{x - 2:.1f}" y="{y - 7:.1f}" width="{w:.1f}" height="14" rx="3" fill="{COLOURS[colour]}"/>'
        )
        parts.append(text(x + w + 5, y + 4, number_pair(low, high)))
    parts.append(text((left + width) / 2, height - 8, x_label, "middle", "label"))
    return "".join(parts) + "</svg>"


def number_pair(low: float, high: float) -> str:
    """Return one number, or two with 'to' between them."""
    a, b = f"{low:.3g}", f"{high:.3g}"
    return a if a == b else f"{a} to {b}"


def front(
    points: Sequence[tuple[str, float, float]], x_label: str, y_label: str, fronts: Sequence[Sequence[int]]
) -> str:
    """Return a scatter of (name, x > 0, y), x logarithmic; `fronts`: indices on each front, joined by a line."""
    width, height = 560.0, 320.0
    xs, ys = [math.log10(p[1]) for p in points], [p[2] for p in points]
    pad = max((max(xs) - min(xs)) * 0.15, 0.1)
    lift = max((max(ys) - min(ys)) * 0.15, 0.01)
    frame = Frame(width, height, min(xs) - pad, max(xs) + pad, min(ys) - lift, max(ys) + lift)
    x_ticks = {value: f"{10**value:.3g}" for value in ticks(frame.x0, frame.x1, 4)}
    parts = [opening(width, height, f"{y_label} against {x_label}"), axes(frame, x_label, y_label, x_ticks)]
    colour_of: dict[int, str] = {}
    for best, colour in zip(fronts, itertools.cycle(COLOURS)):
        path = "L".join(f"{frame.x(xs[i]):.1f} {frame.y(ys[i]):.1f}" for i in best)
        parts.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        colour_of |= dict.fromkeys(best, colour)
    for i, (name, _, _) in enumerate(points):
        x, y = frame.x(xs[i]), frame.y(ys[i])
        colour = colour_of.get(i, "var(--muted)")
        anchor = "end" if x > width * 0.7 else "start"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(name)}</title></circle>')
        shift, drop = (-9, -7) if anchor == "end" else (9, 15)  # a front rises to the right: beside it, not on it
        parts.append(text(x + shift, y + drop, name, anchor))
    return "".join(parts) + "</svg>"
