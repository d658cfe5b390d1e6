"""SLAYER's 8-bit quantiser and the mask in one pass over the weights, forward and backward; on CPUs, in float32.

The results are bit for bit those of torch's operations: with a scale that is a power of two, the division, the rounding
(half to even), the product and the clamp are exact. One pass saves memory traffic: torch's operations take five passes
over a layer's weights, each with a new tensor.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.system.compiled import compiled

from ..slayer import autocast


@compiled
def _forward(weight: Any, mask: Any, scale: Any, out: Any) -> None:
    low, high, half, step = np.float32(-256) / scale, np.float32(254) / scale, scale / np.float32(2), 2 / scale
    for i in range(weight.size):
        value = np.float32(np.rint(weight[i] * half) * step)
        value = low if value < low else value
        value = high if value > high else value
        out[i] = value if mask[i] else np.float32(0)


@compiled
def _backward(gradient: Any, weight: Any, mask: Any, scale: Any, out: Any) -> None:
    low, high, half, step = np.float32(-256) / scale, np.float32(254) / scale, scale / np.float32(2), 2 / scale
    for i in range(weight.size):
        value = np.float32(np.rint(weight[i] * half) * step)
        out[i] = gradient[i] if mask[i] and low <= value <= high else np.float32(0)


@compiled
def _backward_and_sum(gradient: Any, weight: Any, mask: Any, scale: Any, signed: Any, sums: Any, out: Any) -> None:
    low, high, half, step = np.float32(-256) / scale, np.float32(254) / scale, scale / np.float32(2), 2 / scale
    for i in range(weight.size):
        value = np.float32(np.rint(weight[i] * half) * step)
        g = gradient[i]
        out[i] = g if mask[i] and low <= value <= high else np.float32(0)
        score = g if signed else abs(g)
        sums[i] += np.float32(0) if mask[i] else score


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().view(-1).numpy()


class _Quantised(torch.autograd.Function):
    """The deployed weight; the gradient of masked weights is added to `sums` and does not reach the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, scale: float, sums: Tensor | None, signed: bool) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.scale, ctx.sums, ctx.signed = np.float32(scale), sums, signed
        out = torch.empty_like(weight)
        _forward(_flat(weight), _flat(mask), ctx.scale, _flat(out))
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, mask = ctx.saved_tensors
        gradient = grad_outputs[0].contiguous()
        out = torch.empty_like(weight)
        inputs = (_flat(gradient), _flat(weight), _flat(mask), ctx.scale)
        if ctx.sums is None:
            _backward(*inputs, _flat(out))
        else:
            _backward_and_sum(*inputs, ctx.signed, _flat(ctx.sums), _flat(out))
        return out, None, None, None, None


def scale_of(quantise: Callable[..., Tensor] | None) -> float | None:
    """Return the scale of a SLAYER neuron's `quantize_8bit`; None for another quantiser or no power of two."""
    if not inspect.ismethod(quantise) or quantise.__func__ is not _slayer_quantiser():
        return None
    scale = float(quantise.__self__.w_scale)  # type: ignore[attr-defined]
    return scale if scale > 0 and math.frexp(scale)[0] == 0.5 else None


@functools.cache
def _slayer_quantiser() -> Any:
    return import_slayer().neuron.base.Neuron.quantize_8bit


def fits(weight: Tensor, mask: Tensor, sums: Tensor) -> bool:
    """Return True for tensors that `quantise_masked` takes."""
    if autocast.is_on("cpu") or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    return weight.is_contiguous() and mask.is_contiguous() and sums.is_contiguous()


def quantise_masked(weight: Tensor, mask: Tensor, scale: float, sums: Tensor | None, signed: bool) -> Tensor:
    """Return the weight rounded to multiples of 2 / scale, clamped to -256..254 times 1 / scale, zero where masked.

    Args:
        weight: float32, on the CPU.
        mask: bool, of the weight's shape.
        scale: a power of two.
        sums: tensor to which the backward pass adds abs(dL/dw) of masked weights; None to skip that.
        signed: add dL/dw instead.
    """
    result: Tensor = _Quantised.apply(weight, mask, scale, sums, signed)  # type: ignore[no-untyped-call]
    return result
