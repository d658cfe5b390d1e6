"""Synaptic currents and their gradients, on tensors with channels innermost: convolution, matrix, pooling.

Tensors are (images, ..., channels) float32, contiguous; an image is one step of one sample.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn.functional import conv2d

from .. import buffers
from .event_sums import add_gradient, sums_of, tiled
from .events import Events
from .exactness import sums_are_exact
from .pooling import pool, pool_back, pooled
from .whole import WholeWeights

Tensor = torch.Tensor
_SMALL = 2**20  # multiplications; below, packing the operands of oneDNN costs more than it saves


def product(x: Tensor, w: Tensor) -> Tensor:
    """Return x @ w.T for float32 (rows, k) and (columns, k), contiguous; large ones by oneDNN, as convolutions."""
    backend: Any = torch.backends.mkldnn
    fast = x.shape[0] * w.numel() >= _SMALL and backend.is_available() and backend.enabled
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if fast else None
    result: Tensor = x @ w.t() if operator is None else operator(x, w, None, "none", [], "")
    return result


class Sums:
    """One kind of synapse with its settings."""

    @abstractmethod
    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """Return the shape of an image's currents: (..., units)."""

    def prepared(self, weight: Tensor) -> Sums:
        """Return what computes one forward pass: these sums with what its chunks share. Drop it after the last one."""
        return self

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """Return the currents: (images, ..., units). at: the place of x's first image among all images."""

    @abstractmethod
    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """Write the gradient of x into `to_x`, if any, and return that of the weight, if `to_weight`.

        Chunks come in reverse order, the first one (`at` 0) last. What they return is added up. A kind may do that
        itself: it returns None until `at` is 0, and then the sum.
        """

    def were_exact(self) -> bool:
        """Return whether the currents so far were exact in float32; most kinds are checked before they run."""
        return True


class GivenCurrents(Sums):
    """Currents that something else computed: x itself."""

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return tuple(x.shape[2:])

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        return x

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """See Sums."""
        if to_x is not None:
            to_x.copy_(gradient)
        return None


@dataclass(unsafe_hash=True)
class ConvSums(Sums):
    """A convolution; weight (units, channels / groups, height, width). whole: as in MatrixSums."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    whole: WholeWeights | None = field(default=None, compare=False)

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilation, weight.shape[2:], strict=True)]
        sizes = zip(x.shape[-3:-1], self.padding, extents, self.stride, strict=True)
        return *((n + 2 * padding - extent) // stride + 1 for n, padding, extent, stride in sizes), weight.shape[0]

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        images, geometry = x.permute(0, 3, 1, 2), (self.stride, self.padding, self.dilation)
        if self.whole is not None:
            sums = self.whole.convolution(images, geometry, self.groups)
        else:
            sums = conv2d(images, weight, None, *geometry, self.groups)
        return sums.permute(0, 2, 3, 1).contiguous()

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """See Sums."""
        images = x.permute(0, 3, 1, 2)
        if weight.shape[2:] == (1, 1) and max(self.stride) > 1:
            # torch 2.13 writes past its memory for the gradient of such a weight on channels-last images (CPU, AVX2).
            images = images.contiguous()
        gradients = torch.ops.aten.convolution_backward(
            gradient.permute(0, 3, 1, 2), images, weight, None, self.stride, self.padding,
            self.dilation, False, [0, 0], self.groups, [to_x is not None, to_weight, False],
        )  # fmt: skip
        if to_x is not None:
            to_x.copy_(gradients[0].permute(0, 2, 3, 1))
        return gradients[1] if to_weight else None


@dataclass
class MatrixSums(Sums):
    """All to all; weight (units, inputs in x's order).

    events: of all images, if they are sparse spikes. whole: the weight, if x is other spikes and 8 bits are enough.
    """

    events: Events | None = None
    whole: WholeWeights | None = None
    tiles: Tensor | None = field(default=None, compare=False)  # of weight.t(), once prepared
    _gradient: Tensor | None = field(default=None, compare=False)  # of weight.t(), over the chunks so far

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """See Sums."""
        return (weight.shape[0],)

    def prepared(self, weight: Tensor) -> Sums:
        """See Sums."""
        return self if self.events is None else replace(self, tiles=tiled(weight.t()))

    def forward(self, x: Tensor, weight: Tensor, at: int = 0) -> Tensor:
        """See Sums."""
        if self.events is not None and self.tiles is not None:
            return sums_of(self.events, at, x.shape[0], self.tiles, weight.shape[0])
        if self.whole is not None:
            return self.whole.product(x.flatten(1))
        return product(x.flatten(1), buffers.packed(weight))

    def backward(
        self, x: Tensor, weight: Tensor, gradient: Tensor, to_x: Tensor | None, to_weight: bool, at: int = 0
    ) -> Tensor | None:
        """See Sums."""
        if to_x is not None:
            to_x.copy_(product(gradient, buffers.packed(weight.t())).view(x.shape))
        if to_weight and self.events is not None:
            total = self._gradient
            if total is None:
                total = buffers.empty((weight.shape[1], weight.shape[0])).zero_()
            add_gradient(self.events, at, gradient, total)
            self._gradient = total if at else None  # more chunks follow
            return None if at else total.t()
        return product(buffers.packed(gradient.t()), buffers.packed(x.flatten(1).t())) if to_weight else None


@dataclass
class PoolSums(Sums):
    """Squares side by side times one weight, which has no gradient; the pass that reads x also bounds its values."""

    kernel: tuple[int, int]
    weight: Tensor
    before: Any = None  # the pass whose spikes are pooled, if it may go back together with this one
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
    ) -> Tensor | None:
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
        """Return the currents of all images at once."""
        ctx.sums = sums
        ctx.save_for_backward(x, weight)
        return sums.prepared(weight.detach()).forward(x.detach(), weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weight."""
        x, weight = ctx.saved_tensors
        to_x = buffers.empty(x.shape) if ctx.needs_input_grad[0] else None
        return to_x, ctx.sums.backward(x, weight, buffers.packed(gradients[0]), to_x, ctx.needs_input_grad[1]), None


# torch does not type `apply`
add: Callable[[Tensor, Tensor, Sums], Tensor] = _Add.apply
