"""Large float32 tensors in memory that returns to a pool when they die, and not to the operating system.

A training step allocates the same tensors as the step before. glibc returns a large one to the operating system at
once, which hands out its pages anew, filled with zeros: that took up to half of a step's CPU time.
"""

import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

SMALLEST = 2**18  # floats; below, malloc keeps the memory itself
SWEEP = 1000  # allocations after which sizes that were not asked for are dropped
_idle: dict[int, list[Any]] = {}  # size -> arrays that no tensor uses
_used: set[int] = set()  # sizes asked for since the last sweep
_made = 0


def _rounded(size: int) -> int:
    """Return the size of the array for a tensor of `size`: one of eight sizes between two powers of two."""
    unit = 1 << max(size.bit_length() - 4, 0)
    return -(-size // unit) * unit


def _aligned(size: int) -> Any:
    """Return uninitialised floats that begin at a cache line: vectors that cross lines take twice as long."""
    array = np.empty(size + 16, np.float32)
    start = -array.ctypes.data % 64 // 4
    return array[start : start + size]


def _give_back(size: int, array: Any) -> None:
    _idle.setdefault(size, []).append(array)


def empty(shape: Sequence[int]) -> torch.Tensor:
    """Return an uninitialised contiguous float32 tensor on the CPU."""
    global _made
    size = math.prod(shape)
    if size < SMALLEST:
        return torch.empty(*shape)
    _made += 1
    if _made % SWEEP == 0:
        for unused in _idle.keys() - _used:
            _idle.pop(unused, None)
        _used.clear()
    room = _rounded(size)
    _used.add(room)
    try:
        array = _idle[room].pop()  # list.pop and append are atomic: finalizers may run anywhere
    except (KeyError, IndexError):
        array = _aligned(room)
    view = array[:size]
    weakref.finalize(view, _give_back, room, array).atexit = False
    return torch.from_numpy(view).view(*shape)


def zeros(size: int, dtype: Any) -> Any:
    """Return a NumPy array of `size` zeros of a type of 32 bits, in memory as above."""
    array = empty((size,)).numpy().view(dtype)
    array[:] = 0
    return array


def packed(tensor: torch.Tensor) -> torch.Tensor:
    """Return a float32 tensor on the CPU contiguous: itself, or a copy without its history."""
    return tensor.detach() if tensor.is_contiguous() else empty(tensor.shape).copy_(tensor.detach())
