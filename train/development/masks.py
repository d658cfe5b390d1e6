"""Masks and unit gates on the blocks of a SLAYER model.

A gate multiplies the spikes of a block's neuron, so a pruned unit is silent even with a bias, and in recurrence too.
Gates are buffers of their blocks (`unit_gate`) and part of the model's state_dict, as masks are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

from ..slayer.hooks import SpikeGate
from .masked_synapse import MaskedHook, MaskedSynapse

__all__ = ["MaskedHook", "MaskedLayer", "MaskedSynapse", "attach_masks", "synapses_of"]


class _Gate(torch.autograd.Function):
    """spikes * gate in the forward pass, identity in the backward pass: gradients reach synapses of gated units."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, gate: Tensor) -> Tensor:
        return spikes * gate.reshape(1, -1, *(1,) * (spikes.dim() - 2)).to(spikes.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


class _BlockGate(SpikeGate):
    """Forward hook of a block's neuron; applies the block's `unit_gate`."""

    def __init__(self, block: Any) -> None:
        self.block = block

    @property
    def gate(self) -> Tensor:
        gate: Tensor = self.block.unit_gate
        return gate

    def __call__(self, _neuron: Any, _inputs: Any, spikes: Tensor) -> Tensor:
        gate = self.gate
        if gate.device.type == "cpu" and bool(gate.all()):  # on a GPU, reading the gate would wait for it
            return spikes
        gated: Tensor = _Gate.apply(spikes, gate)  # type: ignore[no-untyped-call]
        return gated


class MaskedLayer:
    """A block with trainable synapses: its weight tensors (two in a recurrent block), their masks and its unit gate.

    Attributes:
        name: name of the block in the model.
        block: the SLAYER block.
        synapses: its weight tensors; in a recurrent block the one of the input first.
        spikes: False for an Affine block and a sigma-delta Output, which read out sums and have no spikes to gate.
    """

    def __init__(self, name: str, block: Any, synapses: list[MaskedSynapse]) -> None:
        self.name = name
        self.block = block
        self.synapses = synapses
        self.spikes = not isinstance(block, (_slayer().block.base.AbstractAffine, _sigma_output()))
        if "unit_gate" not in block._buffers:
            mask = synapses[0].mask
            block.register_buffer("unit_gate", torch.ones(mask.shape[0], dtype=torch.bool, device=mask.device))
            if self.spikes:
                block.neuron.register_forward_hook(_BlockGate(block))

    @property
    def kind(self) -> Literal["conv", "dense"]:
        """Kind of layer, which selects the constants of the schedule."""
        return "conv" if self.synapses[0].kernelwise else "dense"

    @property
    def n_units(self) -> int:
        """Neurons of a dense layer, channels of a convolution."""
        return int(self.unit_gate.numel())

    @property
    def unit_gate(self) -> Tensor:
        """Bool (units,): False silences a unit."""
        gate: Tensor = self.block.unit_gate
        return gate

    @property
    def deployed_weight(self) -> Tensor:
        """The quantised and masked weight of the first synapse, in SLAYER's float units."""
        return self.synapses[0].deployed_weight

    @property
    def mask(self) -> Tensor:
        """The mask of the first synapse."""
        return self.synapses[0].mask

    @property
    def absent_gradient(self) -> Tensor:
        """The grow scores of the first synapse: abs(dL/dw) of masked weights, summed since the last epoch's end."""
        return self.synapses[0].absent_gradient

    def set_mask(self, mask: Tensor) -> None:
        """Mask the first synapse: see `set_masks`."""
        self.set_masks([mask, *(synapse.mask for synapse in self.synapses[1:])], None)

    def set_masks(self, masks: Sequence[Tensor], optimiser: torch.optim.Optimizer | None) -> None:
        """Set new masks; masked weights and their moments become zero, units without synapses silent.

        Newly unmasked weights start at zero with fresh moments.

        Args:
            masks: bool, one of each weight's shape.
            optimiser: the optimiser of the weights; None if it has no state to reset.
        """
        for synapse, mask in zip(self.synapses, masks, strict=True):
            synapse.replace_mask(mask, optimiser)
        self.close_gates()

    def close_gates(self) -> None:
        """Silence exactly the units without any unmasked synapse."""
        connected = torch.stack([synapse.mask.flatten(1).any(1) for synapse in self.synapses]).any(0)
        self.unit_gate.copy_(connected)


_SYNAPSES = ("synapse", "input_synapse", "recurrent_synapse")
_slayer = functools.cache(import_slayer)


def _sigma_output() -> type:
    return _slayer().block.sigma_delta.Output  # type: ignore[no-any-return]


def synapses_of(block: Any) -> dict[str, Any]:
    """Return the trainable synapses of a SLAYER block by attribute name; empty for Pool, Flatten, Input and others."""
    base, synapse = _slayer().block.base, _slayer().synapse
    if isinstance(block, (base.AbstractPool, base.AbstractUnpool)):
        return {}
    kinds = synapse.layer.GenericLayer, synapse.complex.ComplexLayer
    items = {name: getattr(block, name, None) for name in _SYNAPSES}
    return {name: item for name, item in items.items() if isinstance(item, kinds)}


def attach_masks(model: torch.nn.Module | Iterable[torch.nn.Module]) -> list[MaskedLayer]:
    """Give every block with trainable synapses masks and a gate, all open.

    Attaching a second time returns the same masks.

    Args:
        model: a module with SLAYER blocks anywhere inside, or the blocks themselves.

    Returns:
        The masked layers, in the order in which the model lists its blocks.

    Raises:
        UnsupportedNode: for a block of another type than Dense, Conv, ConvT, Recurrent, Affine and Output.
    """
    layers, base = [], _slayer().block.base
    kinds = (
        base.AbstractDense,
        base.AbstractConv,
        base.AbstractConvT,
        base.AbstractRecurrent,
        base.AbstractAffine,
        _sigma_output(),
    )
    if isinstance(model, torch.nn.Module):
        named: Iterable[tuple[str, torch.nn.Module]] = model.named_modules()
    else:
        named = ((str(index), block) for index, block in enumerate(model))
    for name, block in named:
        synapses = synapses_of(block)
        if not synapses:
            continue
        if not isinstance(block, kinds):
            raise UnsupportedNode(
                f"{name}: expected Dense, Conv, ConvT, Recurrent or Affine, got {type(block).__name__}"
            )
        if hasattr(synapses.get("recurrent_synapse"), "weight_v"):
            raise UnsupportedNode(
                f"{name}: expected weight_norm = false in a Recurrent block, got true, with which it does not train: "
                "SLAYER's loop never recomputes the recurrent weight from g and v"
            )
        layers.append(
            MaskedLayer(name, block, [MaskedSynapse(f"{name}.{key}", item) for key, item in synapses.items()])
        )
    return layers
