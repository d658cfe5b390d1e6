"""How the integers of a Network are laid out: names, order and shapes, which no SLAYER block holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Input, Network, Node, Output, Projection, Shape


class Column(NamedTuple):
    """A projection of a population, and which inputs (channels of a convolution) of the block it takes.

    imaginary: whether it is the imaginary part of the block's weights.
    """

    projection: str
    start: int
    width: int
    imaginary: bool = False


class Layout(NamedTuple):
    """Names and forms of a Network's nodes and projections, in its order.

    Attributes:
        inputs: the Input ports by name.
        columns: for each population, in the order in which the blocks are called, what reaches it.
        loops: population -> the name of its projection to itself.
        outputs: the Output ports by name.
        shapes: the shape of each population.
        forms: (node or projection, field) -> the shape in which its values are stored.
        order: names of all nodes, and of all projections.
    """

    inputs: Mapping[str, Input]
    columns: Mapping[str, tuple[Column, ...]]
    loops: Mapping[str, str]
    outputs: Mapping[str, Output]
    shapes: Mapping[str, Shape]
    forms: Mapping[tuple[str, str], tuple[int, ...]]
    order: tuple[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def of(cls, network: Network, columns: Mapping[str, tuple[Column, ...]]) -> Layout:
        """Return the layout of a network. columns: as the attribute."""
        forms = {}
        for name, node in network.populations.items():
            values = {spec.name: getattr(node, spec.name) for spec in fields(node)}
            forms.update({(name, key): value.shape for key, value in values.items() if isinstance(value, np.ndarray)})
        forms.update({(name, "delay"): p.delay.shape for name, p in network.projections.items()})
        loops = {p.target: name for name, p in network.projections.items() if p.source == p.target}
        shapes = {name: node.shape for name, node in network.populations.items()}
        order = tuple(network.nodes), tuple(network.projections)
        return cls(network.inputs, columns, loops, network.outputs, shapes, forms, order)

    def apply(self, nodes: Mapping[str, Node], projections: Mapping[str, Projection]) -> tuple[Any, Any]:
        """Return nodes and projections in its order and forms.

        Raises UnsupportedNode where values differ that one value should stand for.
        """
        every = {**nodes, **self.outputs}
        return (
            {name: self._formed(name, every[name]) for name in self.order[0]},
            {name: self._formed(name, projections[name]) for name in self.order[1]},
        )

    def _formed(self, name: str, item: Any) -> Any:
        changes = {}
        for spec in fields(item):
            form, value = self.forms.get((name, spec.name)), getattr(item, spec.name)
            if form is not None and value.shape != form:
                changes[spec.name] = _in_form(value, form, f"{name!r} {spec.name}")
        return replace(item, **changes) if changes else item


def _in_form(value: Any, form: tuple[int, ...], where: str) -> Any:
    """Return the same values in another shape: spread out, or one for many equal ones."""
    if not np.prod(form):
        return np.zeros(form, np.int64)
    if value.ndim == len(form) and value.ndim:
        value = value[tuple(slice(0, 1) if size == 1 else slice(None) for size in form)]
    elif value.size and bool((value == value.flat[0]).all()):
        value = value.reshape(-1)[0]
    try:
        return np.broadcast_to(value, form).copy()
    except ValueError:
        raise UnsupportedNode(f"{where}: expected values of shape {form}, got {value.shape}") from None
