"""How the values of a (batch, channels, ..., steps) tensor lie in memory, and moving tensors between such layouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import buffers

Tensor = torch.Tensor


@dataclass(frozen=True)
class Layout:
    """Where the neurons and steps of a (batch, channels, ..., steps) tensor are.

    order: the dimensions but steps, the slowest in memory first. by_step: steps come before all of them: memory is
    (steps, neurons). Otherwise it is (neurons, steps), which SLAYER's tensors are, with order 0, 1, 2, ...
    """

    shape: torch.Size
    order: tuple[int, ...]
    by_step: bool

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.shape[-1]

    @property
    def neurons(self) -> int:
        """Number of neurons, those of all samples."""
        return math.prod(self.shape[:-1])

    def new(self, like: Tensor) -> Tensor:
        """Return an uninitialised tensor of this layout, with the dtype and device of `like`."""
        outer = [self.shape[dim] for dim in self.order]
        sizes = [self.steps, *outer] if self.by_step else [*outer, self.steps]
        ours = like.device.type == "cpu" and like.dtype == torch.float32
        return self._unpermute(buffers.empty(sizes) if ours else like.new_empty(sizes))

    def with_steps(self, steps: int) -> Layout:
        """Return the layout of a longer or shorter run."""
        return Layout(torch.Size((*self.shape[:-1], steps)), self.order, self.by_step)

    def fit(self, tensor: Tensor) -> Tensor:
        """Return `tensor` in this layout: itself or a copy."""
        if layout_of(tensor) == self:
            return tensor.detach()
        return self.new(tensor).copy_(tensor.detach())

    def flat(self, tensor: Tensor) -> Tensor:
        """Return a tensor of this layout as (steps, neurons) or (neurons, steps), sharing memory."""
        dims = (-1, *self.order) if self.by_step else (*self.order, -1)
        sizes = (self.steps, self.neurons) if self.by_step else (self.neurons, self.steps)
        return tensor.detach().permute(dims).view(sizes)

    def flat_state(self, state: Tensor) -> Tensor:
        """Return a (batch, channels, ...) tensor, or one that expands to it, as (neurons,), contiguous."""
        return state.detach().expand(self.shape[:-1]).permute(self.order).reshape(-1).contiguous()

    def unflat_state(self, values: Tensor) -> Tensor:
        """Return one value per neuron as (batch, channels, ...), a view."""
        outer = values.view([self.shape[dim] for dim in self.order])
        return outer.permute([self.order.index(dim) for dim in range(len(self.order))])

    def channels(self, n_decays: int) -> tuple[int, int]:
        """Return (stride, count): neuron i has decay (i // stride) % count, for one decay or one per channel."""
        if n_decays == 1:
            return 1, 1
        inner = self.order[self.order.index(1) + 1 :]
        return math.prod(self.shape[dim] for dim in inner), self.shape[1]

    def _unpermute(self, memory: Tensor) -> Tensor:
        at = {dim: place + int(self.by_step) for place, dim in enumerate(self.order)}
        steps = 0 if self.by_step else len(self.order)
        return memory.permute([*(at[dim] for dim in range(len(self.order))), steps])


def layout_of(tensor: Tensor) -> Layout | None:
    """Return the layout of a (batch, channels, ..., steps) tensor; None if it is neither of the two."""
    n = tensor.dim() - 1
    if tensor.is_contiguous():
        return Layout(tensor.shape, tuple(range(n)), False)
    strides = tensor.stride()
    order = tuple(sorted(range(n), key=lambda dim: (-strides[dim], dim)))
    layout = Layout(tensor.shape, order, True)
    dims: Any = (-1, *order)
    return layout if tensor.permute(dims).is_contiguous() else None


def settle(tensor: Tensor, by_step: bool = False) -> tuple[Tensor, Layout]:
    """Return the tensor, copied if it must be, and its layout; steps are outermost if `by_step`."""
    layout = layout_of(tensor)
    if by_step and (layout is None or not layout.by_step):
        layout = Layout(tensor.shape, tuple(range(tensor.dim() - 1)), True)
        tensor = layout.fit(tensor)
    if layout is None:
        tensor = tensor.contiguous()
        layout = Layout(tensor.shape, tuple(range(tensor.dim() - 1)), False)
    return tensor, layout


def steps_first(tensor: Tensor) -> Tensor:
    """Return a (batch, channels, ..., steps) tensor as (steps, batch, ..., channels), contiguous.

    A view if it lies in memory like that, else a copy.
    """
    moved = tensor.permute(tensor.dim() - 1, 0, *range(2, tensor.dim() - 1), 1)
    ours = tensor.device.type == "cpu" and tensor.dtype == torch.float32
    if moved.is_contiguous() or not ours or (tensor.requires_grad and torch.is_grad_enabled()):
        return moved.contiguous()
    out = buffers.empty(moved.shape)
    if tensor.dim() == 3 and tensor.is_contiguous():  # torch transposes matrices faster than it permutes
        out.view(moved.shape[0], -1).copy_(tensor.detach().view(-1, moved.shape[0]).t())
        return out
    return out.copy_(moved)


def steps_last(memory: Tensor) -> Tensor:
    """Undo `steps_first`, without a copy."""
    return memory.permute(1, memory.dim() - 1, *range(2, memory.dim() - 1), 0)


class _Flat(torch.autograd.Function):
    """(batch, channels, height, width, steps) as (batch, neurons, steps), with steps outermost in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the neurons in the order of channels, height and width."""
        ctx.shape = x.shape
        moved = buffers.packed(x.permute(4, 0, 1, 2, 3))
        return steps_last(moved.view(*moved.shape[:2], -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient of x."""
        return gradients[0].reshape(ctx.shape)


flat: Callable[[Tensor], Tensor] = _Flat.apply  # torch does not type `apply`
