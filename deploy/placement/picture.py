"""A picture of a placement: cores as a grid of the mesh, coloured by the greatest share of a limit that they use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.files import atomic_path

from .chip import RESOURCES
from .types import Placement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
_CHIPS_SHOWN = 6


def core_shares(placement: Placement) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return (n_cores,) greatest share of a limit that each core uses, and which resource that is."""
    limits = {name: np.asarray(limit) for name, limit in placement.limits.items() if limit}
    limits["neurons"] = placement.neuron_room
    names = list(limits)
    shares = np.stack([placement.use[name] / limits[name] for name in names])
    return shares.max(axis=0), [names[i] for i in shares.argmax(axis=0)]


def core_labels(placement: Placement) -> list[list[str]]:
    """Return the populations on each core."""
    found: list[list[str]] = [[] for _ in range(placement.n_cores)]
    for name, where in placement.core_of.items():
        for core in np.unique(where).tolist():
            found[core].append(name)
    return found


def core_grid(placement: Placement) -> npt.NDArray[np.int64]:
    """Return (n_cores, 3) chip, column, row of each core in a grid in which the cores of a tile sit together."""
    mesh = placement.mesh
    number = np.arange(placement.n_cores)
    chip, x, y = mesh.place(number)
    wide = int(np.ceil(np.sqrt(mesh.cores_per_tile)))
    high = -(-mesh.cores_per_tile // wide)
    inside = number % mesh.cores_per_tile
    return np.stack([chip, x * wide + inside % wide, y * high + inside // wide], axis=1)


def placement_figure(placement: Placement, title: str = "") -> Figure:
    """Draw the chips (the first six of them); populations are written on the cores where there is room."""
    from matplotlib.figure import Figure

    mesh = placement.mesh
    shares, binding = core_shares(placement)
    grid, labels = core_grid(placement), core_labels(placement)
    shown = min(placement.n_chips, _CHIPS_SHOWN)
    wide = int(np.ceil(np.sqrt(mesh.cores_per_tile)))
    high = -(-mesh.cores_per_tile // wide)
    tiles_y = -(-mesh.cores_per_chip // (mesh.cores_per_tile * mesh.tiles_x))
    columns, rows = mesh.tiles_x * wide, tiles_y * high
    figure = Figure(figsize=(9.0, 0.9 + 3.9 * shown), layout="constrained")
    axes: Any = figure.subplots(shown, 1, squeeze=False)[:, 0]
    image = None
    for chip, axis in enumerate(axes):
        field = np.full((rows, columns), np.nan)
        here = np.flatnonzero(grid[:, 0] == chip)
        field[grid[here, 2], grid[here, 1]] = shares[here]
        image = axis.imshow(np.ma.masked_invalid(field), vmin=0, vmax=1, cmap="YlOrRd", aspect="auto")
        axis.set_facecolor("#f0f0f0")
        axis.set_xticks(np.arange(wide, columns, wide) - 0.5, [])
        axis.set_yticks(np.arange(high, rows, high) - 0.5, [])
        axis.grid(color="#888888", linewidth=0.8)
        axis.set_xticks(np.arange(columns) - 0.5, [""] * columns, minor=True)
        axis.set_yticks(np.arange(rows) - 0.5, [""] * rows, minor=True)
        axis.grid(which="minor", color="#cccccc", linewidth=0.3)
        axis.tick_params(which="both", length=0)
        axis.set_xlabel(f"chip {chip}: tiles of {mesh.cores_per_tile} cores; grey: free")
        for core in here.tolist():
            text = "\n".join(name if len(name) <= 8 else f"{name[:7]}." for name in labels[core][:2])
            ink = "white" if shares[core] > 0.65 else "black"
            axis.text(grid[core, 1], grid[core, 2], text, ha="center", va="center", fontsize=5, color=ink)
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes), shrink=0.9)
        bar.set_label("greatest share of a limit used (1 = full)")
    common = max(set(binding), key=binding.count)
    more = "" if shown == placement.n_chips else f"; first {shown} of {placement.n_chips} chips"
    figure.suptitle(
        f"{title or placement.chip}: {placement.n_cores} cores, mostly bound by {RESOURCES[common]}{more}", fontsize=10
    )
    return figure


def save_placement_picture(placement: Placement, path: str | Path, title: str = "") -> None:
    """Write the picture; the ending of `path` (.png, .svg, .pdf) tells the format. Raises FileError."""
    target = Path(path)
    if target.suffix.lower() not in PICTURES:
        raise FileError(f"picture {target}: got ending {target.suffix!r}, allowed {', '.join(PICTURES)}")
    figure = placement_figure(placement, title)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format=target.suffix[1:].lower(), dpi=150)
