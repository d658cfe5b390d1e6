"""The forward pass of SLAYER's CUBA blocks on tensors with steps outermost in memory. Importing it imports lava-dl."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.weight_norm import WeightNorm

from sdsnn_core.lava.compat import import_slayer

from .functions import shift
from .layout import flat, layout_of
from .neuron import Neuron, is_watched
from .synapses import SYNAPSES

Tensor = torch.Tensor
_slayer: Any = import_slayer()
_block: Any = _slayer.block
_recurrent: Any = _slayer.utils.recurrent


class BlockForward:
    """Stands in for the forward method of a Conv, Pool or Dense block, as an attribute of the block itself.

    The block's class stays SLAYER's, so that whoever asks for it finds what it was.
    """

    def __init__(self, block: Any) -> None:
        self.block = block

    def __call__(self, x: Tensor) -> Any:
        """Return what SLAYER's forward returns."""
        block = self.block
        neuron = block.neuron
        if block.count_log or getattr(block, "mask", None) is not None or type(neuron) is not Neuron:
            return type(block).forward(block, x)
        if block.delay_shift is True:
            spikes = self._at_once(x)
            if spikes is not None:
                return spikes if block.delay is None else block.delay(spikes)
        z = block.synapse(x)
        if block.delay_shift is not True:
            x = neuron(z)
        elif neuron.can_be_late(z):
            x = neuron(z, late=True)
        else:
            x = self._step_delay(neuron(z))
        return x if block.delay is None else block.delay(x)

    def _at_once(self, x: Tensor) -> Tensor | None:
        """Return the shifted spikes by way of through.py, or None where somebody wants to see what is between."""
        synapse = self.block.synapse
        before = list(synapse._forward_pre_hooks.values())
        ours = type(synapse) in SYNAPSES.values() and all(isinstance(hook, WeightNorm) for hook in before)
        if not ours or x.device.type != "cpu" or synapse._forward_hooks or is_watched(synapse):
            return None
        for hook in before:  # weight normalisation makes the weight anew
            hook(synapse, (x,))
        plan = synapse.plan(x, synapse.quantised())
        found: Tensor | None = None if plan is None else self.block.neuron.behind(plan)
        return found

    def _step_delay(self, spikes: Tensor) -> Tensor:
        layout = layout_of(spikes)
        if layout is None or not layout.by_step or self.block.neuron.persistent_state is True:
            shifted: Tensor = _block.base.step_delay(self.block, spikes)
            return shifted
        return shift(spikes)


class RecurrentForward:
    """Stands in for the forward method of a Recurrent block: its loop over steps in one pass."""

    def __init__(self, block: Any) -> None:
        self.block = block

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
        found = neuron.loop(z, weights)
        if found is None:
            found = _recurrent.CustomRecurrent.apply(z, neuron, weights)
        # As in SLAYER, which carries what was put there on, but adds nothing to it.
        held = torch.zeros(z.shape[:-1], device=z.device)
        same_batch = z.shape[0] == block.spike_state.shape[0]
        block.spike_state = held + block.spike_state if same_batch else held
        if block.delay_shift is True:
            found = shift(found)
        return found if block.delay is None else block.delay(found)


class FlattenForward:
    """Stands in for the forward method of a Flatten block: keeps steps outermost where they were."""

    def __init__(self, block: Any) -> None:
        self.block = block

    def __call__(self, x: Tensor) -> Any:
        """Return (batch, neurons, steps)."""
        block = self.block
        layout = layout_of(x) if x.dim() == 5 else None
        if block.count_log or layout is None or not layout.by_step:
            return type(block).forward(block, x)
        if block.shape is None:
            block.shape = [x.shape[1:4].numel(), 1, 1]
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return flat(x)
        return x.permute(4, 0, 1, 2, 3).flatten(2).permute(1, 2, 0)


FORWARDS: dict[type, type] = {
    _block.cuba.Conv: BlockForward,
    _block.cuba.Pool: BlockForward,
    _block.cuba.Dense: BlockForward,
    _block.cuba.Flatten: FlattenForward,
    _block.cuba.Recurrent: RecurrentForward,
}
