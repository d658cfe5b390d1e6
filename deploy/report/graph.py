"""The network as a drawing: boxes are nodes with their sizes, arrows are projections with synapses and delays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from sdsnn_core.network import Convolution, Network, Output, Projection, Synapses
from sdsnn_core.rules import Rules

from ..engine.order import components
from .svg import drawing, element, text

TALL, APART = 40.0, 62.0  # of a box, and between two rows
WIDEST, COLUMN = 200.0, 216.0  # of a box, and from one to the next of a row
LEAST, BESIDE = 520.0, 170.0  # width of a drawing, and room for arrows beside the boxes

# projection -> what stands first at its arrow
KIND: Rules[Callable[[Any], str]] = Rules(
    "report: kind of a projection",
    {
        Synapses: lambda p: "",
        Convolution: lambda p: f"{p.kernel.shape[2]} x {p.kernel.shape[3]} convolution, ",
    },
)


class Box(NamedTuple):
    """Where a node is drawn: centre, top edge, width, row."""

    x: float
    y: float
    wide: float
    row: int


def network_graph(network: Network) -> str:
    """Return the graph from the inputs at the top to the outputs at the bottom."""
    boxes, width = _boxes(network)
    parts = []
    used: Counter[tuple[str, str]] = Counter()
    for name, projection in network.projections.items():
        ends = projection.source, projection.target
        parts += _arrow(boxes[ends[0]], boxes[ends[1]], used[ends], _label(network, name, projection))
        used[ends] += 1
    for name, output in network.outputs.items():
        parts += _arrow(boxes[output.source], boxes[name], 0, (output.signal, f"{output.signal} of {output.source}"))
    for name, box in boxes.items():
        parts += _box(network, name, box)
    below = all(boxes[p.target].row == boxes[p.source].row + 1 for p in network.projections.values())
    if not below or max(used.values(), default=0) > 1:
        width += BESIDE
    height = max(box.y for box in boxes.values()) + TALL + 6
    svg = drawing(width, height, "graph of the network: nodes, and projections between them", parts)
    return svg.replace("<svg ", f'<svg style="max-width: {width:g}px" ', 1)


def _boxes(network: Network) -> tuple[dict[str, Box], float]:
    """Place every node in the row below the lowest that feeds it; populations in a circle share a row.

    Returns the boxes, and the width that they take.
    """
    row = dict.fromkeys(network.inputs, 0)
    for group in components(network):
        feeding = {p.source for name in group for _, p in network.incoming(name)} - set(group)
        row |= dict.fromkeys(group, 1 + max((row[source] for source in feeding), default=0))
    row |= {name: row[output.source] + 1 for name, output in network.outputs.items()}
    members: dict[int, list[str]] = {}
    for name, level in row.items():
        members.setdefault(level, []).append(name)
    width = max(LEAST, COLUMN * max(map(len, members.values())))
    boxes = {}
    for level, names in members.items():
        each = width / len(names)
        for i, name in enumerate(names):
            boxes[name] = Box((i + 0.5) * each, 4 + level * (TALL + APART), WIDEST, level)
    return boxes, width


def _box(network: Network, name: str, box: Box) -> list[str]:
    node = network.nodes[name]
    if isinstance(node, Output):
        what = "output"
    else:
        shape = " x ".join(map(str, node.shape))
        unit = "inputs" if name in network.inputs else "neurons"
        what = f"{shape} = {math.prod(node.shape):,} {unit}" if len(node.shape) > 1 else f"{shape} {unit}"
    hint = f"{name}: {type(node).__name__}, {what}"
    left = box.x - box.wide / 2
    return [
        element("rect", class_="node", x=left, y=box.y, width=box.wide, height=TALL, rx=6, hint=hint),
        text(box.x, box.y + 17, name, "middle", "label"),
        text(box.x, box.y + 32, what, "middle"),
    ]


def _label(network: Network, name: str, projection: Projection) -> tuple[str, str]:
    """Return what stands at the arrow of a projection, and what is shown under the pointer."""
    delays = sorted({int(projection.delay.min()), int(projection.delay.max())}) if projection.delay.size else [0]
    late = "" if delays == [0] else f", delay {' to '.join(map(str, delays))}"
    label = f"{KIND[type(projection)](projection)}{network.synapses(name).weight.size:,} synapses{late}"
    return label, f"{name}, {projection.source} to {projection.target}: {label}"


def _arrow(source: Box, target: Box, number: int, label: tuple[str, str]) -> list[str]:
    """Draw an arrow with its label. number: of arrows before it between the same nodes."""
    shown, hint = label
    if target.row == source.row + 1 and not number:
        x1, y1, x2, y2 = source.x, source.y + TALL, target.x, target.y - 7
        middle = (x1 + x2) / 2, (y1 + y2) / 2
        line = f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
        tip = f"M{x2 - 4:.1f} {y2:.1f}h8l-4 7z"
    else:  # beside the boxes, from right edge to right edge
        x1, y1 = source.x + source.wide / 2, source.y + TALL / 2 - 5
        x2, y2 = target.x + target.wide / 2 + 7, target.y + TALL / 2 + 5
        out = max(x1, x2) + 36 + 16 * number
        line = f"M{x1:.1f} {y1:.1f}C{out:.1f} {y1:.1f} {out:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        tip = f"M{x2:.1f} {y2 - 4:.1f}v8l-7 -4z"
        middle = out - 8, (y1 + y2) / 2
    return [
        element("path", class_="wire", d=line, hint=hint),
        element("path", class_="tip", d=tip, hint=hint),
        text(middle[0] + 7, middle[1] + 4, shown),
    ]
