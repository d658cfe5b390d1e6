"""The report's other drawings as inline SVG: matrix, ranges, front, and the map of the cores of a chip."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.files import write_text

from ..placement.chip import RESOURCES
from ..placement.types import Mesh, Placement
from .svg import BOTTOM, COLOURS, TOP, Frame, axes, line, number, opening, text, ticks

_CHIPS_SHOWN = 4


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


def core_shares(placement: Placement) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return (n_cores,) the highest share of a limit that each core uses, and its resource."""
    limits = {name: np.asarray(limit) for name, limit in placement.limits.items() if limit}
    limits["neurons"] = placement.neuron_room
    names = list(limits)
    shares = np.stack([placement.use[name] / limits[name] for name in names])
    return shares.max(axis=0), [names[i] for i in shares.argmax(axis=0)]


def core_labels(placement: Placement) -> list[list[str]]:
    """Return the populations on each core."""
    labels: list[list[str]] = [[] for _ in range(placement.n_cores)]
    for name, core_of in placement.core_of.items():
        for core in np.unique(core_of).tolist():
            labels[core].append(name)
    return labels


def core_grid(placement: Placement) -> npt.NDArray[np.int64]:
    """Return (n_cores, 3) chip, column, row of each core in a grid in which the cores of a tile sit together."""
    mesh, number = placement.mesh, np.arange(placement.n_cores)
    chip, x, y = mesh.place(number)
    wide, high = _tile(mesh)
    inside = number % mesh.cores_per_tile
    return np.stack([chip, x * wide + inside % wide, y * high + inside // wide], axis=1)


def _tile(mesh: Mesh) -> tuple[int, int]:
    """Return columns and rows of cores in a tile."""
    wide = int(np.ceil(np.sqrt(mesh.cores_per_tile)))
    return wide, -(-mesh.cores_per_tile // wide)


def core_map(placement: Placement) -> str:
    """Return the first chips as a grid of cores, shaded by the highest share of a limit; lines are tiles."""
    mesh, (wide, tall) = placement.mesh, _tile(placement.mesh)
    n_columns = mesh.tiles_x * wide
    n_rows = -(-mesh.cores_per_chip // (mesh.cores_per_tile * mesh.tiles_x)) * tall
    grid, labels, (shares, closest) = core_grid(placement), core_labels(placement), core_shares(placement)
    chips, width = min(placement.n_chips, _CHIPS_SHOWN), 560.0
    cell = (width - 4) / n_columns
    high = cell * 0.86
    size = f'width="{cell - 1.5:.1f}" height="{high - 1.5:.1f}"'
    step = n_rows * high + 26
    parts = [opening(width, chips * step, "cores of the chip, shaded by the highest share of a limit that they use")]
    for chip in range(chips):
        top, bottom = chip * step, chip * step + n_rows * high
        for x, y in np.ndindex(n_columns, n_rows):
            parts.append(f'<rect class="free" x="{2 + x * cell:.1f}" y="{top + y * high:.1f}" {size}/>')
        for k in np.flatnonzero(grid[:, 0] == chip).tolist():
            at_x, at_y = 2 + grid[k, 1] * cell, top + grid[k, 2] * high
            hint = f"core {k}: {', '.join(labels[k])}; {shares[k]:.1%} of {RESOURCES[closest[k]]}"
            parts.append(
                f'<rect x="{at_x:.1f}" y="{at_y:.1f}" {size} fill="var(--heat)" '
                f'fill-opacity="{0.2 + 0.8 * shares[k]:.2f}">'
                f"<title>{escape(hint)}; {int(placement.use['neurons'][k])} neurons</title></rect>"
            )
            ink = "on tiny" if shares[k] > 0.5 else "ink tiny"
            parts.append(text(at_x + cell / 2, at_y + high / 2 + 3, k, "middle", ink))
        for x in range(0, n_columns + 1, wide):
            parts.append(line("tile", 1.2 + x * cell, 1.2 + x * cell, top, bottom))
        for y in range(0, n_rows + 1, tall):
            parts.append(line("tile", 1, width - 3, top - 0.7 + y * high, top - 0.7 + y * high))
        parts.append(text(2, bottom + 14, f"chip {chip}"))
    return "".join(parts) + "</svg>"


def save_placement_picture(placement: Placement, path: str | Path) -> None:
    """Write the map of the cores as an SVG file. Raises FileError for another ending."""
    check_picture(path)
    page = (resources.files("sdsnn.deploy") / "templates" / "report.html").read_text(encoding="utf-8")
    style = page[page.index("<style>") : page.index("</style>")] + "</style>"
    ground = '<rect width="100%" height="100%" fill="var(--bg)"/>'
    head, body = core_map(placement).split(">", 1)
    write_text(Path(path), f'{head} xmlns="http://www.w3.org/2000/svg">{style}{ground}{body}\n')


def check_picture(path: str | Path) -> None:
    """Raise FileError unless `path` ends in .svg."""
    if Path(path).suffix.lower() != ".svg":
        raise FileError(f"picture {path}: expected a file that ends in .svg, got {Path(path).suffix or 'no ending'}")
