"""Connections between the masked layers of a model, from its traced graph.

Blocks without masks between two layers (Pool, Flatten) and operations that move or add spikes are passed through: a
layer follows another if its input depends on the other's output without a third masked layer between them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

from ..slayer.tracing import Lost, ModelGraph, Piece, read_graph
from .masks import MaskedLayer

Units = npt.NDArray[np.int64]


class Join(NamedTuple):
    """What one layer contributes to the input of another. layer: None for an input of the model.

    units: int64 (inputs of the target,), the unit of `layer` behind each input, -1 for none.
    """

    layer: int | None
    units: Tensor


class LayerGraph(NamedTuple):
    """Acyclic graph of the masked layers, by their index.

    Attributes:
        successors: for each layer, the layers that its spikes reach.
        direct: (source, target) where the source's output is the whole input of the target, unit by unit or channel by
            channel, so that each input belongs to a known unit of the source.
        outputs: layers whose spikes leave the model without passing another layer.
        joined: for a target whose input is made of several sources, or of units in another order: all of them. Targets
            with an unknown input have no entry.
    """

    successors: tuple[tuple[int, ...], ...]
    direct: frozenset[tuple[int, int]]
    outputs: frozenset[int]
    joined: Mapping[int, tuple[Join, ...]] = {}

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the layers that feed it."""
        layers = range(len(self.successors))
        return tuple(tuple(source for source in layers if target in self.successors[source]) for target in layers)

    def direct_source(self, target: int) -> int | None:
        """Return the layer whose output is the whole input of `target`; None if there is no such layer."""
        return next((source for source, fed in self.direct if fed == target), None)


def trace_graph(model: torch.nn.Module, layers: Sequence[MaskedLayer], sample: torch.Tensor) -> LayerGraph:
    """Run `model` in evaluation mode and return the graph of its layers.

    Args:
        model: a module that contains the blocks of `layers`.
        layers: the masked layers, as `attach_masks` returns them.
        sample: an input, (batch, *shape, steps).

    Raises:
        UnsupportedNode: if a layer takes no part in the forward pass.
    """
    graph = read_graph(model, sample)
    called = {id(call.block) for call in graph.calls}
    unused = [layer.name for layer in layers if id(layer.block) not in called]
    if unused:
        raise UnsupportedNode(
            f"model: expected layers that the forward pass calls, got others: {', '.join(unused)}; remove them"
        )
    origins = _Origins(graph, {id(layer.block): index for index, layer in enumerate(layers)})
    targets: list[set[int]] = [set() for _ in layers]
    direct: set[tuple[int, int]] = set()
    joined: dict[int, tuple[Join, ...] | None] = {}
    for call in graph.calls:
        index = origins.layers.get(id(call.block))
        if index is None:
            continue
        for source in origins.behind(call.pieces):
            targets[source].add(index)
        known = origins.of(call.pieces)
        whole = _direct(known, layers)
        if index in joined:  # a block that is called twice
            direct = {edge for edge in direct if edge[1] != index}
            joined[index] = None
        else:
            joined[index] = None if whole is not None else _joins(known, layers[index])
            if whole is not None:
                direct.add((whole, index))
    outputs = origins.behind(graph.outputs[0]).union(
        *(origins.behind((Piece(source, np.zeros(1, np.int64)),)) for source in graph.output_sources())
    )
    return LayerGraph(
        tuple(tuple(sorted(each)) for each in targets),
        frozenset(direct),
        frozenset(outputs),
        {index: joins for index, joins in joined.items() if joins is not None},
    )


class _Origin(NamedTuple):
    """The layer (None: an input of the model) behind places of a tensor, and its units there, -1 for none."""

    layer: int | None
    units: Units


class _Origins:
    """The masked layers behind tensors of a graph. layers: index of a layer by the id of its block."""

    def __init__(self, graph: ModelGraph, layers: Mapping[int, int]) -> None:
        self.graph = graph
        self.layers = layers

    def behind(self, pieces: tuple[Piece, ...] | Lost) -> set[int]:
        """Return the nearest layers upstream."""
        result: set[int] = set()
        for source in pieces.sources if isinstance(pieces, Lost) else {piece.source for piece in pieces}:
            call = self.graph.call_of(source)
            if call is not None:
                index = self.layers.get(id(call.block))
                result |= self.behind(call.pieces) if index is None else {index}
        return result

    def of(self, pieces: tuple[Piece, ...] | Lost) -> list[_Origin] | None:
        """Return what stands behind a tensor, place by place; None if that is not known."""
        if isinstance(pieces, Lost):
            return None
        result: list[_Origin] = []
        for piece in pieces:
            below = self._units(piece.source)
            if below is None:
                return None
            there, at = piece.units >= 0, np.maximum(piece.units, 0)
            result += [_Origin(layer, np.where(there, units[at], -1)) for layer, units in below]
        return result

    def _units(self, source: int) -> list[_Origin] | None:
        """Return what stands behind each unit, flat, of the output of a call or of an input."""
        base = import_slayer().block.base
        call = self.graph.call_of(source)
        if call is None:
            return [_Origin(None, np.zeros(math.prod(self.graph.shape_of(source)), np.int64))]
        size, inner = math.prod(call.shape), math.prod(call.shape[1:])
        index = self.layers.get(id(call.block))
        if index is not None:
            return [_Origin(index, np.arange(size) // inner)]
        before = self.of(call.pieces)
        if before is None or not isinstance(call.block, (base.AbstractPool, base.AbstractInput, _delay())):
            return None
        if not isinstance(call.block, base.AbstractPool):
            return [_Origin(layer, units.reshape(-1)) for layer, units in before]
        channels = [_constant(units.reshape(len(units), -1)) for _, units in before]
        if any(each is None for each in channels):
            return None
        return [
            _Origin(layer, np.repeat(each, inner))  # type: ignore[arg-type]
            for (layer, _), each in zip(before, channels, strict=True)
        ]


def _delay() -> Any:
    return import_slayer().axon.Delay


def _constant(units: Units) -> Units | None:
    """Return the value of each row; None where a row holds several."""
    return units[:, 0] if bool((units == units[:, :1]).all()) else None


def _direct(origins: list[_Origin] | None, layers: Sequence[MaskedLayer]) -> int | None:
    """Return the layer whose units, each as often as the others, are a tensor in their order."""
    if origins is None or len(origins) != 1 or origins[0].layer is None:
        return None
    layer, units = origins[0].layer, origins[0].units.reshape(-1)
    fan, rest = divmod(units.size, layers[layer].n_units)
    expected = np.arange(layers[layer].n_units).repeat(fan)
    return layer if not rest and np.array_equal(units, expected) else None


def _joins(origins: list[_Origin] | None, layer: MaskedLayer) -> tuple[Join, ...] | None:
    """Return the sources of each input of a layer's mask; None where they are unknown or differ within an input."""
    mask = layer.mask
    if origins is None or layer.synapses[0].synapse.groups != 1:
        return None
    joins = []
    for source, units in origins:
        rows = units.reshape(mask.shape[1], -1) if units.size % mask.shape[1] == 0 else None
        columns = None if rows is None else _constant(rows)
        if columns is None:
            return None
        joins.append(Join(source, torch.from_numpy(columns).to(mask.device)))
    return tuple(joins) if any(join.layer is not None for join in joins) else None
