"""The CUBA neuron of lava-dl SLAYER, fused: current, voltage, spike and reset in one pass, and back in one pass.

    fuse(model)      replace the neurons of all CUBA blocks, in place
    unfuse(model)    undo it
    Neuron           the neuron itself, a subclass of lava-dl's; looking it up imports lava-dl

Spikes, currents and voltages are SLAYER's bit for bit, gradients agree to float32 rounding: docs/fused_neuron.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .neuron import Neuron

__all__ = ["Neuron", "fuse", "unfuse"]


def __getattr__(name: str) -> Any:
    if name == "Neuron":
        from .neuron import Neuron

        return Neuron
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def fuse(model: torch.nn.Module) -> int:
    """Give every CUBA neuron in a model fused passes, in place: the same spikes, several times as fast.

    The synapses and forward passes of the CUBA blocks change with them, to those that keep time outermost in memory.
    All objects stay the same, with their parameters, buffers, hooks and state_dict keys, so optimisers and checkpoints
    stay valid in both directions. Neurons of other kinds and subclasses of SLAYER's stay as they are.

    Args:
        model: a module that holds SLAYER blocks, or a block, synapse or neuron itself.

    Returns:
        The number of neurons that changed.

    Examples:
        >>> import sdsnn
        >>> from sdsnn_core.lava.compat import import_slayer
        >>> neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        >>> sdsnn.fuse(import_slayer().block.cuba.Dense(neuron, 4, 3))
        1
    """
    from .blocks import FORWARDS
    from .neuron import Neuron, SlayerNeuron
    from .synapses import SYNAPSES

    changed = _swap(model, {SlayerNeuron: Neuron})
    for block in model.modules():
        neuron = getattr(block, "neuron", None)
        if type(neuron) is Neuron:
            for synapse in block.children():
                _swap(synapse, SYNAPSES)
        if type(block) in FORWARDS and (neuron is None or type(neuron) is Neuron):
            block.__dict__.setdefault("forward", FORWARDS[type(block)](block))
    return changed


def unfuse(model: torch.nn.Module) -> int:
    """Undo `fuse`; return the number of neurons that changed."""
    from .blocks import FORWARDS
    from .neuron import Neuron, SlayerNeuron
    from .synapses import SYNAPSES

    for block in model.modules():
        if isinstance(block.__dict__.get("forward"), tuple(FORWARDS.values())):
            del block.__dict__["forward"]
    _swap(model, {new: old for old, new in SYNAPSES.items()})
    return _swap(model, {Neuron: SlayerNeuron})


def _swap(model: torch.nn.Module, classes: dict[type, type]) -> int:
    """Change the class of the modules that are exactly one of `classes`: bound methods stay valid."""
    chosen = [module for module in model.modules() if type(module) in classes]
    for module in chosen:
        module.__class__ = classes[type(module)]
    return len(chosen)
