"""What cannot matter any more (synapses from silent units, units without a synapse onwards), and what has to stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdsnn_core.development.pruning import remove_units

from .layer_graph import LayerGraph
from .masks import MaskedLayer


def trim(layers: Sequence[MaskedLayer], graph: LayerGraph, optimiser: torch.optim.Optimizer | None) -> None:
    """Mask what cannot matter, again and again until nothing more follows.

    What leaves the network stays as it was, but for units that fired from a bias alone: without synapses they are
    silent. Where inputs cannot be told apart by source unit (groups, anything but Pool and Flatten between two layers),
    everything stays.
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
    """Return bool, broadcasting over a synapse's mask: inputs that may be active; True where unknown."""
    layer = layers[index]
    mask = layer.synapses[place].mask
    everything = torch.ones((), dtype=torch.bool, device=mask.device)
    if place > 0:  # the recurrent synapse of a block comes from its own units
        gate = layer.unit_gate
    else:
        source = graph.direct_source(index)
        if source is None:
            return everything
        gate = layers[source].unit_gate
    fan = _spread(layer, place, gate.numel())
    return gate.repeat_interleave(fan).reshape(1, -1, *(1,) * (mask.dim() - 2)) if fan else everything


def reaching_units(layers: Sequence[MaskedLayer], graph: LayerGraph, index: int) -> Tensor:
    """Return (units,) bool: units whose spikes may reach a layer behind, or leave the network; True where unknown.

    In a recurrent block also those that reach such a unit through the block's own loop.
    """
    layer = layers[index]
    everything = torch.ones_like(layer.unit_gate)
    if index in graph.outputs:
        return everything
    found = torch.zeros_like(everything)
    for target in graph.successors[index]:
        fan = _spread(layers[target], 0, layer.n_units)
        if fan == 0 or (index, target) not in graph.direct:
            return everything
        found |= _heard(layers[target].mask, fan)
    for recurrent in layer.synapses[1:]:
        onto = recurrent.mask.reshape(layer.n_units, layer.n_units)  # row: unit that hears, column: unit that sends
        while True:
            further = found | onto[found].any(0)
            if bool((further == found).all()):
                break
            found = further
    return found


def lifelines(layers: Sequence[MaskedLayer], graph: LayerGraph, worth: Sequence[Tensor]) -> list[Tensor]:
    """Return, for the first weight tensor of every layer, bool: one path from the input to each unit of the readouts.

    worth: what a synapse of these tensors is worth; a path takes the best present synapse of a unit, then that of the
    unit it comes from. It ends where a unit has none, or where units behind cannot be told apart.
    """
    found = [torch.zeros_like(layer.mask) for layer in layers]
    ahead = [(index, torch.ones_like(layers[index].unit_gate)) for index in sorted(graph.outputs)]
    while ahead:
        index, units = ahead.pop()
        mask = layers[index].mask.flatten(1)
        best = torch.where(mask, worth[index].flatten(1), -torch.inf).argmax(1, keepdim=True)
        path = torch.zeros_like(mask).scatter_(1, best, mask.gather(1, best) & units[:, None])
        path = path.reshape(layers[index].mask.shape)
        found[index] |= path
        source = graph.direct_source(index)
        fan = 0 if source is None else _spread(layers[index], 0, layers[source].n_units)
        if source is not None and fan:
            ahead.append((source, _heard(path, fan)))
    return found


def _heard(synapses: Tensor, fan: int) -> Tensor:
    """Return (source units,) bool: those with one of the synapses (bool, a mask's shape), of `fan` inputs each."""
    return synapses.transpose(0, 1).flatten(1).any(1).reshape(-1, fan).any(1)


def _spread(layer: MaskedLayer, place: int, n_sources: int) -> int:
    """Return how many inputs of a synapse one source unit makes (a channel behind Flatten: H * W), 0 if unknown."""
    n_inputs = layer.synapses[place].mask.shape[1]
    dense = layer.synapses[place].mask[0, 0].numel() == 1 or layer.kind == "conv"
    known = dense and layer.synapses[place].synapse.groups == 1 and n_inputs % n_sources == 0
    return n_inputs // n_sources if known else 0
