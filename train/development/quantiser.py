"""SLAYER's 8-bit quantiser and the mask in one pass over the weights, and one back; on CPUs, in float32.

The results are those of torch's operations bit for bit: with a scale that is a power of two, the division, the rounding
(half to even), the product and the clamp are exact. What is saved is memory traffic: torch's own way takes five passes
over a layer's weights, each a fresh tensor, which in a large dense layer take longer than the masks are worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdsnn_core.compiled import compiled

from ..slayer import autocast

LEAST, MOST = -256, 254  # SLAYER's 8-bit weights, in units of 1 / scale


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
def _backward_hearing(gradient: Any, weight: Any, mask: Any, scale: Any, signed: Any, heard: Any, out: Any) -> None:
    low, high, half, step = np.float32(-256) / scale, np.float32(254) / scale, scale / np.float32(2), 2 / scale
    for i in range(weight.size):
        value = np.float32(np.rint(weight[i] * half) * step)
        g = gradient[i]
        out[i] = g if mask[i] and low <= value <= high else np.float32(0)
        told = g if signed else abs(g)
        heard[i] += np.float32(0) if mask[i] else told


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().view(-1).numpy()


class _Quantised(torch.autograd.Function):
    """The deployed weight. The gradient of absent synapses goes into `heard` instead of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, scale: float, heard: Tensor | None, in_parts: bool) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.scale, ctx.heard, ctx.in_parts = np.float32(scale), heard, in_parts
        out = torch.empty_like(weight)
        _forward(_flat(weight), _flat(mask), ctx.scale, _flat(out))
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, mask = ctx.saved_tensors
        gradient = grad_outputs[0].contiguous()
        out = torch.empty_like(weight)
        if ctx.heard is None:
            _backward(_flat(gradient), _flat(weight), _flat(mask), ctx.scale, _flat(out))
        else:
            told = (ctx.in_parts, _flat(ctx.heard))
            _backward_hearing(_flat(gradient), _flat(weight), _flat(mask), ctx.scale, *told, _flat(out))
        return out, None, None, None, None


def scale_of(quantise: Callable[..., Tensor] | None) -> float | None:
    """Return the scale of a neuron's `quantize_8bit`; None for any other quantiser, or a scale with a mantissa."""
    if getattr(quantise, "__qualname__", "") != "Neuron.quantize_8bit":
        return None
    scale = float(getattr(getattr(quantise, "__self__", None), "w_scale", 0))
    return scale if scale > 0 and math.frexp(scale)[0] == 0.5 else None


def fits(weight: Tensor, mask: Tensor, heard: Tensor) -> bool:
    """Return whether these are tensors that the one pass takes."""
    if autocast.on_cpu() or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    return weight.is_contiguous() and mask.is_contiguous() and heard.is_contiguous()


def quantise_masked(weight: Tensor, mask: Tensor, scale: float, heard: Tensor | None, in_parts: bool) -> Tensor:
    """Return the weight on the grid of 2 / scale, clamped to -256 .. 254 of 1 / scale, zero where absent.

    weight: float32 on the CPU. mask: bool of its shape. heard: where abs(dL/dw) of absent synapses is added to, with
    its sign where in_parts; None to leave it.
    """
    result: Tensor = _Quantised.apply(weight, mask, scale, heard, in_parts)  # type: ignore[no-untyped-call]
    return result
