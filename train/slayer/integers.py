"""The integers behind SLAYER's floats: weights, decays, biases, delays, and the voltage that a bias starts from."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from sdsnn_core.arithmetic import before_decay
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import DECAY_UNITY, Shape

Array = np.ndarray[Any, np.dtype[Any]]
INPUT_MAX: Final = 3  # SLAYER's quantize_8bit clips an input's values as it does weights, to -4..3.96875


def integers_of(layer: Any) -> Array:
    """Return the quantised, masked weights of a synapse layer as integers (out, in, kh, kw, 1)."""
    with torch.no_grad():
        hook = layer.pre_hook_fx
        if hook is None:
            raise UnsupportedNode("its synapse: expected SLAYER's quantize_8bit as pre_hook_fx, got no quantiser")
        # Under weight normalisation `weight` is of the last forward pass; compute it from its parameters.
        for pre_hook in layer._forward_pre_hooks.values():
            pre_hook(layer, None)
        weight = hook(layer.weight, descale=True).detach().cpu().double().numpy()
    rounded = np.rint(weight)
    if not np.array_equal(weight, rounded):
        raise UnsupportedNode("its quantiser: expected weights that are integers, got others")
    integers: Array = rounded.astype(np.int64)
    return integers


def input_integers(block: Any) -> tuple[int, int]:
    """Return weight and bias of an Input block with neurons, in 1/64.

    SLAYER adds the bias to the drive, a Population to its voltage: the same only where the current forgets at once.
    """

    def whole(parameter: torch.Tensor | None, default: int) -> int:
        if parameter is None:
            return default
        with torch.no_grad():
            value = float(block.pre_hook_fx(parameter, descale=True).reshape(-1)[0])
        if value != round(value):
            raise UnsupportedNode("its quantiser: expected values that are integers, got others")
        return round(value)

    bias = whole(block.bias, 0)
    if bias and (np.asarray(block.neuron.cx_current_decay) != DECAY_UNITY).any():
        raise UnsupportedNode("bias: expected no bias, or current_decay 1, got a bias that passes through the current")
    return whole(block.weight, 64), bias


def per_channel(values: Any, shape: Shape) -> Array:
    """Return a scalar, or one value per channel shaped to broadcast over `shape`."""
    array = np.atleast_1d(np.asarray(values)).astype(np.int64)
    if array.size == 1:
        return array.reshape(())
    if array.size != shape[0]:
        raise UnsupportedNode(f"expected one value, or one for each of {shape[0]} channels, got {array.size}")
    return array.reshape(-1, *(1,) * (len(shape) - 1))


def decays_of(neuron: Any, shape: Shape) -> tuple[Array, Array]:
    """Return current and voltage decay, one value or one per channel."""
    return per_channel(neuron.cx_current_decay, shape), per_channel(neuron.cx_voltage_decay, shape)


def bias_of(neuron: Any, shape: Shape, gate: torch.Tensor | None) -> Array:
    """Return the bias in 1/64 that a norm stands for, one value or one per channel; 0 for units behind a shut gate."""
    if neuron.norm is None:
        return np.zeros((), np.int64)
    if not isinstance(neuron.norm, import_slayer().neuron.norm.MeanOnlyBatchNorm):
        raise UnsupportedNode(
            f"norm: expected MeanOnlyBatchNorm, got {type(neuron.norm).__name__}, whose scale is not exact"
        )
    with torch.no_grad():
        bias = neuron.norm.bias.detach().cpu().double().numpy()
    if not np.array_equal(bias, np.rint(bias)):
        raise UnsupportedNode("its norm: expected a quantised bias, got one that is not an integer")
    result = per_channel(bias, shape)
    if gate is not None and not bool(gate.all()):  # a gated unit is silent, whatever its bias
        result = np.broadcast_to(result, (shape[0], *result.shape[1:])) * per_channel(gate.cpu().numpy(), shape)
    return result


def initial_voltage(bias: Array, voltage_decay: Array, threshold: int) -> Array:
    """Return the voltage from which one step of bias alone leads exactly to zero.

    Solves sign(v) * (|v| * (4096 - d) >> 12) = -64 * bias by |v| = ceil(64 |bias| * 4096 / (4096 - d)).
    With d = 4096 nothing carries over, and no remedy is needed unless the bias alone fires.
    """
    bias, decay = np.broadcast_arrays(bias, voltage_decay)
    if ((decay == DECAY_UNITY) & (bias > threshold)).any():
        raise UnsupportedNode(
            "a bias above the threshold with a voltage decay of 1 fires before the first input can arrive, "
            "which SLAYER does not do"
        )
    return before_decay(-64 * bias, decay)


def axonal_delay(block: Any) -> Array:
    """Return the whole steps by which a block delays its axons, () or (channels,) int64."""
    if block.delay is None:
        return np.zeros((), np.int64)
    steps = np.floor(block.delay.delay.detach().cpu().double().numpy()).astype(np.int64)
    return np.asarray(np.clip(steps, 0, block.delay.max_delay))
