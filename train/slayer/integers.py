"""The integers behind SLAYER's floats: weights, decays, biases, delays, and the voltage that a bias starts from."""

import math
from typing import Any, Final

import numpy as np
import torch

from sdsnn_core.arithmetic import STATE_LIMIT, before_decay
from sdsnn_core.errors import UnsupportedNode, one_line
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import DECAY_UNITY, WEIGHT_MAX, WEIGHT_MIN, Shape

Array = np.ndarray[Any, np.dtype[Any]]
INPUT_MAX: Final = 3  # SLAYER's quantize_8bit clips an input's values as it does weights, to -4..3.96875


def integers_of(layer: Any, block: Any) -> Array:
    """Return the quantised, masked weights of a synapse layer of a block as integers (out, in, kh, kw, 1)."""
    with torch.no_grad():
        hook = layer.pre_hook_fx
        if hook is None:
            raise UnsupportedNode(
                "its synapse: expected SLAYER's quantize_8bit as pre_hook_fx, got no quantiser; leave the default"
            )
        scaled = norm_exponent(block.neuron)
        # Under weight normalisation `weight` is of the last forward pass; compute it from its parameters.
        for pre_hook in layer._forward_pre_hooks.values():
            pre_hook(layer, None)
        try:
            weight = (
                (hook(layer.weight) * (block.neuron.w_scale * 2.0 ** (scaled - exponent_of(block))))
                .detach()
                .cpu()
                .double()
                .numpy()
            )
        except Exception as error:  # the user's own function
            raise UnsupportedNode(f"its quantiser {_name(hook)}: {type(error).__name__}: {one_line(error)}") from None
    rounded = np.rint(weight)
    if weight.shape != tuple(layer.weight.shape) or not np.isfinite(weight).all():
        raise UnsupportedNode(f"its quantiser {_name(hook)}: expected finite weights of one shape, got others")
    if scaled < 0 and not np.array_equal(weight, rounded):
        raise UnsupportedNode(
            f"its WgtScaleBatchNorm: expected weights that stay integers times 2**{scaled}, its scale, got others"
        )
    if not np.array_equal(weight, rounded):
        worst = weight.flat[int(np.abs(weight - rounded).argmax())] / block.neuron.w_scale
        raise UnsupportedNode(
            f"its quantiser {_name(hook)}: expected weights that are multiples of 1/{block.neuron.w_scale}, "
            f"got {worst:.6g}; leave the default, quantize_8bit"
        )
    if rounded.size and (rounded.min() < WEIGHT_MIN or rounded.max() > WEIGHT_MAX):
        raise UnsupportedNode(
            f"its quantiser {_name(hook)}: expected weights of {WEIGHT_MIN}/{block.neuron.w_scale}.."
            f"{WEIGHT_MAX}/{block.neuron.w_scale}, got {rounded.min():.0f}..{rounded.max():.0f} of these units"
        )
    integers: Array = rounded.astype(np.int64)
    return integers


def parts_of(synapse: Any) -> list[tuple[Any, bool]]:
    """Return a synapse as layers of real weights, each with whether they are the imaginary part."""
    return [(synapse.real, False), (synapse.imag, True)] if synapse.complex else [(synapse, False)]


def exponent_of(block: Any) -> int:
    """Return the exponent of two that stands beside a block's integer weights, 0 for most.

    It is the sum of the quantiser's and the norm's. A negative sum is part of the integers instead.
    """
    synapse = getattr(block, "synapse", None)
    hook = None if synapse is None else parts_of(synapse)[0][0].pre_hook_fx
    own = int(getattr(getattr(hook, "quantise", hook), "exponent", 0))
    return max(own + norm_exponent(getattr(block, "neuron", None)), 0)


