"""The whole diagnosis, as text and as a mapping."""

import os
import platform
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from sdsnn_core.files import version_of

from .checks import Finding, check_optional, check_packages
from .lava import check_lava


class Diagnosis(NamedTuple):
    """Version of sdsnn, facts about the machine, and a finding for each part."""

    version: str
    machine: dict[str, Any]
    findings: list[Finding]

    @property
    def ready(self) -> bool:
        """Whether every required part works; optional parts do not count."""
        return all(finding.state in ("works", "absent") for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        findings = [finding._asdict() for finding in self.findings]
        return {"sdsnn": self.version, **self.machine, "ready": self.ready, "findings": findings}

    def as_text(self, width: int = 120) -> str:
        """Return one line per part, wrapped at `width` columns, then cost and command of each part that fails."""
        machine = self.machine
        cores = f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
        variables = "".join(f", {name}={value}" for name, value in machine["thread_variables"].items())
        heading = f"sdsnn {self.version}, Python {machine['python']}, {machine['system']}, {cores}{variables}"
        lines = [*textwrap.wrap(heading, width), machine["interpreter"], ""]
        column = max(len(finding.part) for finding in self.findings)
        for finding in self.findings:
            start = f"{finding.state:8} {finding.part:{column}}  "
            lines += textwrap.wrap(start + finding.detail, width, subsequent_indent=" " * len(start))
        for finding in self.findings:
            if finding.state != "works":
                lines += ["", *textwrap.wrap(f"{finding.part} is {finding.state}: {finding.costs}.", width)]
                lines += [f"    {finding.command}"] if finding.command else []
        failing = [finding.part for finding in self.findings if finding.state in ("missing", "broken")]
        verdict = f"Not ready: {', '.join(failing)}." if failing else "Ready: every required part works."
        return "\n".join([*lines, "", verdict])


def _machine() -> dict[str, Any]:
    """Return Python, system, the number of cores this process may use, and the variables that set threads."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(affinity(0)) if affinity else os.cpu_count() or 1,
        "thread_variables": {name: os.environ[name] for name in names if name in os.environ},
    }


def examine(progress: Callable[[str], None] = lambda stage: None) -> Diagnosis:
    """Diagnose the installation in ten to twenty seconds; progress: called with the name of each stage.

    Child processes import the packages and run Lava.
    """
    progress("importing the packages")
    findings, gpu = check_packages()
    progress("running Lava")
    findings += check_lava()
    findings += check_optional(gpu=gpu)
    return Diagnosis(version_of("sdsnn") or "unknown", _machine(), findings)
