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
    """Read a run folder and make its report; nothing is written.

    chip: what placement and energy are for. samples: of the test split, recorded for activity and energy (0: nothing
    is simulated; None: as many as fit in 256 MiB); accuracy is of the whole split. Raises FileError where the run
    cannot be read.
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
