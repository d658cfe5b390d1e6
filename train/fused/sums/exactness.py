"""When sums of inputs times weights are exact in float32, and so the same in any order and in any layout."""

import math
from typing import Any

import numpy as np
import torch

from sdsnn_core.system.compiled import compiled

Tensor = torch.Tensor
_LIMIT = np.float32(2**20)
_MANTISSA = 2**24
_I0 = np.int32(0)


@compiled
def whole_and_size(values: Any) -> Any:
    """Return a bound on |values| that is below twice the largest; -1 unless all are integers below 2^20."""
    bits, wrong = _I0, _I0
    for i in range(values.size):
        value = values[i]
        inside = value if abs(value) < _LIMIT else np.float32(0.5)  # NaN becomes a number that is no integer
        whole = np.int32(inside)
        wrong |= np.int32(np.float32(whole) != inside)
        bits |= np.int32(abs(whole))
    return np.int64(-1) if wrong else np.int64(bits)


def input_bound(x: Tensor) -> int:
    """Return a bound on |x|, or -1 unless all are integers below 2^20. x float32, contiguous."""
    return int(whole_and_size(x.detach().view(-1).numpy())) if x.numel() else 0


@compiled
def largest_sum(weights: Any, offsets: Any) -> Any:
    """Return the largest sum of absolute weights[offsets[unit] : offsets[unit + 1]]."""
    largest = np.float64(0)
    for unit in range(offsets.size - 1):
        total = np.float64(0)
        for synapse in range(offsets[unit], offsets[unit + 1]):
            total += abs(weights[synapse])
        if not total <= largest:  # NaN too
            largest = total
    return largest


def sums_are_exact(weight: Tensor, bound: int, offsets: Any = None) -> bool:
    """Return whether every sum over a unit's inputs is exact in float32, partial sums too.

    Inputs are integers of at most `bound`. weight: (units, ...), or (synapses,) with the offsets of each unit's. If all
    weights are multiples of 2^-k, so are all sums; they are exact below 2^(24 - k).
    """
    if bound < 0:
        return False
    with torch.no_grad():
        flat = weight.detach()
        if not flat.numel():
            size = 0.0
        elif offsets is None:
            size = float(flat.flatten(1).abs().sum(1).max())
        else:
            size = float(largest_sum(flat.numpy(), offsets))
        largest = size * max(bound, 1)
        if not largest < _MANTISSA:  # NaN and infinity are not
            return False
        k = 22 if largest <= 1 else math.floor(math.log2(_MANTISSA / (largest * 1.001)))  # the sum itself is rounded
        scaled = flat * 2.0**k
        return bool((scaled == scaled.round()).all())
