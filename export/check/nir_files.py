"""Rules on the nodes of a `.nir` file, whoever wrote it: where readers of NIR disagree."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..nir_format.dialect import METADATA_KEY
from .rule import Rule, Traps

DISPUTED: Final = {
    "Flatten": "no start_dim suits all readers",
    "AvgPool2d": "norse skips it, lava-dl refuses it",
    "SumPool2d": "spikingjelly and lava-dl have no rule for its gain",
    "Delay": "norse, snnTorch, spikingjelly, sinabs and lava-dl have no rule for it",
    "NIRGraph": "a subgraph; lava-dl's scripts read flat names",
}
TIMES: Final = ("tau", "tau_mem", "tau_syn", "r", "w_in")


def finite(graph: Any) -> Traps:
    """An infinite time constant is NaN in norse and refused by spikingjelly."""
    for name, node in graph.nodes.items():
        for key in TIMES:
            if not np.isfinite(np.asarray(getattr(node, key, 0.0), np.float64)).all():
                yield f"node {name!r}", f"{key} is not finite: NaN in norse, refused elsewhere", "use dt * 2**30"


def leak(graph: Any) -> Traps:
    """v_leak is refused by most readers, and norse adds it to the synapse too."""
    for name, node in graph.nodes.items():
        if np.any(np.asarray(getattr(node, "v_leak", 0.0))):
            what = "v_leak is not 0: snnTorch, spikingjelly, sinabs and lava-dl refuse it, norse applies it twice"
            yield f"node {name!r}", what, "no bias, or only our own reader"


def grouped(graph: Any) -> Traps:
    """Grouped convolutions fail NIR's own type inference and most readers."""
    for name, node in graph.nodes.items():
        if int(np.asarray(getattr(node, "groups", 1)).reshape(-1)[0]) > 1:
            what = f"{node.groups} groups, which most readers refuse"
            yield f"node {name!r}", what, "write the kernel out, as sdsnn does"


def square(graph: Any) -> Traps:
    """NIR 1.0.8 infers the output of a Conv2d from the kernel's height alone."""
    for name, node in graph.nodes.items():
        shape = np.shape(getattr(node, "weight", 0.0))
        if len(shape) == 4 and shape[2] != shape[3]:
            what = f"a kernel of {shape[2]}x{shape[3]}, for which NIR infers a wrong shape"
            yield f"node {name!r}", what, "type_check=False"


def disputed(graph: Any) -> Traps:
    """Flatten, AvgPool2d and Delay: readers disagree on what they mean, or leave them out."""
    for name, node in graph.nodes.items():
        kind = type(node).__name__
        if kind in DISPUTED:
            yield f"node {name!r}", f"a {kind}: {DISPUTED[kind]}", "sdsnn reads it; for others see docs/formats.md"


def step(graph: Any) -> Traps:
    """NIR does not store the step."""
    if METADATA_KEY not in (graph.metadata or {}):
        yield "file", "no step: NIR stores time constants, not dt", "sdsnn import FILE --dt SECONDS (most tools: 1e-4)"


NIR_RULES: Final = (
    Rule("finite", "error", finite),
    Rule("leak", "warning", leak),
    Rule("grouped", "warning", grouped),
    Rule("square", "note", square),
    Rule("disputed", "note", disputed),
    Rule("step", "note", step),
)
