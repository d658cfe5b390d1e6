"""What the synapses of a masked model cost on its chip, from what the neurons of the placed network cost there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.compaction import Compaction
from sdsnn_core.development.chip_costs import NodeCost, SynapseCosts

from .layer_graph import LayerGraph
from .masks import MaskedLayer


class LayerCost(NamedTuple):
    """`NodeCost` of a layer by its units: `source` and `axon` by neuron, (units, neurons of a unit)."""

    core: Tensor
    share: Tensor
    unit: Tensor
    source: Tensor
    axon: Tensor
    copies: Tensor


class Prices(NamedTuple):
    """What a measured model costs under one limit: a cost for each layer, None where it is unknown, and of its input.

    inputs: (2, size) of source and axon; None where the model has several inputs. bits: of a synapse, 0 where memory
    does not bind.
    """

    layers: tuple[LayerCost | None, ...]
    inputs: Tensor | None
    bits: int


def masked_costs(compaction: Compaction, costs: Mapping[str, NodeCost]) -> dict[str, NodeCost]:
    """Return costs of the nodes of a compacted network as those of the masked network.

    A neuron that compaction removed gets the core of the neuron before it, and the mean of the others' costs.
    """
    spread = {name: cost for name, cost in costs.items() if name in compaction.network.inputs}
    for name, kept in compaction.kept.items():
        if name not in costs:  # the whole population is gone
            continue
        cost, where = costs[name], np.cumsum(kept) - 1
        means = [np.where(kept, part[where], part.mean()) for part in cost[1:]]
        spread[name] = NodeCost(cost.core[np.maximum(where, 0)], *means)
    return spread


def prices_of(layers: Sequence[MaskedLayer], names: Sequence[str], costs: Mapping[str, NodeCost], bits: int) -> Prices:
    """Return costs by layer. names: of the population of each layer. bits: of a synapse where memory binds, else 0."""
    outside = [cost for cost in costs.values() if not cost.core.size]
    inputs = torch.from_numpy(np.stack([outside[0].source, outside[0].axon])) if len(outside) == 1 else None
    own = [
        _of_units(costs[name], layer.n_units) if name in costs else None
        for layer, name in zip(layers, names, strict=True)
    ]
    return Prices(tuple(own), inputs, bits)


def _of_units(cost: NodeCost, n_units: int) -> LayerCost | None:
    """Return the cost of a population by units, each of which is a run of neurons; None where it is another one."""
    if cost.core.size % n_units:
        return None
    core, *others = (torch.from_numpy(np.ascontiguousarray(part)).reshape(n_units, -1) for part in cost)
    share, unit, source, axon = others
    ordered = core.sort(1).values
    copies = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
    return LayerCost(core[:, 0], share.mean(1), unit.mean(1), source, axon, copies)


def synapse_costs(
    layers: Sequence[MaskedLayer], graph: LayerGraph, prices: Prices, index: int, place: int
) -> SynapseCosts | None:
    """Return what the synapses of a weight tensor cost; None where the layer's cost is unknown."""
    own, synapse = prices.layers[index], layers[index].synapses[place]
    if own is None:
        return None
    mask = synapse.mask
    behind = _by_input(layers, graph, prices, index, place).repeat_interleave(mask[0, 0].numel(), 1)
    core, share, unit, source, axon, copies = (
        part.to(mask.device) for part in (own.core, own.share, own.unit, *behind, own.copies)
    )
    return SynapseCosts(core, share, unit, source, axon, copies if synapse.kernelwise else None, prices.bits)


def _by_input(layers: Sequence[MaskedLayer], graph: LayerGraph, prices: Prices, index: int, place: int) -> Tensor:
    """Return (2, inputs): source and axon of what stands behind each input of a weight tensor; 1 where unknown."""
    n_inputs = layers[index].synapses[place].mask.shape[1]
    feeds = index if place else graph.direct_source(index)
    if feeds is None and index in graph.joined:
        return _joined(graph, prices, index, n_inputs)
    costs = None if feeds is None else prices.layers[feeds]
    both = None if costs is None else torch.stack([costs.source, costs.axon])
    if feeds is None and not graph.predecessors[index] and prices.inputs is not None:
        both = prices.inputs[:, :, None]
    if both is None:
        return torch.ones(2, n_inputs, dtype=torch.float64)
    units, neurons = both.shape[1:]
    if units * neurons == n_inputs:  # an input for each neuron
        return both.reshape(2, -1)
    if units % n_inputs == 0:  # a channel of an image that is the input of the model
        return both.reshape(2, n_inputs, -1).mean(2)
    if n_inputs % units == 0:  # the places that a pool has left of a channel
        return both.mean(2).repeat_interleave(n_inputs // units, 1)
    return both.mean(2).mean(1, keepdim=True).expand(2, n_inputs)  # groups


def _joined(graph: LayerGraph, prices: Prices, index: int, n_inputs: int) -> Tensor:
    """Return (2, inputs): source and axon where several sources are joined or added."""
    total = torch.zeros(2, n_inputs, dtype=torch.float64)
    for join in graph.joined[index]:
        units = join.units.cpu()
        behind = None if join.layer is None else prices.layers[join.layer]
        if join.layer is None and prices.inputs is not None:
            values = prices.inputs
        elif behind is not None:
            values = torch.stack([behind.source.mean(1), behind.axon.mean(1)])
        else:
            values = torch.ones(2, int(units.max()) + 1, dtype=torch.float64)
        total += torch.where(units >= 0, values[:, units.clamp(min=0)], 0)
    return total
