"""Tensors with time outermost and channels innermost in memory, and moving to and from that layout."""

from collections.abc import Callable
from typing import Any

import torch

from . import buffers
from .kernels.threads import run_rows
from .kernels.transpose import steps_outermost, transpose_images

Tensor = torch.Tensor
_VIEWS = ("PermuteBackward0", "ViewBackward0", "UnsafeViewBackward0")


def time_major(tensor: Tensor) -> Tensor:
    """Return a (batch, channels, ..., steps) tensor as (steps, batch, ..., channels), contiguous.

    A view if it lies in memory like that, else a copy.
    """
    moved = tensor.permute(tensor.dim() - 1, 0, *range(2, tensor.dim() - 1), 1)
    ours = tensor.device.type == "cpu" and tensor.dtype == torch.float32
    if moved.is_contiguous() or not ours or (tensor.requires_grad and torch.is_grad_enabled()):
        return moved.contiguous()
    out = buffers.empty(moved.shape)
    if tensor.dim() == 5 and tensor.is_contiguous():
        source = tensor.detach().flatten(2, 3).numpy()
        run_rows(steps_outermost, len(source), tensor.numel(), source, out.flatten(2, 3).numpy(), share=1)
        return out
    if tensor.dim() == 3 and tensor.is_contiguous():  # torch transposes matrices faster than it permutes
        out.view(moved.shape[0], -1).copy_(tensor.detach().view(-1, moved.shape[0]).t())
        return out
    return out.copy_(moved)


def time_last(memory: Tensor) -> Tensor:
    """Undo `time_major`, without a copy."""
    return memory.permute(1, memory.dim() - 1, *range(2, memory.dim() - 1), 0)


def node_behind(x: Tensor) -> Any:
    """Return the autograd node that made images (batch, channels, height, width, steps), behind views of its result.

    None if somebody watches the tensor's gradient, or if the views moved the axes: then memory is not (steps, batch,
    height, width, channels).
    """
    if x._backward_hooks or x.retains_grad or not x.permute(4, 0, 2, 3, 1).is_contiguous():
        return None
    node: Any = x.grad_fn
    while node is not None and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    return node


def _transpose(x: Tensor, out: Tensor) -> None:
    """out = x with its last two axes exchanged; (steps, samples, ...), contiguous."""
    run_rows(transpose_images, x[..., 0, 0].numel(), x.numel(), x.flatten(0, 1).numpy(), out.flatten(0, 1).numpy())


class _Flatten(torch.autograd.Function):
    """(batch, channels, height, width, steps) as (batch, neurons, steps), with time outermost in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the neurons in the order of channels, height and width."""
        ctx.shape = x.shape
        memory = time_major(x.detach())
        out = buffers.empty((*memory.shape[:2], memory[0, 0].numel()))
        _transpose(memory.flatten(2, 3), out.view(*memory.shape[:2], memory.shape[4], -1))
        return time_last(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient of x."""
        samples, channels, height, width, steps = ctx.shape
        memory = time_major(gradients[0].detach())
        out = buffers.empty((steps, samples, height, width, channels))
        _transpose(memory.view(steps, samples, channels, -1), out.flatten(2, 3))
        return time_last(out)


class _Shift(torch.autograd.Function):
    """One step later, layout kept: the first step is silent, the last one lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return x shifted."""
        out = torch.empty_like(x)  # strides are kept, for x is dense
        out[..., 1:] = x[..., :-1]
        out[..., 0] = 0
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient shifted back."""
        out = torch.empty_like(gradients[0])
        out[..., :-1] = gradients[0][..., 1:]
        out[..., -1] = 0
        return out


# torch does not type `apply`
flatten: Callable[[Tensor], Tensor] = _Flatten.apply
shift: Callable[[Tensor], Tensor] = _Shift.apply
