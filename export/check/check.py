"""`sdsnn check`: what will not run, or would run differently, on the way to a chip. One rule for every known trap.

Rules look at a Network (`check_network`), at the datasets of a `.net` file as they stand (`check_netx`), at the nodes
of a `.nir` file (`check_nir`) or at the SLAYER blocks of a run (`check_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, final

from sdsnn_core.errors import FileError, SdsnnError, one_line

if TYPE_CHECKING:
    from sdsnn_core.network import Network

Severity = Literal["error", "warning", "note"]


@final
@dataclass(frozen=True)
class Finding:
    """rule: its name. where: node, layer or block. what: what is there against what is allowed. help: what to do.

    error: cannot run, or runs with other spikes. warning: differs in one of the forms. note: good to know.
    """

    rule: str
    severity: Severity
    where: str
    what: str
    help: str

    def as_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return asdict(self)


@final
@dataclass(frozen=True)
class Rule:
    """A named trap, where it is described, and the function that looks for it."""

    name: str
    source: str
    severity: Severity
    look: Callable[[Any], Iterator[tuple[str, str, str]]]  # yields (where, what, help)

    def findings(self, subject: Any) -> list[Finding]:
        """Return what this rule finds in its subject."""
        return [Finding(self.name, self.severity, *found) for found in self.look(subject)]


ORDER: Final = {"error": 0, "warning": 1, "note": 2}


def check_path(path: Path) -> list[Finding]:
    """Check a run folder, a .nir or a .net file; the worst findings first.

    Raises FileError for a path that is none of them, or a file that is damaged.
    """
    if path.is_dir():
        found = _check_run(path)
    elif path.suffix == ".net":
        found = _check_netx_file(path)
    elif path.suffix == ".nir":
        found = _check_nir_file(path)
    else:
        raise FileError(f"{path}: got the ending {path.suffix!r}, allowed are a run folder, .nir and .net")
    return sorted(found, key=lambda finding: ORDER[finding.severity])


def run_rules(rules: tuple[Rule, ...], subject: Any) -> list[Finding]:
    """Return what all of `rules` find."""
    return [finding for rule in rules for finding in rule.findings(subject)]


def _check_nir_file(path: Path) -> list[Finding]:
    from ..float_import.read import read_nir_graph
    from ..nir_format.reader import read_nir
    from .nir_files import NIR_RULES

    found = run_rules(NIR_RULES, read_nir_graph(path))
    return found + _of_network(path, read_nir, "integers", "sdsnn import FILE --dt SECONDS")


def _check_netx_file(path: Path) -> list[Finding]:
    from ..netx.fields import open_netx
    from ..netx.reader import read_netx
    from .netx import NETX_RULES, layers_of

    with open_netx(path) as file:
        found = run_rules(NETX_RULES, layers_of(file))
    more = _of_network(path, read_netx, "readable", "write it anew with sdsnn export")
    if any(finding.severity == "error" for finding in found):  # the same trap, said layer by layer
        more = [finding for finding in more if finding.rule != "readable"]
    return found + more


def _of_network(path: Path, read: Callable[[Path], Network], rule: str, help_: str) -> list[Finding]:
    """Check the network in a file; one that cannot be read as a network is a finding of `rule`."""
    from .network import NETWORK_RULES

    try:
        return run_rules(NETWORK_RULES, read(path))
    except FileError:
        raise
    except SdsnnError as error:
        reason = one_line(error).removeprefix(f"{path}: ")
        return [Finding(rule, "error", path.name, reason, help_)]


def _check_run(path: Path) -> list[Finding]:
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trained import load_trained

    from ..pipeline import lower_trained
    from .blocks import BLOCK_RULES
    from .network import NETWORK_RULES

    trained = load_trained(RunFolder.open(path))
    found = run_rules(BLOCK_RULES, trained.blocks)
    try:
        return found + run_rules(NETWORK_RULES, lower_trained(trained))
    except SdsnnError as error:
        if any(finding.severity == "error" for finding in found):
            return found
        return [*found, Finding("lowering", "error", str(path), one_line(error), "see docs/formats.md")]


def check(subject: Network | str | Path) -> list[Finding]:
    """Look for every known trap on the way to a chip.

    Args:
        subject: a Network, a run folder, a `.nir` or a `.net` file.

    Returns:
        The findings, the worst first: severity, place, what is wrong and the remedy.

    Raises:
        FileError: the path is none of these, or the file is damaged.

    Example:
        >>> import sdsnn
        >>> nodes = {"in": sdsnn.Input((1,)), "a": sdsnn.Population((1,), 4096, 410, 640), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0], [0], [2])})
        >>> [finding.rule for finding in sdsnn.check(network)]
        ['never-fires']
    """
    from sdsnn_core.network import Network

    from .network import NETWORK_RULES

    if not isinstance(subject, Network):
        return check_path(Path(subject))
    return sorted(run_rules(NETWORK_RULES, subject), key=lambda finding: ORDER[finding.severity])
