"""The report's drawings as inline SVG: lines, spikes, confusion matrix, ranges of energy, accuracy against energy."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..energy.types import Span
from .svg import BOTTOM, COLOURS, LEFT, RIGHT, TOP, Frame, axes, drawing, element, legend, line, number, text, ticks

MARKS = 60  # of a line that show their values under the pointer


def line_chart(
    x: Sequence[float | None],
    series: Mapping[str, Sequence[float | None]],
    x_label: str,
    y_label: str,
    *,
    y_range: tuple[float, float] | None = None,
    scale: float = 1.0,
    mark: float | None = None,
) -> str:
    """Return lines over x, in the order of the points, with a legend; empty where there is no value.

    x: place of each point; None is a gap. series: name -> value at each point; None is a gap. y_range: default from 0
    or the least value to the greatest. scale: factor of all values, 100 for percent. mark: x of a dashed vertical line.
    """
    lines = {
        name: [None if at is None or v is None else (at, v * scale) for at, v in zip(x, values, strict=True)]
        for name, values in series.items()
    }
    points = [point for each in lines.values() for point in each if point is not None]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    left, right = min(xs), max(xs)
    low, high = y_range or (min(0.0, *ys), max(ys))
    frame = Frame(520, 260, left, right if right > left else left + 1, low, high if high > low else low + 1)
    whole = all(value == int(value) for value in xs)
    x_ticks = {value: number(value) for value in ticks(frame.x0, frame.x1) if not whole or value == int(value)}
    parts = [axes(frame, x_label, y_label, x_ticks)]
    if mark is not None and left <= mark <= right:
        parts.append(element("path", class_="mark", d=f"M{frame.x(mark):.1f} {TOP:g}V{frame.height - BOTTOM:g}"))
    for (name, each), colour in zip(lines.items(), itertools.cycle(COLOURS)):
        parts.append(element("path", class_="line", stroke=colour, d=frame.path(each), hint=name))
        known = [point for point in each if point is not None]
        for at, value in known[:: math.ceil(len(known) / MARKS)] if known else []:
            hint = f"{name}, {x_label} {at:.4g}: {value:.4g}"
            parts.append(
                element("circle", class_="dot", cx=frame.x(at), cy=frame.y(value), r=4, fill=colour, hint=hint)
            )
    label = f"{y_label} over {x_label}"
    return drawing(frame.width, frame.height, label, parts) + legend({name: i for i, name in enumerate(lines)})


def raster(layers: dict[str, tuple[int, Sequence[tuple[int, int]]]], n_steps: int, dt_s: float) -> str:
    """Return spikes of one sample: layers stacked, a tick per spike. layers: name -> (size, [(step, neuron)])."""
    width, each, gap = 520.0, 92.0, 10.0
    height = TOP + (each + gap) * len(layers) + BOTTOM
    frame = Frame(width, height, 0, n_steps, 0, 1)
    parts = []
    step = (width - LEFT - RIGHT) / n_steps
    for i, (name, (size, spikes)) in enumerate(layers.items()):
        top = TOP + i * (each + gap)
        look = {"stroke": COLOURS[i % len(COLOURS)], "stroke_width": min(max(each / size, 1.0), 4.0)}
        parts.append(element("rect", class_="panel", x=LEFT, y=top, width=width - LEFT - RIGHT, height=each))
        times: dict[int, list[int]] = {}
        for t, n in spikes:
            times.setdefault(n, []).append(t)
        for n, own in times.items():
            row = f"{top + n / size * each:.1f}h{max(step - 0.6, 0.8):.1f}"
            marks = "".join(f"M{frame.x(t):.1f} {row}" for t in own)
            parts.append(
                element("path", **look, d=marks, hint=f"{name}, neuron {n}: {len(own)} spike{'s' * (len(own) > 1)}")
            )
        parts.append(text(20, top + each / 2, name, "middle", "label", turned=True))
        parts += [text(LEFT - 5, top + 10, 0, "end"), text(LEFT - 5, top + each, size - 1, "end")]
    parts += [text(frame.x(value), height - BOTTOM + 10, number(value), "middle") for value in ticks(0, n_steps)]
    label = f"time (steps of {dt_s * 1e3:g} ms); vertical: neuron index"
    parts.append(text((LEFT + width - RIGHT) / 2, height - 8, label, "middle", "label"))
    return drawing(width, height, "spikes of the first sample, by layer", parts)


def matrix(counts: npt.NDArray[np.int64]) -> str:
    """Return a confusion matrix with its numbers; shade is the share of the row."""
    n = counts.shape[0]
    cell = max(14.0, min(34.0, 420.0 / n))
    left, top = 44.0, 30.0
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [text(left, 11, "predicted class", kind="label")]
    parts.append(text(12, top + n * cell / 2, "true class", "middle", "label", turned=True))
    for i in range(n):
        parts.append(text(left - 5, top + i * cell + cell / 2 + 4, i, "end"))
        parts.append(text(left + i * cell + cell / 2, top - 5, i, "middle"))
    for (i, j), count in np.ndenumerate(counts):
        x, y = left + j * cell, top + i * cell
        shade = 0.06 + 0.94 * float(share[i, j]) if count else 0.03
        look = {"fill": COLOURS[0] if i == j else COLOURS[1], "fill_opacity": shade}
        hint = f"true {i}, predicted {j}: {count}"
        parts.append(element("rect", x=x, y=y, width=cell - 1, height=cell - 1, **look, hint=hint))
        if count and cell >= 18:
            parts.append(text(x + cell / 2, y + cell / 2 + 4, count, "middle", "on" if share[i, j] > 0.55 else "ink"))
    return drawing(left + n * cell + 8, top + n * cell + 8, "confusion matrix: true class by predicted class", parts)


def ranges(rows: Sequence[tuple[str, Span, int]], x_label: str) -> str:
    """Return horizontal spans on a logarithmic axis. rows: (name, span, colour index); zeros are left out."""
    kept = [row for row in rows if row[1].low > 0]
    if not kept:
        return ""
    width, each, left = 560.0, 30.0, 205.0
    height = TOP + each * len(kept) + BOTTOM
    first = math.floor(math.log10(min(span.low for _, span, _ in kept)) - 0.05)
    last = math.ceil(math.log10(max(span.high for _, span, _ in kept)) + 0.05)

    def at(value: float) -> float:
        return left + (math.log10(value) - first) / (last - first) * (width - left - 70)

    parts = []
    for x, value in ((at(10.0**power), 10.0**power) for power in range(first, last + 1)):
        parts.append(line("grid", x, x, TOP, height - BOTTOM))
        parts.append(text(x, height - BOTTOM + 16, number(value), "middle"))
    for i, (name, span, colour) in enumerate(kept):
        y = TOP + i * each + each / 2
        x, w = at(span.low), max(at(span.high) - at(span.low), 4.0)
        parts.append(text(left - 8, y + 4, name, "end"))
        hint = f"{name}: {span:.3g}"
        parts.append(element("rect", x=x - 2, y=y - 7, width=w, height=14, rx=3, fill=COLOURS[colour], hint=hint))
        parts.append(text(x + w + 5, y + 4, f"{span:.3g}"))
    parts.append(text((left + width) / 2, height - 8, x_label, "middle", "label"))
    return drawing(width, height, x_label, parts)


def front(
    points: Sequence[tuple[str, float, float]], x_label: str, y_label: str, fronts: Sequence[Sequence[int]]
) -> str:
    """Return a scatter of (name, x > 0, y), x logarithmic; `fronts`: indices on each front, joined by a line."""
    places = [(math.log10(x), y) for _, x, y in points]
    xs, ys = zip(*places, strict=True)
    pad, lift = max((max(xs) - min(xs)) * 0.15, 0.1), max((max(ys) - min(ys)) * 0.15, 0.01)
    frame = Frame(560.0, 320.0, min(xs) - pad, max(xs) + pad, min(ys) - lift, max(ys) + lift)
    parts = [axes(frame, x_label, y_label, {value: f"{10**value:.3g}" for value in ticks(frame.x0, frame.x1, 4)})]
    colour_of: dict[int, str] = {}
    for best, colour in zip(fronts, itertools.cycle(COLOURS)):
        parts.append(element("path", class_="line", stroke=colour, d=frame.path(places[i] for i in best)))
        colour_of |= dict.fromkeys(best, colour)
    for i, (name, _, _) in enumerate(points):
        x, y = frame.x(xs[i]), frame.y(ys[i])
        parts.append(element("circle", cx=x, cy=y, r=5, fill=colour_of.get(i, "var(--muted)"), hint=name))
        # A front rises to the right: the name stands beside it, not on it.
        shift, drop, anchor = (-9, -7, "end") if x > frame.width * 0.7 else (9, 15, "start")
        parts.append(text(x + shift, y + drop, name, anchor))
    return drawing(frame.width, frame.height, f"{y_label} against {x_label}", parts)
