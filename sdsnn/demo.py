"""The demo: handwritten digits through every room of the house, offline, up to the report."""

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from sdsnn.deploy.report.report import Report, make_report, write_report
from sdsnn.deploy.simulate.backends import BACKENDS
from sdsnn.export.pipeline import Exported, export_run
from sdsnn.train.run.config import load_config
from sdsnn.train.run.progress import Bars
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn_core.lava.compat import lava_available

VERIFY_SAMPLES = 64  # Lava takes a tenth of a second for each


class Demo(NamedTuple):
    """What the demo made. seconds: from start to end."""

    folder: Path
    exported: Exported
    report: Report
    seconds: float


def free_folder(base: Path) -> Path:
    """Return `base`, or the first of base-2, base-3, ... that is not there yet."""
    candidates = (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([base], candidates) if not path.exists())


def run_demo(
    folder_path: Path,
    *,
    seed: int,
    overrides: list[str],
    quiet: bool = False,
    stage: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Demo:
    """Train on digits, export, verify, simulate the test split, place and price it; write the report.

    quiet: no progress bars. stage: called with what is being done next; the work happens inside its context.
    """
    started = time.perf_counter()
    config = load_config("digits", [f"seed={seed}", *overrides])
    folder = RunFolder.create(folder_path, config)
    with Bars(config.optimiser.epochs, quiet=quiet) as bars:
        train(config, folder, progress=bars)
    with stage("exporting, and comparing SLAYER, the file read back and Lava with the reference"):
        exported = export_run(
            folder, verify_samples=VERIFY_SAMPLES, lava=lava_available(), extra={"engine": BACKENDS["engine"]}
        )
    with stage("simulating the test split, placing and pricing it"):
        report = make_report(folder.path)
    write_report(report)
    return Demo(folder.path, exported, report, time.perf_counter() - started)
