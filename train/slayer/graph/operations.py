"""What each operation of torch makes of followed spikes: rules by the operation's name."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from .types import Followed, Lost

# -- rules of operations: (tracer, function, args, kwargs) -> the value of the result ---------------------------------


def _move(tracer: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return tracer.move(func, args, kwargs)


def _join(tracer: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return tracer.move(func, args, kwargs, joins=True)


def _same(tracer: Any, _func: Any, args: Any, _kwargs: Any) -> Any:
    return tracer.value(args[0])


def _zeros(_tracer: Any, _func: Any, _args: Any, _kwargs: Any) -> Any:
    return Followed(())


def _dropout(tracer: Any, func: Any, args: Any, kwargs: Any) -> Any:
    names = ("input", "p", "training", "inplace")
    bound = {"training": True, **dict(zip(names, args, strict=False)), **kwargs}
    if bound.get("train", bound["training"]):
        return tracer.lost(f"{tracer.name(func)} in training mode", [bound["input"]])
    return tracer.value(bound["input"])


def _pad(tracer: Any, func: Any, args: Any, kwargs: Any) -> Any:
    value = kwargs.get("value", args[3] if len(args) > 3 else None)
    return tracer.move(func, args, kwargs) if value in (None, 0) else None


def _add(tracer: Any, func: Any, args: Any, kwargs: Any) -> Any:
    left, right = args[0], args[1] if len(args) > 1 else kwargs.get("other")
    if kwargs.get("alpha", 1) != 1:
        return None
    numbers = [item for item in (left, right) if not isinstance(item, Tensor)]
    tensors = [item for item in (left, right) if isinstance(item, Tensor)]
    if any(number != 0 for number in numbers):
        return None
    values = [tracer.value(tensor) for tensor in tensors]
    if any(isinstance(value, Lost) for value in values):
        return tracer.lost(next(value.by for value in values if isinstance(value, Lost)), tensors)
    terms = [term for value in values for term in value.terms]
    shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))
    return Followed(tuple(term.broadcast_to(shape) for term in terms))


def _sum(tracer: Any, _func: Any, args: Any, kwargs: Any) -> Any:
    value = tracer.value(args[0])
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(value, Lost) or not isinstance(dim, int) or args[0].shape[dim] > 64:
        return None
    keep = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
    parts = [part for term in value.terms for part in term.unbind(dim)]
    return Followed(tuple(part.unsqueeze(dim) if keep else part for part in parts))


def _set_item(tracer: Any, _func: Any, args: Any, _kwargs: Any) -> Any:
    target, index, source = args
    before = tracer.value(target)
    after = tracer.value(source) if isinstance(source, Tensor) else (Followed(()) if source == 0 else None)
    if isinstance(before, Lost) or after is None or isinstance(after, Lost):
        tensors = [target, source] if isinstance(source, Tensor) else [target]
        return tracer.lost("an assignment to a slice", tensors)
    terms = []
    for k in range(max(len(before.terms), len(after.terms))):
        term = before.terms[k].clone() if k < len(before.terms) else torch.zeros(target.shape, dtype=torch.int64)
        term[index] = after.terms[k] if k < len(after.terms) else 0
        terms.append(term)
    return Followed(tuple(terms))


ZEROS: Final = frozenset({"zeros", "zeros_like", "new_zeros"})
SAME: Final = frozenset({
    "contiguous", "clone", "detach", "detach_", "to", "float", "half", "double", "bfloat16", "type", "cpu", "cuda",
    "requires_grad_", "type_as", "alias",
})  # fmt: skip
_MOVES: Final = frozenset({
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "transpose_", "movedim", "moveaxis", "swapaxes",
    "swapdims", "squeeze", "unsqueeze", "expand", "expand_as", "view_as", "reshape_as", "broadcast_to", "__getitem__",
    "select", "narrow", "index_select", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk",
    "flip", "roll", "repeat", "repeat_interleave", "tile", "channel_shuffle", "pixel_shuffle", "t", "__iter__",
})  # fmt: skip
OPERATIONS: Final[dict[str, Callable[[Any, Any, Any, Any], Any]]] = {
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"), _join),
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(ZEROS, _zeros),
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"), _dropout
    ),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), _add),
    "sum": _sum,
    "pad": _pad,
    "__setitem__": _set_item,
}
