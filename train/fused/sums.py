"""What synapses add up, and its gradients, on tensors with channels innermost: convolution, matrix, pooling.

Tensors are (images, ..., channels) float32, contiguous; an image is one step of one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn.functional import conv2d

from . import buffers
from .events import Events, gradient_of, sums_of
from .exact import sums_are_exact
from .linear import product
from .pooling import pool, pool_back, pooled

Tensor = torch.Tensor
Found = Tensor | None


class Sums(Protocol):
    """One kind of synapse with its settings."""

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """Return the shape of an image's sums: (..., units)."""

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """Return the sums: (images, ..., units). at: the place of x's first image among all images."""

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Found:
        """Write the gradient of x into `to_x`, if that is given, and return that of the weight, if asked for."""

    def were_exact(self) -> bool:
        """Return whether the sums so far were exact in float32."""


@dataclass
class ConvSums:
    """A convolution; weight (units, channels / groups, height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, weight.shape[2:], strict=True)]
        sizes = zip(x.shape[-3:-1], self.padding, spans, self.stride, strict=True)
        return *((n + 2 * padding - span) // stride + 1 for n, padding, span, stride in sizes), weight.shape[0]

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        sums = conv2d(x.permute(0, 3, 1, 2), weight, None, self.stride, self.padding, self.dilation, self.groups)
        return sums.permute(0, 2, 3, 1).contiguous()

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Found:
        """See Sums."""
        found = torch.ops.aten.convolution_backward(
            gradient.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), weight, None, self.stride, self.padding,
            self.dilation, False, [0, 0], self.groups, [to_x is not None, to_weight, False],
        )  # fmt: skip
        if to_x is not None:
            to_x.copy_(found[0].permute(0, 2, 3, 1))
        return found[1] if to_weight else None

    def were_exact(self) -> bool:
        """Say yes: synapses.py looks before."""
        return True


@dataclass
class MatrixSums:
    """All to all; weight (units, inputs in x's order). events: of all images, if they are sparse spikes."""

    events: Events | None = None

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return (weight.shape[0],)

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        if self.events is not None:
            return sums_of(self.events, at, x.shape[0], buffers.packed(weight.t()))
        return product(x.flatten(1), buffers.packed(weight))

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Found:
        """See Sums."""
        if to_x is not None:
            to_x.copy_(product(gradient, buffers.packed(weight.t())).view(x.shape))
        if to_weight and self.events is not None:
            return gradient_of(self.events, at, gradient, weight.shape[1]).t()
        return product(buffers.packed(gradient.t()), buffers.packed(x.flatten(1).t())) if to_weight else None

    def were_exact(self) -> bool:
        """Say yes: synapses.py looks before."""
        return True


@dataclass
class PoolSums:
    """Squares side by side times one weight, which has no gradient; x is looked at while it is read."""

    kernel: tuple[int, int]
    weight: Tensor
    bound: int = 0

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return pooled(x.shape, self.kernel)

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        out, bound = pool(x, float(weight.view(-1)[0]), self.kernel)
        self.bound = -1 if min(bound, self.bound) < 0 else max(bound, self.bound)
        return out

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Found:
        """See Sums."""
        if to_x is not None:
            pool_back(gradient, float(weight.view(-1)[0]), self.kernel, to_x)
        return None

    def were_exact(self) -> bool:
        """See Sums."""
        return sums_are_exact(self.weight, self.bound)


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sums: Sums) -> Tensor:
        """Return the sums over all images at once."""
        ctx.sums = sums
        ctx.save_for_backward(x, weight)
        return sums.forward(x.detach(), weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weight."""
        x, weight = ctx.saved_tensors
        to_x = buffers.empty(x.shape) if ctx.needs_input_grad[0] else None
        return to_x, ctx.sums.backward(x, weight, buffers.packed(gradients[0]), to_x, ctx.needs_input_grad[1]), None


# torch does not type `apply`
add: Callable[[Tensor, Tensor, Sums], Tensor] = _Add.apply
