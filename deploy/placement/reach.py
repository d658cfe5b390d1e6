"""Where the places of a convolution's kernel land, counted along each axis and never expanded."""

from __future__ import annotations

import numpy as np

from sdsnn_core import geometry
from sdsnn_core.network import Convolution, Shape

from .types import Bools, Ints


def landings(p: Convolution, shape: Shape) -> Ints:
    """Return (kh, kw) how many places of the source each kernel place meets."""
    rows, columns = ((taps >= 0).sum(axis=1) for taps in p.taps(shape))
    return np.asarray(np.outer(rows, columns), np.int64)


def reached(p: Convolution, shape: Shape) -> Bools:
    """Return (C * H * W,) bool: which source neurons have a synapse at all."""
    return np.asarray(geometry.fan_out(shape, p.kernel, p.window).reshape(-1) > 0)
