"""The cores of a placement: what each holds and uses most, and their map."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..placement.chip import RESOURCES
from ..placement.objective.binding import KINDS, binding, closest_limits
from ..placement.types import Mesh, Placement
from .picture import write_picture
from .svg import drawing, element, line, text

_CHIPS_SHOWN = 4
_ARROWS = 40


class Core(NamedTuple):
    """One core. share: the highest share of a limit that it uses; resource: of which.

    column, row: its place in the grid of its chip, in which the cores of a tile sit together.
    """

    chip: int
    column: int
    row: int
    populations: list[str]
    neurons: int
    share: float
    resource: str


def cores(placement: Placement) -> list[Core]:
    """Return the cores of a placement, in order."""
    mesh, number = placement.mesh, np.arange(placement.n_cores)
    chip, x, y = mesh.place(number)
    wide, high = _tile(mesh)
    inside = number % mesh.cores_per_tile
    columns, rows = x * wide + inside % wide, y * high + inside // wide
    shares, closest = closest_limits(placement)
    populations: list[list[str]] = [[] for _ in number]
    for name, core_of in placement.core_of.items():
        for k in np.unique(core_of).tolist():
            populations[k].append(name)
    arrays = (a.tolist() for a in (chip, columns, rows))
    amounts = placement.use["neurons"].tolist(), shares.tolist()
    return [Core(*core) for core in zip(*arrays, populations, *amounts, closest, strict=True)]


def _tile(mesh: Mesh) -> tuple[int, int]:
    """Return columns and rows of cores in a tile."""
    wide = math.ceil(math.sqrt(mesh.cores_per_tile))
    return wide, -(-mesh.cores_per_tile // wide)


def core_map(placement: Placement) -> str:
    """Return the first chips as a grid of cores, shaded by the highest share of a limit; lines are tiles."""
    mesh, (wide, tall) = placement.mesh, _tile(placement.mesh)
    n_columns = mesh.tiles_x * wide
    n_rows = -(-mesh.cores_per_chip // (mesh.cores_per_tile * mesh.tiles_x)) * tall
    chips, width = min(placement.n_chips, _CHIPS_SHOWN), 560.0
    cell = (width - 4) / n_columns
    high = cell * 0.86
    size: dict[str, Any] = {"width": cell - 1.5, "height": high - 1.5}
    step = n_rows * high + 26
    parts = []
    for chip in range(chips):
        top, bottom = chip * step, chip * step + n_rows * high
        for x, y in np.ndindex(n_columns, n_rows):
            parts.append(element("rect", class_="free", x=2 + x * cell, y=top + y * high, **size))
        for x in range(0, n_columns + 1, wide):
            parts.append(line("tile", 1.2 + x * cell, 1.2 + x * cell, top, bottom))
        for y in range(0, n_rows + 1, tall):
            parts.append(line("tile", 1, width - 3, top - 0.7 + y * high, top - 0.7 + y * high))
        parts.append(text(2, bottom + 14, f"chip {chip}"))
    loads, hints = _loads(placement)
    middles: list[tuple[float, float]] = []
    for k, core in enumerate(cores(placement)):
        if core.chip >= chips:
            break
        left, top = 2 + core.column * cell, core.chip * step + core.row * high
        middles.append((left + cell / 2, top + high / 2))
        share = core.share if loads is None else loads[k]
        hint = f"core {k}: {', '.join(core.populations)}; {core.share:.1%} of {RESOURCES[core.resource]}"
        look = {"fill": "var(--heat)", "fill_opacity": 0.2 + 0.8 * share}
        parts.append(element("rect", x=left, y=top, **size, **look, hint=f"{hint}; {core.neurons} neurons{hints[k]}"))
        ink = "on tiny" if share > 0.5 else "ink tiny"
        parts.append(text(left + cell / 2, top + high / 2 + 3, k, "middle", ink))
    parts += _arrows(placement, middles)
    shade = "the highest share of a limit that they use" if loads is None else "the time that they are busy in a step"
    arrows = "" if loads is None else "; arrows: the ways with most packets"
    return drawing(width, chips * step, f"cores of the chip, shaded by {shade}{arrows}", parts)


def _loads(placement: Placement) -> tuple[list[float] | None, list[str]]:
    """Return the busy time of each core as a share of the longest, and hints; (None, no hints) without an activity."""
    work = placement.work
    if work is None:
        return None, [""] * placement.n_cores
    kinds = binding(placement).kind.tolist()
    hints = [
        f"; {work.busy[k] * 1e6:.3g} us in a step, {work.events[k]:,.0f} events, {work.packets_in[k]:,.0f} packets in; "
        f"bound by {KINDS[kind]}"
        for k, kind in enumerate(kinds)
    ]
    return (work.busy / max(work.busy.max(), 1e-30)).tolist(), hints


def _arrows(placement: Placement, middles: list[tuple[float, float]]) -> Iterator[str]:
    """Yield arrows between the cores that exchange most packets, as wide as these are many."""
    if placement.work is None:
        return
    flow = placement.work.flow[: len(middles), : len(middles)].copy()
    np.fill_diagonal(flow, 0.0)
    most = float(flow.max(initial=0.0))
    shown = [at for at in np.argsort(-flow, axis=None, kind="stable")[:_ARROWS].tolist() if flow.flat[at] > 0]
    if shown:
        head = element("path", d="M0 0L6 3L0 6z", class_="flow-head")
        box = 'markerWidth="5" markerHeight="5" refX="5" refY="3" viewBox="0 0 6 6" orient="auto"'
        yield f'<defs><marker id="flow" {box}>{head}</marker></defs>'
    for source, target in (divmod(at, len(middles)) for at in reversed(shown)):
        (x1, y1), (x2, y2) = middles[source], middles[target]
        amount = float(flow[source, target])
        look = {"stroke_width": 0.6 + 2.4 * amount / most, "marker_end": "url(#flow)"}
        hint = f"core {source} to core {target}: {amount:,.3g} packets in a step"
        yield element("line", class_="flow", x1=x1, y1=y1, x2=x2, y2=y2, **look, hint=hint)


def save_placement_picture(placement: Placement, path: str | Path) -> None:
    """Write the map of the cores as an SVG file. Raises FileError for another ending."""
    write_picture(core_map(placement), path)
