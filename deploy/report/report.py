"""`sdsnn report`: report.json and report.html of a run folder, each whole or absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdsnn_core.files import write_json, write_text

from ..energy.result import EnergyReport
from ..placement.chip import Chip, load_chip
from ..placement.explain import PlacementReport
from .build import build
from .page import render
from .run_data import RunData, read_run


@dataclass(frozen=True, eq=False)
class Report:
    """A finished report: what was read, the data, and the page."""

    run: RunData
    data: dict[str, Any]
    energy: EnergyReport | None
    placement: PlacementReport | None
    html: str


def make_report(run: str | Path, *, chip: str | Chip = "loihi2", samples: int | None = None) -> Report:
    """Report on a run: accuracy, structure, activity, placement, energy, certificate. Nothing is written.

    Args:
        run: the run folder.
        chip: name of a chip, path of a TOML file, or a Chip, for placement and energy.
        samples: test samples to record for activity and energy; 0 simulates nothing. Default: as many as fit in
            256 MiB. The accuracy is of the whole split.

    Returns:
        The content of report.json (`data`) and of report.html (`html`); `write_report` writes them.

    Raises:
        FileError: the run cannot be read.

    Examples:
        >>> import pathlib, sdsnn
        >>> folder = pathlib.Path("example")
        >>> folder.mkdir()
        >>> nodes = {"in": sdsnn.Input((1,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0], [0], [80])})
        >>> path = sdsnn.write(network, folder / "network.nir")
        >>> sdsnn.report(folder).data["summary"]["cores"]
        1
    """
    target = chip if isinstance(chip, Chip) else load_chip(chip)
    read = read_run(run, samples=samples)
    data, energy, placement = build(read, target)
    return Report(read, data, energy, placement, render(read, data, energy, placement))


def write_report(report: Report, folder: str | Path | None = None) -> tuple[Path, Path]:
    """Write report.html and report.json to `folder` (default: the run folder); return their paths."""
    target = report.run.path if folder is None else Path(folder)
    page, data = target / "report.html", target / "report.json"
    write_text(page, report.html)
    write_json(data, report.data)
    return page, data
