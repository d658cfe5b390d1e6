"""Small plots as inline SVG, coloured by the page's CSS variables so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 10.0, 44.0
COLOURS = tuple(f"var(--series-{i})" for i in range(1, 9))


@dataclass(frozen=True)
class Frame:
    """Axes from (x0, y0) to (x1, y1) in data units on a canvas of width x height."""

    width: float
    height: float
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        """Return the canvas column of a value."""
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the canvas row of a value."""
        return self.height - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (self.height - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between low and high, about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Return a short form of a number for an axis."""
    if value and (abs(value) >= 1e9 or abs(value) < 1e-3):
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 1.0001 or (abs(value) >= size and size > 1e3):
            return f"{value / size:.4g}{letter}"
    return f"{value:g}"


def opening(width: float, height: float, label: str) -> str:
    """Return the opening tag of a drawing that scales with the page."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="xMidYMid meet">'
    )


def axes(frame: Frame, x_label: str, y_label: str, integer_x: bool = False) -> list[str]:
    """Return grid lines, numbers, axes and their labels."""
    bottom, left = frame.height - BOTTOM, LEFT
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{left:g}" x2="{frame.width - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6:g}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value in ticks(frame.x0, frame.x1):
        if integer_x and value != int(value):
            continue
        x = frame.x(value)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{number(value)}</text>')
    parts.append(f'<path class="axis" d="M{left:g} {TOP:g}V{bottom:g}H{frame.width - RIGHT:g}"/>')
    middle_x, middle_y = (left + frame.width - RIGHT) / 2, (TOP + bottom) / 2
    parts.append(
        f'<text class="label" x="{middle_x:g}" y="{frame.height - 8:g}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text class="label" transform="translate(13 {middle_y:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return parts


def legend(names: Mapping[str, int]) -> str:
    """Return names with the numbers of their colours, as HTML."""
    entries = (
        f'<span><i style="background:{COLOURS[colour % len(COLOURS)]}"></i>{escape(name)}</span>'
        for name, colour in names.items()
    )
    return f'<span class="legend">{"".join(entries)}</span>'


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
    """Draw lines over x, in the order of the points, as inline SVG.

    Args:
        x: place of each point; a point without one is a gap.
        series: name -> value at each point; None is a gap.
        x_label: what x is, with its unit.
        y_label: what the values are, with their unit.
        y_range: ends of the vertical axis; the default is from 0 or the least value to the greatest.
        scale: factor of all values, 100 for percent.
        mark: x of a dashed vertical line.

    Returns:
        The drawing with its legend; empty where there is no value.
    """
    lines = {
        name: [None if at is None or v is None else (at, v * scale) for at, v in zip(x, values, strict=True)]
        for name, values in series.items()
    }
    points = [point for line in lines.values() for point in line if point is not None]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    left, right = min(xs), max(xs)
    low, high = y_range or (min(0.0, *ys), max(ys))
    frame = Frame(520, 260, left, right if right > left else left + 1, low, high if high > low else low + 1)
    whole = all(value == int(value) for value in xs)
    parts = [opening(frame.width, frame.height, f"{y_label} over {x_label}"), *axes(frame, x_label, y_label, whole)]
    if mark is not None and left <= mark <= right:
        parts.append(f'<path class="mark" d="M{frame.x(mark):.1f} {TOP:g}V{frame.height - BOTTOM:g}"/>')
    for i, (name, line) in enumerate(lines.items()):
        path, pen = "", "M"
        for point in line:
            path += "" if point is None else f"{pen}{frame.x(point[0]):.1f} {frame.y(point[1]):.1f}"
            pen = "M" if point is None else "L"
        parts.append(
            f'<path class="line" stroke="{COLOURS[i % len(COLOURS)]}" d="{path}"><title>{escape(name)}</title></path>'
        )
    return "".join(parts) + "</svg>" + legend({name: i for i, name in enumerate(lines)})


def raster(layers: dict[str, tuple[int, Sequence[tuple[int, int]]]], n_steps: int, dt_s: float) -> str:
    """Return spikes of one sample: layers stacked, a tick per spike. layers: name -> (size, [(step, neuron)])."""
    width, each, gap = 520.0, 92.0, 10.0
    height = TOP + (each + gap) * len(layers) + BOTTOM
    frame = Frame(width, height, 0, n_steps, 0, 1)
    parts = [opening(width, height, "spikes of the first sample, by layer")]
    step = (width - LEFT - RIGHT) / n_steps
    for i, (name, (size, spikes)) in enumerate(layers.items()):
        top = TOP + i * (each + gap)
        high = max(each / size, 1.0)
        marks = "".join(f"M{frame.x(t):.1f} {top + n / size * each:.1f}h{max(step - 0.6, 0.8):.1f}" for t, n in spikes)
        parts.append(
            f'<rect class="panel" x="{LEFT:g}" y="{top:.1f}" width="{width - LEFT - RIGHT:g}" height="{each:g}"/>'
        )
        parts.append(f'<path stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="{min(high, 4):.2f}" d="{marks}"/>')
        parts.append(
            f'<text class="label" transform="translate(20 {top + each / 2:.1f}) rotate(-90)" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
        parts.append(f'<text x="{LEFT - 5:g}" y="{top + 10:.1f}" text-anchor="end">0</text>')
        parts.append(f'<text x="{LEFT - 5:g}" y="{top + each:.1f}" text-anchor="end">{size - 1}</text>')
    bottom = height - BOTTOM
    for value in ticks(0, n_steps):
        parts.append(f'<text x="{frame.x(value):.1f}" y="{bottom + 10:g}" text-anchor="middle">{number(value)}</text>')
    label = f"time (steps of {dt_s * 1e3:g} ms); vertical: neuron index"
    parts.append(
        f'<text class="label" x="{(LEFT + width - RIGHT) / 2:g}" y="{height - 8:g}" text-anchor="middle">{label}</text>'
    )
    return "".join(parts) + "</svg>"
