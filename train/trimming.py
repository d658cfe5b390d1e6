"""What cannot matter any more: synapses from silent units, and units without a synapse onwards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdsnn_core.development.pruning import remove_units

from .masking import MaskedLayer
from .tracing import LayerGraph


def trim(layers: Sequence[MaskedLayer], graph: LayerGraph, optimiser: torch.optim.Optimizer | None) -> None:
    """Mask what cannot matter, again and again until nothing more follows. Readouts keep their units.

    Where inputs cannot be told apart by source unit (groups, several layers feeding one), everything stays.
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
        sources = graph.predecessors[index]
        if len(sources) != 1:
            return everything
        gate = layers[sources[0]].unit_gate
    fan = _spread(layer, place, gate.numel())
    return gate.repeat_interleave(fan).reshape(1, -1, *(1,) * (mask.dim() - 2)) if fan else everything


def reaching_units(layers: Sequence[MaskedLayer], graph: LayerGraph, index: int) -> Tensor:
    """Return (units,) bool: units with a synapse to some layer behind; True where unknown, and in readouts."""
    layer = layers[index]
    everything = torch.ones_like(layer.unit_gate)
    if not graph.successors[index]:
        return everything
    found = torch.zeros_like(everything)
    for target in graph.successors[index]:
        fan = _spread(layers[target], 0, layer.n_units)
        if fan == 0 or len(graph.predecessors[target]) != 1:
            return everything
        used = layers[target].synapses[0].mask.transpose(0, 1).flatten(1).any(1)
        found |= used.reshape(layer.n_units, fan).any(1)
    return found


def _spread(layer: MaskedLayer, place: int, n_sources: int) -> int:
    """Return how many inputs of a synapse one source unit makes (a channel behind Flatten: H * W), 0 if unknown."""
    n_inputs = layer.synapses[place].mask.shape[1]
    dense = layer.synapses[place].mask[0, 0].numel() == 1 or layer.kind == "conv"
    known = dense and layer.synapses[place].synapse.groups == 1 and n_inputs % n_sources == 0
    return n_inputs // n_sources if known else 0
