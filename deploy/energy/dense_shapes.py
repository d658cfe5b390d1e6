"""The dense twin of a pruned network: its shapes before pruning, and the network with every unit and weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core import geometry
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Neurons, Node, Population, Projection, Shape, Synapses
from sdsnn_core.rules import Rules

TOO_MANY = 30_000_000  # synapses beyond which the unpruned network is not built


@dataclass(frozen=True)
class DenseShapes:
    """Shapes before pruning of the nodes that remain. A node or projection without an entry kept its shape.

    shapes: node -> shape. kernels: convolution -> (shape of its kernel, groups).
    """

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    kernels: Mapping[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, unpruned: Unpruned) -> DenseShapes:
        """Take shapes, a whole network, or numbers of units. Raises NetworkError where they do not fit `network`."""
        if isinstance(unpruned, Network):
            shapes = {name: unpruned.shape_of(name) for name in (*unpruned.inputs, *unpruned.populations)}
            convolutions = {name: p for name, p in unpruned.projections.items() if isinstance(p, Convolution)}
            unpruned = cls(shapes, {name: (p.kernel.shape, p.groups) for name, p in convolutions.items()})
        dense = unpruned if isinstance(unpruned, DenseShapes) else cls._of_units(network, unpruned or {})
        for name in set(dense.shapes) & set(network.nodes):
            before, now = dense.size_of(network, name), network.size_of(name)
            if before < now:
                raise NetworkError(f"unpruned size of {name!r}: expected at least {now}, as it has now, got {before}")
        return dense

    @classmethod
    def _of_units(cls, network: Network, units: Mapping[str, int]) -> DenseShapes:
        known = (*network.inputs, *network.populations)
        if unknown := [name for name in units if name not in known]:
            raise NetworkError(f"unpruned size: expected one of {', '.join(sorted(known))}, got {unknown[0]!r}")
        sizes = ((name, number, network.shape_of(name)) for name, number in units.items())
        return cls({name: shape if math.prod(shape) == number else (number,) for name, number, shape in sizes})

    @classmethod
    def of_export(cls, content: Mapping[str, Any]) -> DenseShapes:
        """Read the shapes of export.json. Raises NetworkError where it is of another form."""
        try:
            shapes = {str(n): tuple(map(int, item["shape"])) for n, item in content["nodes"].items()}
            kernels = {
                str(n): (tuple(map(int, item["kernel"])), int(item["groups"]))
                for n, item in content["projections"].items()
                if item.get("kernel") is not None
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NetworkError(f"export.json: expected shapes before pruning, got {error!r}") from None
        return cls(shapes, kernels)

    def size_of(self, network: Network, name: str) -> int:
        """Return the units that node `name` had."""
        return math.prod(self.shapes.get(name, network.shape_of(name)))

    def fan_out(self, network: Network, name: str) -> npt.NDArray[np.int64]:
        """Return (size,) int64 synapses that leave each remaining unit of the source where no weight is absent."""
        p = network.projections[name]
        return FAN_OUT.for_(p)(self, network, name, p)

    def connections(self, network: Network, name: str) -> int:
        """Return the synapses of projection `name` where no weight is absent."""
        p = network.projections[name]
        now = network.size_of(p.source)
        return int(self.fan_out(network, name).sum()) * self.size_of(network, p.source) // now


Unpruned = DenseShapes | Network | Mapping[str, int] | None


FAN_OUT: Rules[Callable[[DenseShapes, Network, str, Any], npt.NDArray[np.int64]]] = Rules("energy: dense fan-out")
DENSE_TWIN: Rules[Callable[[DenseShapes, Network, str, Any, Any, Any], Projection | None]] = Rules(
    "placement: dense twin"
)


FAN_OUT.of(Synapses)(lambda dense, net, _, p: np.full(net.size_of(p.source), dense.size_of(net, p.target), np.int64))


@FAN_OUT.of(Convolution)
def _full_kernel(dense: DenseShapes, network: Network, name: str, p: Convolution) -> npt.NDArray[np.int64]:
    """A full convolution treats all channels of a source alike: only the place of a unit matters."""
    shape = network.shape_of(p.source)
    kernel, groups = dense.kernels.get(name, (p.kernel.shape, p.groups))
    rows, columns = (
        np.bincount(taps[taps >= 0], minlength=size)
        for taps, size in zip(geometry.taps(shape, kernel, p.window), shape[1:], strict=True)
    )
    return np.broadcast_to(np.outer(rows, columns) * (kernel[0] // groups), shape).reshape(-1)


def unpruned_network(network: Network, unpruned: Unpruned = None) -> Network | None:
    """Return `network` with every unit and weight that it had; None if it is too large or not known.

    Weights are of eight bits and both signs, populations have one setting each. A convolution whose population lost
    channels is not known where `unpruned` lacks its kernel.
    """
    dense = DenseShapes.of(network, unpruned)
    matrices = [p for p in network.projections.values() if isinstance(p, Synapses)]
    if sum(dense.size_of(network, p.source) * dense.size_of(network, p.target) for p in matrices) > TOO_MANY:
        return None
    nodes: dict[str, Node] = {name: _node(node, dense.shapes.get(name)) for name, node in network.nodes.items()}
    projections: dict[str, Projection] = {}
    for name, p in network.projections.items():
        twin = DENSE_TWIN.for_(p)(dense, network, name, p, nodes[p.source], nodes[p.target])
        if twin is None:
            return None
        projections[name] = twin
    return Network(nodes, projections)


@DENSE_TWIN.of(Synapses)
def _every_synapse(dense: DenseShapes, network: Network, name: str, p: Synapses, source: Any, target: Any) -> Synapses:
    pre, post = np.repeat(np.arange(source.size), target.size), np.tile(np.arange(target.size), source.size)
    return Synapses(p.source, p.target, pre, post, full_weights(pre.size), _delay(p), p.weight_exp, p.imaginary)


@DENSE_TWIN.of(Convolution)
def _every_kernel_place(
    dense: DenseShapes, network: Network, name: str, p: Convolution, source: Any, target: Any
) -> Convolution | None:
    changed = (source.shape, target.shape) != (network.shape_of(p.source), network.shape_of(p.target))
    if changed and name not in dense.kernels:
        return None
    kernel, groups = dense.kernels.get(name, (p.kernel.shape, p.groups))
    return replace(p, kernel=full_weights(math.prod(kernel)).reshape(kernel), groups=groups, delay=_delay(p))


def _node(node: Node, shape: Shape | None) -> Node:
    if isinstance(node, Population):
        zero: dict[str, Any] = dict.fromkeys({"bias", "initial_voltage"} & set(node.ranges), np.zeros((), np.int32))
        return replace(one_setting(node), shape=shape or node.shape, **zero)
    return replace(node, shape=shape or node.shape) if isinstance(node, Input) else node


def _delay(p: Projection) -> npt.NDArray[np.int64]:
    return np.full((), p.delay.max() if p.delay.size else 0, np.int64)


def settings(p: Population) -> list[str]:
    """Return the names of the parameters that neurons share: thresholds and decays, not bias and initial voltage."""
    return [name for name in p.ranges if name not in ("bias", "initial_voltage")]


def one_setting(p: Neurons) -> Neurons:
    """Return `p` with the first neuron's threshold and decays for all."""
    changes: dict[str, Any] = {name: p.per_neuron(name)[0] for name in settings(p)}
    return replace(p, **changes)


def full_weights(n: int) -> npt.NDArray[np.int64]:
    """Return n weights that need eight bits, sign included."""
    return np.where(np.arange(n) % 2, 254, -256)
