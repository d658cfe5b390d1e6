"""Synapses and units that cannot influence the output of a masked model, and paths that are protected from pruning."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sdsnn_core.development.pruning import remove_units

from .layer_graph import Join, LayerGraph
from .masks import MaskedLayer


def trim(layers: Sequence[MaskedLayer], graph: LayerGraph, optimiser: torch.optim.Optimizer | None) -> None:
    """Mask synapses from silent units and units that reach no output, until nothing changes.

    The model's output stays the same, except that units which fired from a bias alone become silent with their last
    synapse. Where inputs cannot be assigned to units of their sources (groups, operations that are not followed),
    nothing is masked.
    """
    changed = True
    while changed:
        changed = False
        for index, layer in enumerate(layers):
            useless = ~reaching_units(layers, graph, index)
            masks = [
                remove_units(synapse.mask & active_inputs(layers, graph, index, place), useless)
                for place, synapse in enumerate(layer.synapses)
            ]
            if any(bool((mask != s.mask).any()) for mask, s in zip(masks, layer.synapses, strict=True)):
                layer.set_masks(masks, optimiser)
                changed = True


def active_inputs(layers: Sequence[MaskedLayer], graph: LayerGraph, index: int, place: int) -> Tensor:
    """Return the inputs of a synapse that may be active, bool, broadcasting over its mask; True where unknown."""
    layer = layers[index]
    mask = layer.synapses[place].mask
    everything = torch.ones((), dtype=torch.bool, device=mask.device)
    if place > 0:  # the recurrent synapse of a block starts at its own units
        gate = layer.unit_gate
    else:
        if index in graph.joined:
            return _active_joins(layers, graph.joined[index], mask)
        source = graph.direct_source(index)
        if source is None:
            return everything
        gate = layers[source].unit_gate
    fan = _inputs_per_unit(layer, place, gate.numel())
    return gate.repeat_interleave(fan).reshape(1, -1, *(1,) * (mask.dim() - 2)) if fan else everything


def _active_joins(layers: Sequence[MaskedLayer], joins: Sequence[Join], mask: Tensor) -> Tensor:
    """Return the inputs behind which a unit may be active."""
    active = torch.zeros(mask.shape[1], dtype=torch.bool, device=mask.device)
    for layer, units in joins:
        there = units >= 0
        active |= there if layer is None else there & layers[layer].unit_gate[units.clamp(min=0)]
    return active.reshape(1, -1, *(1,) * (mask.dim() - 2))


def reaching_units(layers: Sequence[MaskedLayer], graph: LayerGraph, index: int) -> Tensor:
    """Return (units,) bool: units whose spikes may reach the next layer or the output; True where unknown.

    In a recurrent block, also through other units of the block.
    """
    layer = layers[index]
    everything = torch.ones_like(layer.unit_gate)
    if index in graph.outputs:
        return everything
    reaching = torch.zeros_like(everything)
    for target in graph.successors[index]:
        if target in graph.joined:
            used = _used_sources(layers[target].mask, 1)
            for join in graph.joined[target]:
                if join.layer == index:
                    reaching[join.units[used & (join.units >= 0)]] = True
            continue
        fan = _inputs_per_unit(layers[target], 0, layer.n_units)
        if fan == 0 or (index, target) not in graph.direct:
            return everything
        reaching |= _used_sources(layers[target].mask, fan)
    for recurrent in layer.synapses[1:]:
        feeds = recurrent.mask.reshape(layer.n_units, layer.n_units)  # row: target unit, column: source unit
        while True:
            further = reaching | feeds[reaching].any(0)
            if bool((further == reaching).all()):
                break
            reaching = further
    return reaching


def protected_paths(layers: Sequence[MaskedLayer], graph: LayerGraph, drop_scores: Sequence[Tensor]) -> list[Tensor]:
    """Return one path from the input to each readout unit, as bool of the first weight tensor of each layer.

    A path takes the present synapse with the highest drop score of a unit, then continues at its source unit. It ends
    at a unit without synapses, or where inputs cannot be assigned to units.
    """
    paths = [torch.zeros_like(layer.mask) for layer in layers]
    pending = [(index, torch.ones_like(layers[index].unit_gate)) for index in sorted(graph.outputs)]
    while pending:
        index, units = pending.pop()
        mask = layers[index].mask.flatten(1)
        best = torch.where(mask, drop_scores[index].flatten(1), -torch.inf).argmax(1, keepdim=True)
        path = torch.zeros_like(mask).scatter_(1, best, mask.gather(1, best) & units[:, None])
        path = path.reshape(layers[index].mask.shape)
        paths[index] |= path
        for join in graph.joined.get(index, ()):
            if join.layer is not None:
                further = torch.zeros_like(layers[join.layer].unit_gate)
                further[join.units[_used_sources(path, 1) & (join.units >= 0)]] = True
                pending.append((join.layer, further))
        source = graph.direct_source(index)
        fan = 0 if source is None else _inputs_per_unit(layers[index], 0, layers[source].n_units)
        if source is not None and fan:
            pending.append((source, _used_sources(path, fan)))
    return paths


def _used_sources(synapses: Tensor, fan: int) -> Tensor:
    """Return (source units,) bool: units with one of the synapses (bool, a mask's shape), of `fan` inputs each."""
    return synapses.transpose(0, 1).flatten(1).any(1).reshape(-1, fan).any(1)


def _inputs_per_unit(layer: MaskedLayer, place: int, n_sources: int) -> int:
    """Return the inputs of a synapse per source unit (H * W for a channel behind Flatten), 0 if unknown."""
    n_inputs = layer.synapses[place].mask.shape[1]
    dense = layer.synapses[place].mask[0, 0].numel() == 1 or layer.kind == "conv"
    known = dense and layer.synapses[place].synapse.groups == 1 and n_inputs % n_sources == 0
    return n_inputs // n_sources if known else 0
