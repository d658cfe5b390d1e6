"""`sdsnn doctor`: versions, what works, what is missing, what that costs and how to get it."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

if TYPE_CHECKING:
    from ..doctor.checks import Finding

NOT_READY = 1


@final
@dataclass(frozen=True)
class Diagnosis:
    """Everything that the doctor saw."""

    version: str
    machine: dict[str, Any]
    findings: list[Finding]

    @property
    def ready(self) -> bool:
        """Whether all that the commands need works; what is optional does not count."""
        return all(finding.state in ("works", "absent") for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        findings = [asdict(finding) for finding in self.findings]
        return {"sdsnn": self.version, **self.machine, "ready": self.ready, "findings": findings}


def examine(progress: Callable[[str], None] = lambda what: None) -> Diagnosis:
    """Look at everything. Takes ten to twenty seconds: the packages are imported and Lava is run, in child processes.

    progress: called with what is under way.
    """
    from ..doctor import checks as doctor_checks

    progress("importing the packages")
    findings, gpu = doctor_checks.check_packages()
    progress("running Lava")
    findings += doctor_checks.check_lava()
    findings += doctor_checks.check_optional(gpu=gpu)
    return Diagnosis(doctor_checks.version_of("sdsnn") or "unknown", doctor_checks.machine(), findings)


def render(diagnosis: Diagnosis, width: int = 120) -> str:
    """Return the diagnosis as text of `width` columns: each part, then what to do about those that are not there."""
    machine = diagnosis.machine
    cores = f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
    variables = "".join(f", {name}={value}" for name, value in machine["thread_variables"].items())
    heading = f"sdsnn {diagnosis.version}, Python {machine['python']}, {machine['system']}, {cores}{variables}"
    lines = [*textwrap.wrap(heading, width), machine["interpreter"], ""]
    column = max(len(finding.part) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        start = f"{finding.state:8} {finding.part:{column}}  "
        lines += textwrap.wrap(start + finding.detail, width, subsequent_indent=" " * len(start))
    for finding in diagnosis.findings:
        if finding.state != "works":
            lines += ["", *textwrap.wrap(f"{finding.part} is {finding.state}: {finding.costs}.", width)]
            lines += [f"    {finding.command}"] if finding.command else []
    wrong = [finding.part for finding in diagnosis.findings if finding.state in ("missing", "broken")]
    verdict = f"Not ready: {', '.join(wrong)}." if wrong else "Ready: everything that the commands need works."
    return "\n".join([*lines, "", verdict])


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")] = False,
) -> None:
    """Tell versions, what works, and for what is missing what that costs and how to get it.

    Exit status 0 if everything that the commands need works, 1 if not. Parts marked 'absent' are optional.
    """
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        diagnosis = examine(status.update)
    typer.echo(
        json.dumps(diagnosis.as_dict())
        if as_json
        else render(diagnosis, max(60, shutil.get_terminal_size((120, 0)).columns))
    )
    if not diagnosis.ready:
        raise typer.Exit(NOT_READY)
