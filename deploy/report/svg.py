"""Elements, axes and numbers of inline SVG, coloured by the page's CSS variables so that they follow light and dark."""

import math
from collections.abc import Iterable, Mapping
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

    def path(self, points: Iterable[tuple[float, float] | None]) -> str:
        """Return the data of a path through `points`, with a gap at each None."""
        path, pen = "", "M"
        for point in points:
            path += "" if point is None else f"{pen}{self.x(point[0]):.1f} {self.y(point[1]):.1f}"
            pen = "M" if point is None else "L"
        return path


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


def element(tag: str, *, hint: str = "", **attributes: object) -> str:
    """Return an element. hint: shown under the pointer. attributes: fill_opacity stands for fill-opacity."""
    written = (
        f' {key.rstrip("_").replace("_", "-")}="{round(value, 2) if isinstance(value, float) else value}"'
        for key, value in attributes.items()
    )
    return f"<{tag}{''.join(written)}>" + (f"<title>{escape(hint)}</title>" if hint else "") + f"</{tag}>"


def drawing(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """Return a drawing that scales with the page. label: says what it shows."""
    size = f'viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="xMidYMid meet"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def text(x: float, y: float, content: object, anchor: str = "start", kind: str = "", turned: bool = False) -> str:
    """Return a text. anchor: start, middle or end. kind: class of the style sheet. turned: it runs upwards."""
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"' if turned else f'x="{x:.1f}" y="{y:.1f}"'
    kind, anchor = f'class="{kind}" ' if kind else "", "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f"<text {kind}{place}{anchor}>{escape(str(content))}</text>"


def line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    """Return a straight line of a class of the style sheet."""
    return element("line", class_=kind, x1=x1, x2=x2, y1=y1, y2=y2)


def axes(frame: Frame, x_label: str, y_label: str, x_ticks: Mapping[float, str]) -> str:
    """Return grid lines, numbers, axes and their labels. x_ticks: place -> number."""
    bottom, right = frame.height - BOTTOM, frame.width - RIGHT
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts += [line("grid", LEFT, right, y, y), text(LEFT - 6, y + 4, number(value), "end")]
    parts += [text(frame.x(value), bottom + 16, shown, "middle") for value, shown in x_ticks.items()]
    parts.append(element("path", class_="axis", d=f"M{LEFT:g} {TOP:g}V{bottom:g}H{right:g}"))
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
