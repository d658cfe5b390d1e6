"""Some channels of tensors whose last axis is channels: copied out, and back among zeros."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import compiled


@compiled
def _check(first: int, last: int, places: Any, few: Any, all_: Any) -> None:
    """Raise ValueError unless first..last are rows of both, and `places` are columns of `all_`."""
    wrong = not (0 <= first <= last <= few.shape[0] == all_.shape[0]) or few.shape[1] != places.size
    for place in places:
        wrong |= not 0 <= place < all_.shape[1]
    if wrong:
        raise ValueError("fused kernel: arrays do not fit together")


@compiled
def take_channels(first: int, last: int, source: Any, places: Any, out: Any) -> None:
    """out[row, i] = source[row, places[i]] for rows first..last."""
    _check(first, last, places, out, source)
    for row in range(first, last):
        line, target = source[row], out[row]
        for i in range(places.size):
            target[i] = line[places[i]]


@compiled
def spread_channels(first: int, last: int, source: Any, places: Any, out: Any) -> None:
    """out[row, places[i]] = source[row, i] for rows first..last, and zero elsewhere."""
    _check(first, last, places, source, out)
    for row in range(first, last):
        line, target = source[row], out[row]
        target[:] = np.float32(0)
        for i in range(places.size):
            target[places[i]] = line[i]
