"""One run of a sweep, as a worker makes it: train or resume, export, report."""

from typing import Any

from sdsnn.deploy.placement.chip import load_chip
from sdsnn.deploy.report.report import make_report, write_report
from sdsnn.deploy.simulate.backends import BACKENDS
from sdsnn.export.pipeline import export_run
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.start import begin, go_on
from sdsnn_core.errors import SdsnnError, one_line

from .plan import Job


def run_job(job: Job) -> dict[str, Any]:
    """Make a run to its end, from where an earlier worker left it, and return the report's headline numbers.

    A run with a report is finished and is not made again. A user's mistake, which every worker would meet again, is
    returned as {"error": line}.
    """
    folder = RunFolder(job.folder)
    try:
        report = folder.read_json(folder.report_file)
        if report is None:
            if not (folder.path / "test.json").is_file():
                start = (
                    go_on(folder.path)
                    if folder.checkpoint_file.is_file()
                    else begin(job.config, folder.path, job.settings)
                )
                start.train()
            export_run(folder, verify_samples=job.samples, lava=False, extra={"engine": BACKENDS["engine"]})
            new = make_report(folder.path, chip=load_chip(job.chip))
            write_report(new)
            report = new.data
    except SdsnnError as error:
        return {"error": one_line(error)}
    numbers: dict[str, Any] = report["summary"]
    return numbers