def norm_exponent(neuron: Any) -> int:
    """Return the exponent of two by which a neuron's WgtScaleBatchNorm multiplies, 0 without one.

    Raises:
        UnsupportedNode: a part of the current is carried over, whose rounding the factor would change.
    """
    norm = getattr(neuron, "norm", None)
    if not _cuba(neuron) or not isinstance(norm, import_slayer().neuron.norm.WgtScaleBatchNorm):
        return 0
    if not np.isin(neuron.cx_current_decay, (0, DECAY_UNITY)).all():
        raise UnsupportedNode(
            "norm: expected current_decay 1 or 0 with WgtScaleBatchNorm, which scales the decayed current, got "
            f"{float(np.max(neuron.cx_current_decay)) / DECAY_UNITY:.4g}; scaled weights would round otherwise"
        )
    with torch.no_grad():
        return -round(math.log2(float(norm.std(norm.running_var))))


def _cuba(neuron: Any) -> bool:
    return isinstance(neuron, import_slayer().neuron.cuba.Neuron)


def _name(hook: Any) -> str:
    """Return the name of a quantiser, of the one under sdsnn's mask too."""
    inner = getattr(hook, "quantise", None) or hook
    return str(getattr(inner, "__name__", type(inner).__name__))


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
    leaky = hasattr(block.neuron, "cx_current_decay")
    if bias and leaky and (np.asarray(block.neuron.cx_current_decay) != DECAY_UNITY).any():
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
    slayer = import_slayer().neuron
    known = (slayer.norm.MeanOnlyBatchNorm, *([slayer.norm.WgtScaleBatchNorm] if _cuba(neuron) else []))
    if not isinstance(neuron.norm, known):
        expected = " or ".join(kind.__name__ for kind in known)
        raise UnsupportedNode(f"norm: expected {expected}, got {type(neuron.norm).__name__}")
    with torch.no_grad():
        bias = neuron.norm.bias.detach().cpu().double().numpy()
    if not np.array_equal(bias, np.rint(bias)):
        raise UnsupportedNode("its norm: expected a quantised bias, got one that is not an integer")
    result = per_channel(bias, shape)
    if gate is not None and not bool(gate.all()):  # a gated unit is silent, whatever its bias
        result = np.broadcast_to(result, (shape[0], *result.shape[1:])) * per_channel(gate.cpu().numpy(), shape)
    return result


def initial_voltage(
    bias: Array, voltage_decay: Array, threshold: int, late: Array | int = 0, exponent: int = 6
) -> Array:
    """Return the voltage from which 1 + `late` steps of bias alone lead exactly to zero.

    Solves sign(v) * (|v| * (4096 - d) >> 12) = -b by |v| = ceil(|b| * 4096 / (4096 - d)), once per step, where b is
    bias * 2**exponent. With d = 4096 nothing carries over, and no remedy is needed unless the bias alone fires.
    """
    bias, decay, late = np.broadcast_arrays(bias, voltage_decay, late)
    drive = bias * 2**exponent
    if ((decay == DECAY_UNITY) & (drive > 64 * threshold)).any():
        raise UnsupportedNode(
            "a bias above the threshold with a voltage decay of 1 fires before the first input can arrive, "
            "which SLAYER does not do"
        )
    voltage = before_decay(-drive, decay)
    for step in range(int(late.max(initial=0))):
        earlier = late > step
        if (earlier & ((voltage > 64 * threshold) | (np.abs(voltage) >= STATE_LIMIT))).any():
            raise UnsupportedNode(
                "expected no bias beside axonal delays on an output, got one that acts before the input"
            )
        voltage = np.where(earlier, before_decay(voltage - drive, decay), voltage)
    return voltage


def axonal_delay(block: Any) -> Array:
    """Return the whole steps by which a block delays its axons, () or (channels,) int64."""
    return np.zeros((), np.int64) if block.delay is None else steps_of(block.delay)


def steps_of(delay: Any) -> Array:
    """Return the whole steps of SLAYER's axonal delay, (channels,) int64."""
    steps = np.floor(delay.delay.detach().cpu().double().numpy()).astype(np.int64)
    return np.asarray(np.clip(steps, 0, delay.max_delay))
