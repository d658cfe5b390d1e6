"""Sigma-delta blocks: how late their populations are, and in which units their messages count.

SLAYER computes a sigma-delta block without a step of transport (`delay_shift=False`, its default; the Input and Output
blocks have no other form), a chip takes one for every layer. So bin t of such a block is bin t + late of its
population. Paths of different lengths that meet are aligned by delays of synapses, so `late` is one number per block.

SLAYER rounds messages down to multiples of 1/4096, which are the integers that Lava's SigmaDelta sends. With weights
of w/64 the sums count in 1/2**18. SLAYER's float32 holds them exactly while they stay below 128, Lava's registers of
32 bits while they stay below 8192.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.lava.compat import import_slayer

from .types import ModelGraph, sources_of

MESSAGE_BITS: Final = 12  # of the fraction of a message: SLAYER's s_scale is 2**12
WEIGHT_BITS: Final = 6  # of the fraction of a weight


def is_graded(block: Any) -> bool:
    """Return whether a block has sigma-delta neurons."""
    kind = import_slayer().block.sigma_delta.AbstractSDRelu
    return isinstance(block, kind) and block.neuron is not None


def is_sum(block: Any) -> bool:
    """Return whether a block is the Output of a sigma-delta network, which returns sums and no messages."""
    return isinstance(block, import_slayer().block.sigma_delta.Output)


def encodes(block: Any) -> bool:
    """Return whether a block has SigmaDelta neurons: neither an Input nor an Output."""
    kinds = import_slayer().block.sigma_delta
    return is_graded(block) and not isinstance(block, (kinds.Input, kinds.Output))


def _late(block: Any) -> int:
    """Return by how many steps a block's population is later than what reaches it, beyond the block itself."""
    return int(is_graded(block) and not (encodes(block) and block.delay_shift is True))


def lateness(graph: ModelGraph) -> list[int]:
    """Return for each source of a graph by how many steps its population is later than the source."""
    result = [0] * len(graph.inputs)
    for call in graph.calls:
        result.append(max((result[source] for source in call.sources), default=0) + _late(call.block))
    return result


def fraction_bits(graph: ModelGraph) -> list[int]:
    """Return for each source the bits of the fraction of what it sends: 0 for spikes and events."""
    result = [0] * len(graph.inputs)
    for call in graph.calls:
        arriving = max((result[source] for source in sources_of(call.pieces)), default=0)
        if is_sum(call.block):
            arriving += WEIGHT_BITS
        elif is_graded(call.block):
            arriving = MESSAGE_BITS
        elif getattr(call.block, "neuron", None) is not None:
            arriving = 0
        result.append(arriving)
    return result


def integers_sent(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int32]:
    """Return messages or sums of a block as the integers that its population sends."""
    return np.asarray(np.rint(values.astype(np.float64) * 2.0**bits), np.int32)


def late_by(values: npt.NDArray[Any], steps: int) -> npt.NDArray[Any]:
    """Return bins (..., steps) of a block as those of its population, `steps` later; zeros come before them."""
    if not steps:
        return values
    pad = [(0, 0)] * (values.ndim - 1) + [(steps, 0)]
    return np.pad(values[..., : values.shape[-1] - steps], pad)
