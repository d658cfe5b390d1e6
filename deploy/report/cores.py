"""The cores of a placement: what each holds and uses most, and their map."""

import math
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sdsnn_core.errors import FileError
from sdsnn_core.files import write_text

from ..placement.chip import RESOURCES
from ..placement.types import Mesh, Placement
from .svg import drawing, element, line, text

_CHIPS_SHOWN = 4


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
    limits = {name: np.asarray(limit) for name, limit in placement.limits.items() if limit}
    limits["neurons"] = placement.neuron_room
    shares = np.stack([placement.use[name] / limit for name, limit in limits.items()])
    closest = [list(limits)[i] for i in shares.argmax(axis=0)]
    populations: list[list[str]] = [[] for _ in number]
    for name, core_of in placement.core_of.items():
        for k in np.unique(core_of).tolist():
            populations[k].append(name)
    arrays = (a.tolist() for a in (chip, columns, rows))
    amounts = placement.use["neurons"].tolist(), shares.max(axis=0).tolist()
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
    for k, core in enumerate(cores(placement)):
        if core.chip >= chips:
            break
        left, top = 2 + core.column * cell, core.chip * step + core.row * high
        hint = f"core {k}: {', '.join(core.populations)}; {core.share:.1%} of {RESOURCES[core.resource]}"
        look = {"fill": "var(--heat)", "fill_opacity": 0.2 + 0.8 * core.share}
        parts.append(element("rect", x=left, y=top, **size, **look, hint=f"{hint}; {core.neurons} neurons"))
        ink = "on tiny" if core.share > 0.5 else "ink tiny"
        parts.append(text(left + cell / 2, top + high / 2 + 3, k, "middle", ink))
    label = "cores of the chip, shaded by the highest share of a limit that they use"
    return drawing(width, chips * step, label, parts)


def save_placement_picture(placement: Placement, path: str | Path) -> None:
    """Write the map of the cores as an SVG file. Raises FileError for another ending."""
    check_picture(path)
    style = (resources.files("sdsnn.deploy") / "templates" / "page.css").read_text(encoding="utf-8")
    ground = '<rect width="100%" height="100%" fill="var(--bg)"/>'
    head, body = core_map(placement).split(">", 1)
    write_text(Path(path), f'{head} xmlns="http://www.w3.org/2000/svg"><style>\n{style}</style>{ground}{body}\n')


def check_picture(path: str | Path) -> None:
    """Raise FileError unless `path` ends in .svg."""
    if Path(path).suffix.lower() != ".svg":
        raise FileError(f"picture {path}: expected a file that ends in .svg, got {Path(path).suffix or 'no ending'}")
