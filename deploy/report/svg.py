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


def text(x: float, y: float, content: object, anchor: str = "start", kind: str = "", turned: bool = False) -> str:
    """Return a text. anchor: start, middle or end. kind: class of the style sheet. turned: it runs upwards."""
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"' if turned else f'x="{x:.1f}" y="{y:.1f}"'
    kind, anchor = f'class="{kind}" ' if kind else "", "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f"<text {kind}{place}{anchor}>{escape(str(content))}</text>"


def line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    """Return a straight line of a class of the style sheet."""
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def axes(frame: Frame, x_label: str, y_label: str, x_ticks: Mapping[float, str]) -> str:
    """Return grid lines, numbers, axes and their labels. x_ticks: place -> number."""
    bottom, right = frame.height - BOTTOM, frame.width - RIGHT
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts += [line("grid", LEFT, right, y, y), text(LEFT - 6, y + 4, number(value), "end")]
    parts += [text(frame.x(value), bottom + 16, shown, "middle") for value, shown in x_ticks.items()]
    parts.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{bottom:g}H{right:g}"/>')
    parts.append(text((LEFT + right) / 2, frame.height - 8, x_label, "middle", "label"))
    parts.append(text(13, (TOP + bottom) / 2, y_label, "middle", "label", turned=True))
    return "".join(parts)


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
    parts = [opening(frame.width, frame.height, f"{y_label} over {x_label}"), axes(frame, x_label, y_label, x_ticks)]
    if mark is not None and left <= mark <= right:
        parts.append(f'<path class="mark" d="M{frame.x(mark):.1f} {TOP:g}V{frame.height - BOTTOM:g}"/>')
    for i, (name, points_of_line) in enumerate(lines.items()):
        path, pen = "", "M"
        for point in points_of_line:
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
        parts.append(text(20, top + each / 2, name, "middle", "label", turned=True))
        parts += [text(LEFT - 5, top + 10, 0, "end"), text(LEFT - 5, top + each, size - 1, "end")]
    bottom = height - BOTTOM
    parts += [text(frame.x(value), bottom + 10, number(value), "middle") for value in ticks(0, n_steps)]
    label = f"time (steps of {dt_s * 1e3:g} ms); vertical: neuron index"
    parts.append(text((LEFT + width - RIGHT) / 2, height - 8, label, "middle", "label"))
    return "".join(parts) + "</svg>"
