"""Synaptic currents on a GPU: torch's own operators on images with channels innermost, which the fused neuron takes.

Images are (images, ..., channels) float32, contiguous; an image is one step of one sample. SLAYER convolves in three
dimensions with time innermost, so each of its convolutions and neurons reads memory in the other's order. Sums are of
float32, not of TF32, which torch takes for convolutions by default: with it, weights or inputs of more than 11 bits
would give other spikes than on a CPU. The functions run on any device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import conv2d, linear, pad

Tensor = torch.Tensor
Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups of a convolution."""


def _float32() -> Any:
    return torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic, allow_tf32=False,
    )  # fmt: skip


class _Convolve(torch.autograd.Function):
    """A convolution and its gradients in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return the currents of all images."""
        ctx.geometry = geometry
        ctx.save_for_backward(x, weight)
        with _float32():
            return conv2d(x.permute(0, 3, 1, 2), weight, None, *geometry).permute(0, 2, 3, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weight."""
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        with _float32():
            to_x, to_weight, _ = torch.ops.aten.convolution_backward(
                gradients[0].permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), weight, None, stride, padding, dilation, False,
                [0, 0], groups, wanted,
            )  # fmt: skip
        return (to_x.permute(0, 2, 3, 1).contiguous() if wanted[0] else None), (to_weight if wanted[1] else None), None


# torch does not type `apply`
convolve: Callable[[Tensor, Tensor, Geometry], Tensor] = _Convolve.apply


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Return the currents (images, units) of a matrix (units, inputs in x's order).

    torch multiplies matrices in float32 unless `torch.set_float32_matmul_precision` permits less.
    """
    return linear(x.flatten(1), weight)


def pool(x: Tensor, weight: Tensor) -> Tensor:
    """Return weighted sums over squares that do not overlap; weight (height, width). Edges are filled with zeros."""
    rows, columns = weight.shape
    x = pad(x, (0, 0, 0, -x.shape[2] % columns, 0, -x.shape[1] % rows))
    images, height, width, channels = x.shape
    squares = x.view(images, height // rows, rows, width // columns, columns, channels)
    return (squares * weight.view(rows, 1, columns, 1)).sum((2, 4))
