"""The network as it was before pruning, as far as placement and counting care: every unit and every weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Node, Population, Projection, Shape, Synapses

TOO_MANY = 30_000_000  # synapses beyond which the unpruned network is not built


@dataclass(frozen=True)
class Before:
    """Shapes before pruning, of the nodes that are still there; what is not told is as it is now.

    shapes: node -> shape. kernels: convolution -> (shape of its kernel, groups).
    """

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    kernels: Mapping[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, given: Unpruned) -> Before:
        """Take shapes, a whole network, or numbers of units. Raises NetworkError where they do not fit `network`."""
        if isinstance(given, Network):
            shapes = {name: node.shape for name, node in given.nodes.items() if isinstance(node, Input | Population)}
            convolutions = {name: p for name, p in given.projections.items() if isinstance(p, Convolution)}
            given = cls(shapes, {name: (p.kernel.shape, p.groups) for name, p in convolutions.items()})
        made = given if isinstance(given, Before) else cls._of_units(network, given or {})
        for name in set(made.shapes) & set(network.nodes):
            before, now = made.size_of(network, name), network.size_of(name)
            if before < now:
                raise NetworkError(f"unpruned size of {name!r}: got {before}, the pruned network has {now}")
        return made

    @classmethod
    def _of_units(cls, network: Network, units: Mapping[str, int]) -> Before:
        shapes: dict[str, Shape] = {}
        for name, number in units.items():
            node = network.nodes.get(name)
            if not isinstance(node, Input | Population):
                allowed = sorted({*network.inputs, *network.populations})
                raise NetworkError(f"unpruned size of {name!r}: the network has no such node, allowed {allowed}")
            shapes[name] = node.shape if node.size == number else (number,)
        return cls(shapes)

    @classmethod
    def of_export(cls, content: Mapping[str, Any]) -> Before:
        """Read what export.json tells. Raises NetworkError where it is of another form."""
        try:
            shapes = {str(n): tuple(map(int, item["shape"])) for n, item in content["nodes"].items()}
            kernels = {
                str(n): (tuple(map(int, item["kernel"])), int(item["groups"]))
                for n, item in content["projections"].items()
                if item.get("kernel") is not None
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NetworkError(f"export.json: {error!r} where shapes before pruning were expected") from None
        return cls(shapes, kernels)

    def shape_of(self, network: Network, name: str) -> Shape:
        """Return the shape that node `name` had."""
        return self.shapes.get(name, network.shape_of(name))

    def size_of(self, network: Network, name: str) -> int:
        """Return the units that node `name` had."""
        return math.prod(self.shape_of(network, name))

    def fan_out(self, network: Network, name: str) -> npt.NDArray[np.int64]:
        """Return (size,) int64: how many synapses left each unit that is still there, had all been present.

        A full convolution treats all channels of a source alike, so only the place of a unit matters, and that
        pruning does not move.
        """
        p = network.projections[name]
        if not isinstance(p, Convolution):
            return np.full(network.size_of(p.source), self.size_of(network, p.target), np.int64)
        shape = network.shape_of(p.source)
        kernel, groups = self.kernels.get(name, (p.kernel.shape, p.groups))
        rows, columns = (
            _hits(shape[1 + axis], kernel[2 + axis], p.stride[axis], p.padding[axis], p.dilation[axis])
            for axis in (0, 1)
        )
        places = np.outer(rows, columns) * (kernel[0] // groups)
        return np.broadcast_to(places, shape).reshape(-1)

    def connections(self, network: Network, name: str) -> int:
        """Return how many synapses projection `name` made, had all been present."""
        p = network.projections[name]
        now = network.size_of(p.source)
        return int(self.fan_out(network, name).sum()) * self.size_of(network, p.source) // now


Unpruned = Before | Network | Mapping[str, int] | None


def _hits(extent: int, kernel: int, stride: int, padding: int, dilation: int) -> npt.NDArray[np.int64]:
    """Return (extent,) how many kernel places meet each place of the source along one axis."""
    made = (extent + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    at = (np.arange(made)[:, None] * stride - padding + np.arange(kernel) * dilation).reshape(-1)
    return np.bincount(at[(at >= 0) & (at < extent)], minlength=extent)


def unpruned_network(network: Network, unpruned: Unpruned = None) -> Network | None:
    """Return `network` with every unit and weight it had; None if it is too large or not known.

    Weights are of eight bits and both signs, populations have one setting each. Not known: a convolution whose
    population lost channels where `unpruned` does not tell its kernel.
    """
    before = Before.of(network, unpruned)
    shapes, kernels = before.shapes, before.kernels
    nodes: dict[str, Node] = {name: _node(node, shapes.get(name)) for name, node in network.nodes.items()}
    projections: dict[str, Projection] = {}
    total = 0
    for name, p in network.projections.items():
        source, target = nodes[p.source], nodes[p.target]
        assert isinstance(source, Input | Population)
        assert isinstance(target, Population)
        if isinstance(p, Convolution):
            changed = (source.shape, target.shape) != (network.shape_of(p.source), network.shape_of(p.target))
            if changed and name not in kernels:
                return None
            kernel, groups = kernels.get(name, (p.kernel.shape, p.groups))
            weights = full_weights(int(np.prod(kernel))).reshape(kernel)
            projections[name] = replace(p, kernel=weights, groups=groups, delay=_delay(p))
            continue
        total += source.size * target.size
        if total > TOO_MANY:
            return None
        pre, post = np.repeat(np.arange(source.size), target.size), np.tile(np.arange(target.size), source.size)
        projections[name] = Synapses(p.source, p.target, pre, post, full_weights(pre.size), _delay(p), p.weight_exp)
    return Network(nodes, projections)


def _node(node: Node, shape: Shape | None) -> Node:
    if isinstance(node, Population):
        zero = np.zeros((), np.int32)
        return replace(one_setting(node), shape=shape or node.shape, bias=zero, initial_voltage=zero)
    return replace(node, shape=shape or node.shape) if isinstance(node, Input) else node


def _delay(p: Projection) -> npt.NDArray[np.int64]:
    return np.full((), p.delay.max() if p.delay.size else 0, np.int64)


def one_setting(p: Population) -> Population:
    """Return `p` with the first neuron's threshold and decays for all."""
    names = ("threshold", "current_decay", "voltage_decay")
    return replace(p, **{name: p.per_neuron(name)[0] for name in names})


def full_weights(n: int) -> npt.NDArray[np.int64]:
    """Return n weights that need eight bits, sign included."""
    return np.where(np.arange(n) % 2, 254, -256)
