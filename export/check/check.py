"""`sdsnn check`: what will not run, or would run differently, on the way to a chip.

Rules look at a Network (`network.py`, `netx/limits.py`), at the datasets of a `.net` file (`netx/traps.py`), at the
nodes of a `.nir` file (`nir_files.py`; `floats.py` says what import would do) or at the SLAYER blocks of a run
(`blocks.py`). docs/traps.md describes each.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sdsnn_core.errors import FileError, SdsnnError, one_line
from sdsnn_core.network import Network

from ..nir_format.dialect import PORTABLE_DT
from .network import CHECKS
from .parts import check_parts
from .rule import Finding, Rule, run_rules

ORDER: Final = {"error": 0, "warning": 1, "note": 2}
# What stops a reader: the rules whose finding is that a file or a run makes no Network.
READABLE: Final = Rule("readable", "error")
INTEGERS: Final = Rule("integers", "error")
LOWERING: Final = Rule("lowering", "error")


def check(subject: Network | str | Path, *, dt: float = PORTABLE_DT, writer: str | None = None) -> list[Finding]:
    """Look for every known trap on the way to a chip.

    Args:
        subject: a Network, a run folder, a `.nir` (also `.hdf5`, `.h5`) or a `.net` file.
        dt: step in seconds of a float NIR graph, which NIR does not store.
        writer: the tool that wrote a float NIR graph; None recognises it.

    Returns:
        The findings, the worst first: severity, place, what is wrong and the remedy.

    Raises:
        FileError: the path is none of these, or the file is damaged.

    Examples:
        >>> import sdsnn
        >>> nodes = {"in": sdsnn.Input((1,)), "a": sdsnn.Population((1,), 4096, 410, 640), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0], [0], [2])})
        >>> [finding.rule for finding in sdsnn.check(network)]
        ['never-fires']
    """
    if isinstance(subject, Network):
        findings = check_parts(CHECKS, subject)
    elif (path := Path(subject)).is_dir():
        findings = _check_run(path)
    elif path.suffix == ".net":
        findings = _check_netx_file(path)
    elif path.suffix in (".nir", ".hdf5", ".h5"):
        findings = _check_nir_file(path, dt, writer)
    else:
        raise FileError(f"{path}: expected a run folder, .nir or .net, got the ending {path.suffix!r}")
    return sorted(findings, key=lambda finding: ORDER[finding.severity])


def _check_nir_file(path: Path, dt: float, writer: str | None) -> list[Finding]:
    from ..float_import.file import read_float_file
    from ..float_import.read import read_nir_graph
    from ..nir_format.reader import read_nir
    from .floats import import_findings
    from .nir_files import NIR_RULES

    try:
        findings = run_rules(NIR_RULES, read_nir_graph(path))
    except FileError:
        read_float_file(path)  # it says what is wrong, or reads what the nir package cannot
        findings = []
    of_network = _of_network(lambda: read_nir(path), INTEGERS, path, "sdsnn import FILE --dt SECONDS")
    if any(finding.rule == INTEGERS.name for finding in of_network):
        of_network += import_findings(path, dt, writer)
    return findings + of_network


def _check_netx_file(path: Path) -> list[Finding]:
    from ..netx.fields import layers_of, open_netx
    from ..netx.reader import read_netx
    from ..netx.traps import NETX_RULES

    with open_netx(path) as file:
        findings = run_rules(NETX_RULES, layers_of(file))
    if any(finding.severity == "error" for finding in findings):
        return findings  # the reader refuses the file for the same reason
    return findings + _of_network(lambda: read_netx(path), READABLE, path, "write it anew with sdsnn export")


def _check_run(path: Path) -> list[Finding]:
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trained import load_trained

    from ..pipeline import lower_trained
    from .blocks import BLOCK_RULES

    trained = load_trained(RunFolder.open(path))
    findings = run_rules(BLOCK_RULES, trained.blocks)
    of_network = _of_network(lambda: lower_trained(trained), LOWERING, path, "see docs/formats.md")
    if any(finding.severity == "error" for finding in findings):  # they say why it cannot be lowered
        of_network = [finding for finding in of_network if finding.rule != LOWERING.name]
    return findings + of_network


def _of_network(read: Callable[[], Network], rule: Rule, path: Path, help_: str) -> list[Finding]:
    """Check a network; where it cannot be read, that is a finding of `rule`."""
    try:
        return check_parts(CHECKS, read())
    except FileError:
        raise
    except SdsnnError as error:
        return [rule.finding(path.name, one_line(error).removeprefix(f"{path}: "), help_)]
