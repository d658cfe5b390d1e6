"""The map of a chip: cores as a grid of the mesh, shaded by the highest share of a limit that they use."""

from __future__ import annotations

from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.files import write_text

from ..placement.chip import RESOURCES
from ..placement.types import Mesh, Placement
from .svg import line, opening, text

_CHIPS_SHOWN = 4


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
    """Return the chips (the first four of them) as SVG; cores carry their numbers, lines are tiles."""
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
