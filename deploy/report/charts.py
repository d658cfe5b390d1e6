"""The report's other drawings as inline SVG: matrix, ranges, map of cores, front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from .svg import BOTTOM, COLOURS, LEFT, RIGHT, TOP, Frame, number, opening, ticks


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
        y = top + i * cell
        parts.append(f'<text x="{left - 5:g}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{i}</text>')
        x = left + i * cell + cell / 2
        parts.append(f'<text x="{x:.1f}" y="{top - 5:g}" text-anchor="middle">{i}</text>')
        for j in range(n):
            opacity = 0.06 + 0.94 * share[i, j] if counts[i, j] else 0.03
            colour = "var(--series-1)" if i == j else "var(--series-2)"
            parts.append(
                f'<rect x="{left + j * cell:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                f'fill="{colour}" fill-opacity="{opacity:.2f}">'
                f"<title>true {i}, predicted {j}: {counts[i, j]}</title></rect>"
            )
            if counts[i, j] and cell >= 18:
                ink = "on" if share[i, j] > 0.55 else "ink"
                parts.append(
                    f'<text class="{ink}" x="{left + j * cell + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" '
                    f'text-anchor="middle">{counts[i, j]}</text>'
                )
    parts.append(f'<text class="label" x="{left:g}" y="11">predicted class</text>')
    parts.append(
        f'<text class="label" transform="translate(12 {top + n * cell / 2:g}) rotate(-90)" text-anchor="middle">'
        "true class</text>"
    )
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
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" y2="{height - BOTTOM:g}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - BOTTOM + 16:g}" text-anchor="middle">{number(10.0**power)}</text>'
        )
    for i, (name, low, high, colour) in enumerate(kept):
        y = TOP + i * each + each / 2
        x, w = at(low), max(at(high) - at(low), 4.0)
        parts.append(f'<text x="{left - 8:g}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{x - 2:.1f}" y="{y - 7:.1f}" width="{w:.1f}" height="14" rx="3" fill="{COLOURS[colour]}"/>'
        )
        text = number_pair(low, high)
        parts.append(f'<text x="{x + w + 5:.1f}" y="{y + 4:.1f}">{text}</text>')
    parts.append(
        f'<text class="label" x="{(left + width) / 2:g}" y="{height - 8:g}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
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
    parts = [opening(width, height, f"{y_label} against {x_label}")]
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{width - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{number(round(value, 6))}</text>')
    for value in ticks(frame.x0, frame.x1, 4):
        x = frame.x(value)
        parts.append(f'<text x="{x:.1f}" y="{height - BOTTOM + 16:g}" text-anchor="middle">{10**value:.3g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{height - BOTTOM:g}H{width - RIGHT:g}"/>')
    colour_of: dict[int, str] = {}
    for best, colour in zip(fronts, itertools.cycle(COLOURS)):
        line = "L".join(f"{frame.x(xs[i]):.1f} {frame.y(ys[i]):.1f}" for i in best)
        parts.append(f'<path class="line" stroke="{colour}" d="M{line}"/>')
        colour_of |= dict.fromkeys(best, colour)
    for i, (name, _, _) in enumerate(points):
        x, y = frame.x(xs[i]), frame.y(ys[i])
        colour = colour_of.get(i, "var(--muted)")
        anchor = "end" if x > width * 0.7 else "start"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(name)}</title></circle>')
        shift, drop = (-9, -7) if anchor == "end" else (9, 15)  # a front rises to the right: beside it, not on it
        parts.append(f'<text x="{x + shift:.1f}" y="{y + drop:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    parts.append(
        f'<text class="label" x="{(LEFT + width - RIGHT) / 2:g}" y="{height - 8:g}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    parts.append(
        f'<text class="label" transform="translate(13 {(TOP + height - BOTTOM) / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    return "".join(parts) + "</svg>"
