"""The forward pass of SLAYER's CUBA blocks on tensors with time outermost in memory. Importing it imports lava-dl."""

from typing import Any

import torch
from torch.nn.utils.weight_norm import WeightNorm

from sdsnn_core.lava.compat import import_slayer

from .layout import flatten, shift
from .neuron import Neuron, is_watched
from .synapses import SYNAPSES

Tensor = torch.Tensor
_slayer: Any = import_slayer()
_block: Any = _slayer.block
_recurrent: Any = _slayer.utils.recurrent


class _Forward:
    """Replaces the forward method of a block, as an attribute of the block itself.

    The block's class stays SLAYER's, so that code that distinguishes blocks by class still works.
    """

    def __init__(self, block: Any) -> None:
        self.block = block


class BlockForward(_Forward):
    """The forward method of a Conv, Pool or Dense block."""

    def __call__(self, x: Tensor) -> Any:
        """Return what SLAYER's forward returns."""
        block = self.block
        neuron = block.neuron
        if block.count_log or getattr(block, "mask", None) is not None or type(neuron) is not Neuron:
            return type(block).forward(block, x)
        spikes = self._chunked(x)
        if spikes is None:
            spikes = neuron(block.synapse(x))
            if block.delay_shift is True:
                spikes = _block.base.step_delay(block, spikes) if neuron.persistent_state is True else shift(spikes)
        return spikes if block.delay is None else block.delay(spikes)

    def _chunked(self, x: Tensor) -> Tensor | None:
        """Return the spikes by way of chunked.py, or None where hooks or SLAYER's own passes are needed."""
        synapse = self.block.synapse
        before = list(synapse._forward_pre_hooks.values())
        ours = type(synapse) in SYNAPSES.values() and all(isinstance(hook, WeightNorm) for hook in before)
        if not ours or x.device.type != "cpu" or synapse._forward_hooks or is_watched(synapse):
            return None
        for hook in before:  # weight normalisation computes the weight anew
            hook(synapse, (x,))
        plan = synapse.plan(x, synapse.quantised())
        spikes: Tensor | None = None if plan is None else self.block.neuron.behind(plan, self.block.delay_shift is True)
        return spikes


class RecurrentForward(_Forward):
    """The forward method of a Recurrent block: its loop over steps in one pass."""

    def __call__(self, x: Tensor) -> Any:
        """Return what SLAYER's forward returns."""
        block = self.block
        neuron = block.neuron
        if block.count_log or block.bias is not None or type(neuron) is not Neuron:
            return type(block).forward(block, x)
        z = block.input_synapse(x)
        synapse = block.recurrent_synapse  # its forward hooks are not run in SLAYER either
        weights = synapse.weight.reshape(synapse.weight.shape[:2])
        weights = weights if synapse.pre_hook_fx is None else synapse.pre_hook_fx(weights)
        spikes = neuron.loop(z, weights)
        if spikes is None:
            spikes = _recurrent.CustomRecurrent.apply(z, neuron, weights)
        # As in SLAYER, which carries on a value that was put there, but adds nothing to it.
        held = torch.zeros(z.shape[:-1], device=z.device)
        same_batch = z.shape[0] == block.spike_state.shape[0]
        block.spike_state = held + block.spike_state if same_batch else held
        if block.delay_shift is True:
            spikes = shift(spikes)
        return spikes if block.delay is None else block.delay(spikes)


class FlattenForward(_Forward):
    """The forward method of a Flatten block: keeps time outermost in memory."""

    def __call__(self, x: Tensor) -> Any:
        """Return (batch, neurons, steps)."""
        block = self.block
        time_outermost = x.dim() == 5 and not x.is_contiguous() and x.permute(4, 0, 2, 3, 1).is_contiguous()
        if block.count_log or not time_outermost:
            return type(block).forward(block, x)
        if block.shape is None:
            block.shape = [x.shape[1:4].numel(), 1, 1]
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return flatten(x)
        return x.permute(4, 0, 1, 2, 3).flatten(2).permute(1, 2, 0)


FORWARDS: dict[type, type] = {
    _block.cuba.Conv: BlockForward,
    _block.cuba.Pool: BlockForward,
    _block.cuba.Dense: BlockForward,
    _block.cuba.Flatten: FlattenForward,
    _block.cuba.Recurrent: RecurrentForward,
}
