"""Synaptic operations of a SLAYER model: how many present synapses the spikes of a run cross.

One operation is one spike meeting one synapse whose deployed weight (quantised and masked) is not zero; a graded input
spike counts once, whatever its value. These are `Activity.events` of the network that the model is lowered to.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdsnn_core.geometry import Window, fan_out
from sdsnn_core.lava.compat import import_slayer

from ..development.masks import MaskedLayer
from .tracing import Call, Lost, ModelGraph


def arrivals(values: Tensor) -> Tensor:
    """Return how many spikes each unit sent: (batch, *shape, steps) -> (*shape,) float64."""
    return (values != 0).sum(-1, dtype=torch.int32).sum(0, dtype=torch.float64)


def synaptic_operations(graph: ModelGraph, layers: Sequence[MaskedLayer], sent: Sequence[Tensor]) -> list[float]:
    """Return the operations of every call of a block; 0 where a block has no synapses.

    layers: the masked layers among the blocks. sent: `arrivals` of the input and of every call's output, as
    `Evaluation.sent` holds them.
    """
    assert len(sent) == len(graph.inputs) + len(graph.calls), (len(sent), len(graph.calls))
    masked = {id(layer.block): layer for layer in layers}
    return [
        _operations(call.block, masked.get(id(call.block)), _arriving(call, sent), after)
        for call, after in zip(graph.calls, sent[len(graph.inputs) :], strict=True)
    ]


def _arriving(call: Call, sent: Sequence[Tensor]) -> Tensor:
    """Return how many spikes arrive in each place of a call's input; unknown ones count as none."""
    total = torch.zeros(call.shape_in, dtype=torch.float64, device=sent[0].device)
    for piece in () if isinstance(call.pieces, Lost) else call.pieces:
        units = torch.from_numpy(piece.units).to(total.device)
        total += torch.where(units >= 0, sent[piece.source].flatten()[units.clamp(min=0)], 0.0)
    return total


def _operations(block: Any, layer: MaskedLayer | None, before: Tensor, after: Tensor) -> float:
    if layer is None:
        pool = isinstance(block, import_slayer().block.base.AbstractPool)
        return float((_fan_out_of_pool(block, before) * before).sum()) if pool else 0.0
    # The second synapse of a recurrent block receives the block's own spikes.
    total = torch.zeros((), dtype=torch.float64, device=before.device)
    for synapse, spikes in zip(layer.synapses, (before, after), strict=False):
        present = synapse.present
        if synapse.kernelwise:
            conv = synapse.synapse
            window = Window(conv.stride[:2], conv.padding[:2], conv.dilation[:2], conv.groups)
            counts = fan_out(tuple(spikes.shape), present[..., 0].cpu().numpy(), window)
            total = total + (torch.from_numpy(counts).to(spikes.device, torch.float64) * spikes).sum()
        else:
            total = total + (present.flatten(1).sum(0) * spikes.flatten()).sum()
    return float(total)


def _fan_out_of_pool(block: Any, like: Tensor) -> Tensor:
    """Return in how many windows of a pool each input lies."""
    with torch.enable_grad():
        probe = torch.zeros(1, *like.shape, 1, device=like.device, requires_grad=True)
        (gradient,) = torch.autograd.grad(block.synapse(probe).sum(), probe)
    weight: Tensor = block.synapse.weight.detach()
    hook = block.synapse.pre_hook_fx
    largest: Tensor = (weight if hook is None else hook(weight)).abs().max()
    # A weight that quantises to zero makes no synapse.
    return (gradient.abs() / torch.where(largest > 0, largest, 1.0)).round().reshape(like.shape).double()
