"""Rules on the nodes of a `.nir` file, whoever wrote it: where readers of NIR disagree."""

from typing import Any, Final

import numpy as np

from ..nir_format.dialect import METADATA_KEY
from .rule import Rule, Traps, each

DISPUTED: Final = {
    "Flatten": "no start_dim suits all readers",
    "AvgPool2d": "norse skips it, lava-dl refuses it",
    "SumPool2d": "spikingjelly and lava-dl have no rule for its gain",
    "Delay": "norse, snnTorch, spikingjelly, sinabs and lava-dl have no rule for it",
    "NIRGraph": "a subgraph; lava-dl's scripts read flat names",
}
TIMES: Final = ("tau", "tau_mem", "tau_syn", "r", "w_in")
_each = each(lambda graph: ((f"node {name!r}", node) for name, node in graph.nodes.items()))


def finite(where: str, node: Any) -> Traps:
    """An infinite time constant is NaN in norse and refused by spikingjelly."""
    for key in TIMES:
        if not np.isfinite(np.asarray(getattr(node, key, 0.0), np.float64)).all():
            yield where, f"{key} is not finite: NaN in norse, refused elsewhere", "use dt * 2**30"


def leak(where: str, node: Any) -> Traps:
    """v_leak is refused by most readers, and norse adds it to the synapse too."""
    if np.any(np.asarray(getattr(node, "v_leak", 0.0))):
        what = "v_leak is not 0: snnTorch, spikingjelly, sinabs and lava-dl refuse it, norse applies it twice"
        yield where, what, "no bias, or only our own reader"


def grouped(where: str, node: Any) -> Traps:
    """Grouped convolutions fail NIR's own type inference and most readers."""
    if int(np.asarray(getattr(node, "groups", 1)).reshape(-1)[0]) > 1:
        what = f"{node.groups} groups, which most readers refuse"
        yield where, what, "write the kernel out, as sdsnn does"


def square(where: str, node: Any) -> Traps:
    """NIR 1.0.8 infers the output of a Conv2d from the kernel's height alone."""
    shape = np.shape(getattr(node, "weight", 0.0))
    if len(shape) == 4 and shape[2] != shape[3]:
        what = f"a kernel of {shape[2]}x{shape[3]}, for which NIR infers a wrong shape"
        yield where, what, "type_check=False"


def disputed(where: str, node: Any) -> Traps:
    """Flatten, AvgPool2d and Delay: readers disagree on what they mean, or leave them out."""
    kind = type(node).__name__
    if kind in DISPUTED:
        yield where, f"a {kind}: {DISPUTED[kind]}", "sdsnn reads it; for others see docs/formats.md"


def step(graph: Any) -> Traps:
    """NIR does not store the step."""
    if METADATA_KEY not in (graph.metadata or {}):
        yield "file", "no step: NIR stores time constants, not dt", "sdsnn import FILE --dt SECONDS (most tools: 1e-4)"


NIR_RULES: Final = (
    Rule("finite", "error", _each(finite)),
    Rule("leak", "warning", _each(leak)),
    Rule("grouped", "warning", _each(grouped)),
    Rule("square", "note", _each(square)),
    Rule("disputed", "note", _each(disputed)),
    Rule("step", "note", step),
)
