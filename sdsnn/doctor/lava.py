"""Check that Lava runs: SLAYER forward and back, and Lava's bit-accurate processes against the reference."""

from __future__ import annotations

from collections.abc import Iterator

from sdsnn_core.errors import SdsnnError
from sdsnn_core.files import version_of
from sdsnn_core.lava.compat import LAVA_VERSIONS, install_command, missing
from sdsnn_core.lava.shims import SHIMS

from .checks import Finding

LIMIT_S = 180.0
SLAYER, NO_TRAINING = "SLAYER", "no training, so no demo"
PROCESSES, NO_PROCESSES = "Lava in fixed point", "no comparison with Lava's processes"


def check_lava() -> Iterator[Finding]:
    """Check the versions of Lava, then run SLAYER and Lava's processes, each in a child process with a time limit."""
    for name, expected in LAVA_VERSIONS.items():
        version, costs = version_of(name), "no training" if name == "lava-dl" else NO_PROCESSES
        if version == expected:
            yield Finding(name, "works", version)
        elif version is None:
            yield Finding(name, "missing", "not installed", costs, install_command())
        else:
            yield Finding(name, "broken", f"expected {expected}, got {version}", costs, install_command())
    if absent := missing():
        why = f"not tried: {', '.join(absent)} not installed"
        yield Finding(SLAYER, "missing", why, NO_TRAINING, install_command())
        yield Finding(PROCESSES, "missing", why, NO_PROCESSES, install_command())
        return
    yield from _slayer()
    yield _processes()


def _slayer() -> Iterator[Finding]:
    """Run one SLAYER block forward and back and report the shims that were applied."""
    import numpy as np

    from sdsnn_core.lava.child import run_in_child

    spikes = (np.random.default_rng(0).random((1, 6, 20)) < 0.5).astype(np.int8)
    try:
        result = run_in_child("sdsnn_core.lava.probe:slayer", {"spikes": spikes}, LIMIT_S)
    except SdsnnError as error:
        yield Finding(SLAYER, "broken", str(error), NO_TRAINING, install_command())
        return
    if result["gradients"] and result["spikes"].any():
        yield Finding(SLAYER, "works", "a block ran forward and back")
    else:
        yield Finding(SLAYER, "broken", "a block gave no spikes or no gradients", NO_TRAINING)
    applied = result["shims"]
    idle = [shim.name for shim in SHIMS if shim.name not in applied]
    detail = f"applied: {', '.join(applied) or 'none'}; not needed: {', '.join(idle) or 'none'}"
    yield Finding("shims of Lava", "works", detail)


def _processes() -> Finding:
    """Compare a small network on Lava's bit-accurate processes with the reference."""
    import numpy as np

    from sdsnn.export.lava.run import run_lava
    from sdsnn_core.network import Input, Network, Node, Output, Population, Synapses
    from sdsnn_core.reference import run

    rng = np.random.default_rng(0)
    nodes: dict[str, Node] = {"in": Input((12,)), "lif": Population((10,), 1024, 128, 80), "out": Output("lif")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "lif", 2 * rng.integers(-100, 128, (10, 12)))})
    spikes = (rng.random((1, 30, 12)) < 0.4).astype(np.uint8)
    try:
        received = run_lava(network, spikes, timeout_s=LIMIT_S).spikes["lif"]
    except SdsnnError as error:
        return Finding(PROCESSES, "broken", str(error), NO_PROCESSES, install_command())
    if n_differing := int((received != run(network, spikes).spikes["lif"]).sum()):
        detail = f"{n_differing} of {received.size} bins differ from the reference"
        return Finding(PROCESSES, "broken", detail, NO_PROCESSES)
    return Finding(PROCESSES, "works", f"ran in a child process: {received.size} bins equal to the reference")
