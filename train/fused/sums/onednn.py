"""Matrix products by oneDNN, which torch uses for its convolutions, and on some processors for matrices."""

from __future__ import annotations

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
