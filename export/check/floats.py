"""What `sdsnn import` would make of a float NIR graph: a note for each node, and what it would refuse."""

from pathlib import Path
from typing import Final

from sdsnn_core.errors import SdsnnError, one_line

from .rule import Finding, Rule

IMPORT: Final = Rule("import", "note")
REFUSED: Final = Rule("import-refused", "error")


def import_findings(path: Path, dt: float, writer: str | None) -> list[Finding]:
    """Import a float graph without writing anything, and return what was rounded node by node, or why it is refused.

    Args:
        path: The file.
        dt: Its step in seconds.
        writer: The tool that wrote it; None recognises it.
    """
    from ..float_import.read import import_file

    help_ = f"sdsnn import FILE --dt {dt:g}" + (f" --writer {writer}" if writer else "")
    try:
        imported = import_file(path, dt, writer=writer, force=True)
    except SdsnnError as error:
        return [REFUSED.finding(path.name, one_line(error).removeprefix(f"{path}: "), "import refuses it as it is")]
    findings = [REFUSED.finding(path.name, problem, "--force goes on") for problem in imported.problems]
    findings += [IMPORT.finding(path.name, note, help_) for note in imported.notes]
    if imported.exact:
        return [*findings, IMPORT.finding(path.name, f"every value is an integer with dt = {dt:g} s", help_)]
    for node in imported.reports:
        what = (
            f"read as {imported.writer}; weights change by {node.weight_error:.2%} at most, thresholds by "
            f"{node.threshold_error:.2%}, {node.vanished} of {node.weights} weights become 0, {node.saturated} values "
            f"are clipped; rate {node.rate:.4f} instead of {node.rate_float:.4f} on {imported.data}"
        )
        costs = (
            f"{bins} of {node.bins} bins differ because of {cause}"
            for cause, bins in node.costs.items()
            if not any(note.startswith(cause) for note in node.notes)
        )
        findings.append(IMPORT.finding(f"node {node.name!r}", "; ".join((what, *node.notes, *costs)), help_))
    if imported.silent:
        silent = f"the output is silent in {imported.silent} of {imported.samples} samples of {imported.data}"
        findings.append(IMPORT.finding(path.name, silent, help_))
    return findings
