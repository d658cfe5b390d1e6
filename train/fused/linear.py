"""Products of matrices through oneDNN, which torch uses for its convolutions, and on some processors for these too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
_SMALL = 2**20  # multiplications; below, packing the operands costs more than it saves


def _onednn() -> Any:
    """Return oneDNN's x @ w.T as torch has it, or None."""
    backend: Any = torch.backends.mkldnn
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None) if backend.is_available() and backend.enabled else None


def product(x: Tensor, w: Tensor) -> Tensor:
    """Return x @ w.T for float32 (rows, k) and (columns, k), contiguous."""
    operator = _onednn() if x.shape[0] * w.numel() >= _SMALL else None
    if operator is None:
        return x @ w.t()
    result: Tensor = operator(x, w, None, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    """x @ w.T and its gradients, each as one product of two contiguous matrices along their rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        """Return x @ w.T."""
        x, w = x.contiguous(), w.contiguous()
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)
        return product(x, w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and w."""
        x, w = ctx.saved_tensors
        gradient = gradients[0]
        to_x = None if w is None else product(gradient.contiguous(), w.t().contiguous())
        to_w = None if x is None else product(gradient.t().contiguous(), x.t().contiguous())
        return to_x, to_w


# torch does not type `apply`
linear: Callable[[Tensor, Tensor], Tensor] = _Linear.apply
