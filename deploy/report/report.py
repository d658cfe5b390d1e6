"""`sdsnn report`: report.json and report.html of a run folder or a network, each whole or absent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdsnn_core.files import write_json, write_text
from sdsnn_core.network import Network

from ..energy.result import EnergyReport
from ..placement.chip import Chip, load_chip
from ..placement.explain import PlacementReport
from ..sanafe.compare import check_target
from ..simulate.simulation import Options
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


def make_report(
    run: str | Path | Network,
    *,
    chip: str | Chip = "loihi2",
    samples: int | None = None,
    data: Any = None,
    rate: float | None = None,
    options: Options | None = None,
    target: str | None = None,
) -> Report:
    """Report on a run or a network: accuracy, structure, activity, placement, energy, certificate. Nothing is written.

    Args:
        run: a run folder, a .nir or .net file, or a Network. What it does not record is null in the report.
        chip: name of a chip, path of a TOML file, or a Chip, for placement and energy.
        samples: samples to record for activity and energy; 0 simulates nothing. Default: as many as fit in 256 MiB, of
            random spikes 16. The accuracy is of all samples.
        data: what it runs on: a file or folder as `sdsnn simulate` takes, or an array (samples, steps, *shape).
            Default: the test split of the run.
        rate: instead of data, random spikes: the share of the input's bins, 0 to 1, that hold one.
        options: steps of a sample, and how events become bins.
        target: "sanafe" replays the recorded spikes on SANA-FE and sets its figures beside ours.

    Returns:
        The content of report.json (`data`) and of report.html (`html`); `write_report` writes them.

    Raises:
        FileError: the run or the data cannot be read.
        NetworkError: the data do not match the network.

    Examples:
        >>> import pathlib, sdsnn
        >>> folder = pathlib.Path("example")
        >>> folder.mkdir()
        >>> nodes = {"in": sdsnn.Input((1,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0], [0], [80])})
        >>> path = sdsnn.write(network, folder / "network.nir")
        >>> sdsnn.report(folder).data["summary"]["cores"]
        1
        >>> sdsnn.report(network, rate=0.1).data["energy"]["label"]
        'partial'
    """
    check_target(target)
    read = read_run(run, samples=samples, data=data, rate=rate, options=options)
    data, energy, placement = build(read, chip if isinstance(chip, Chip) else load_chip(chip), target)
    return Report(read, data, energy, placement, render(read, data, energy, placement))


def write_report(report: Report, folder: str | Path | None = None) -> tuple[Path, Path]:
    """Write report.html and report.json to `folder` and return their paths.

    Default: the run folder; of a network alone, NAME.report.html and NAME.report.json beside it.
    """
    if folder is None and not report.run.path.is_dir():
        page, data = (report.run.path.with_suffix(f".report.{kind}") for kind in ("html", "json"))
    else:
        page, data = (Path(folder or report.run.path) / f"report.{kind}" for kind in ("html", "json"))
    write_text(page, report.html)
    write_json(data, report.data)
    return page, data
