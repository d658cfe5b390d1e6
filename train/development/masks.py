"""Masks and unit gates bound to the blocks of a SLAYER model.

A gate multiplies the spikes of a block's neuron: a pruned unit is silent even with a bias, and in recurrence too. Gates
are buffers of their blocks (`unit_gate`) and travel in the model's state_dict, as the masks do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode

from ..slayer.hooks import SpikeGate
from .masked_synapse import MaskedHook, MaskedSynapse

__all__ = ["MaskedHook", "MaskedLayer", "MaskedSynapse", "attach_masks", "synapses_of"]


class _Gate(torch.autograd.Function):
    """spikes * gate forward, identity backward: a silent unit's synapses still hear what they are missed for."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, gate: Tensor) -> Tensor:
        return spikes * gate.reshape(1, -1, *(1,) * (spikes.dim() - 2)).to(spikes.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


class _GateSpikes(SpikeGate):
    """Forward hook of a block's neuron: silences the units whose gate is closed."""

    def __init__(self, block: Any) -> None:
        self.block = block

    @property
    def gate(self) -> Tensor:
        """Bool (units,): a fused recurrent loop gates its spikes itself."""
        gate: Tensor = self.block.unit_gate
        return gate

    def __call__(self, _neuron: Any, _inputs: Any, spikes: Tensor) -> Tensor:
        gate = self.gate
        if gate.device.type == "cpu" and bool(gate.all()):  # asking a GPU would wait for it
            return spikes
        gated: Tensor = _Gate.apply(spikes, gate)  # type: ignore[no-untyped-call]
        return gated


@final
class MaskedLayer:
    """A block with trainable synapses: its weight tensors (two in a recurrent block), masks and unit gate."""

    def __init__(self, name: str, block: Any, synapses: list[MaskedSynapse]) -> None:
        self.name = name
        self.block = block
        self.synapses = synapses
        self.gates_close = True  # off: pruned units may fire from a bias, as in the released code (B7)
        self.spikes = type(block).__name__ != "Affine"  # an Affine block reads out currents and has no spikes to gate
        n_units = synapses[0].weight.shape[0]
        if "unit_gate" not in block._buffers:
            device = synapses[0].weight.device
            block.register_buffer("unit_gate", torch.ones(n_units, dtype=torch.bool, device=device))
            if self.spikes:
                block.neuron.register_forward_hook(_GateSpikes(block))

    @property
    def kind(self) -> Literal["conv", "dense"]:
        """conv or dense: which constants of the schedule hold."""
        return "conv" if self.synapses[0].kernelwise else "dense"

    @property
    def n_units(self) -> int:
        """Neurons of a dense layer, channels of a convolution."""
        return int(self.unit_gate.numel())

    @property
    def fan_in(self) -> int:
        """Incoming synapses of one unit in the dense network."""
        return sum(synapse.mask[0].numel() for synapse in self.synapses)

    @property
    def unit_gate(self) -> Tensor:
        """Bool (units,): False makes a unit silent."""
        gate: Tensor = self.block.unit_gate
        return gate

    @property
    def weight(self) -> Tensor:
        """The deployed weight of the first synapse: quantised and masked, in SLAYER's float units."""
        with torch.no_grad():
            first = self.synapses[0]
            deployed: Tensor = first.hook(first.weight)
            return deployed

    @property
    def mask(self) -> Tensor:
        """The mask of the first synapse."""
        return self.synapses[0].mask

    @property
    def absent_gradient(self) -> Tensor:
        """abs(dL/dw) at absent entries of the first synapse, summed since the last epoch's end."""
        return self.synapses[0].hook.absent_gradient

    def set_mask(self, mask: Tensor) -> None:
        """Mask the first synapse: its absent weights become zero, and units without any synapse silent."""
        self.set_masks([mask, *(synapse.mask for synapse in self.synapses[1:])], None)

    def set_masks(self, masks: Sequence[Tensor], optimiser: torch.optim.Optimizer | None) -> None:
        """Put masks in place: absent weights and their moments become zero, units without synapses silent.

        What a newly present synapse held before is lost too: it starts at zero with fresh moments. Under soft masks
        (B6) moments stay, and newly present synapses keep their weight.
        """
        for synapse, mask in zip(self.synapses, masks, strict=True):
            weight, before = synapse.weight, synapse.mask.clone()
            soft = synapse.hook.soft
            synapse.set_mask(mask)
            synapse.set_weight(weight * mask if soft else weight * (mask & before))
            if not soft:
                synapse.forget_moments(optimiser, ~mask | (mask & ~before))
        self.close_gates()

    def close_gates(self) -> None:
        """Silence exactly the units that have no synapse left in any of their masks; none if `gates_close` is off."""
        if self.gates_close:
            has_some = torch.stack([synapse.mask.flatten(1).any(1) for synapse in self.synapses]).any(0)
            self.unit_gate.copy_(has_some)


_SYNAPSES = ("synapse", "input_synapse", "recurrent_synapse")


def synapses_of(block: Any) -> dict[str, Any]:
    """Return the trainable synapse layers of a SLAYER block by attribute name; empty for Pool, Flatten, Input, ..."""
    if type(block).__name__ in ("Pool", "Unpool"):
        return {}
    found = {name: getattr(block, name, None) for name in _SYNAPSES}
    return {
        name: synapse
        for name, synapse in found.items()
        if isinstance(synapse, torch.nn.Module) and callable(getattr(synapse, "enable_weight_norm", None))
    }


def attach_masks(model: torch.nn.Module | Iterable[torch.nn.Module]) -> list[MaskedLayer]:
    """Give every block with trainable synapses masks and a gate, all open; return them in the model's own order.

    `model` is a module that holds SLAYER blocks anywhere inside, or the blocks themselves. Attaching twice gives the
    same masks. Raises UnsupportedNode for a block whose synapses have no rule here.
    """
    layers = []
    if isinstance(model, torch.nn.Module):
        named: Iterable[tuple[str, torch.nn.Module]] = model.named_modules()
    else:
        named = ((str(index), block) for index, block in enumerate(model))
    for name, block in named:
        found = synapses_of(block)
        if not found:
            continue
        kind = type(block).__name__
        if kind not in ("Dense", "Conv", "Recurrent", "Affine"):
            allowed = "Dense, Conv, Recurrent, Affine"
            raise UnsupportedNode(f"{name}: a {kind} block does not develop; allowed are {allowed}")
        recurrent = found.get("recurrent_synapse")
        if hasattr(recurrent, "weight_v"):
            raise UnsupportedNode(
                f"{name}: a Recurrent block with weight normalisation does not train: SLAYER's loop never makes its "
                "recurrent weight from g and v again; allowed is weight_norm = false for this layer"
            )
        bound = [MaskedSynapse(f"{name}.{attribute}", synapse) for attribute, synapse in found.items()]
        layers.append(MaskedLayer(name, block, bound))
    return layers
