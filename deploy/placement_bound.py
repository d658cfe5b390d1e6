"""Cores that no placement can go below, resource by resource, so that the gap of a placement is known.

The bounds hold for every placement that keeps the neurons of a population in order, wherever it cuts. Each adds up
what must be spent at least and divides by one core's limit: a list of n synapses takes n times its bits; where
targets are left out between two of them, the gap is stored, or indices are, or the list is cut there and gets another
header; an axon leads to at least one core.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Convolution, Network, Shape, Synapses

from .chip import Chip, SynapseFormat
from .placement_lists import list_format
from .placement_types import Ints

Bools = npt.NDArray[np.bool_]


def lower_bounds(network: Network, chip: Chip) -> dict[str, int]:
    """Return, for each limited resource, the least number of cores that could hold the network."""
    layout = chip.synapses
    assert layout is not None
    forms = {name: list_format(p, layout) for name, p in network.projections.items()}
    bits = 0
    axons: dict[tuple[str, bool], Bools] = {}
    for name, p in network.projections.items():
        each = forms[name].synapse_bits
        if isinstance(p, Synapses):
            fan_out = np.bincount(p.pre, minlength=network.size_of(p.source)).astype(np.int64)
            ordered = not any(isinstance(other, Convolution) for _, other in network.incoming(p.target))
            bits += _list_bound(p, fan_out, each, layout, ordered)
            here: Bools = fan_out > 0
        else:
            shape = network.nodes[p.source].shape  # type: ignore[union-attr]
            lands = landings(p, shape)
            present = (p.kernel != 0).sum(axis=(0, 1))
            weights = int(present[lands > 0].sum()) if layout.shared_convolution else int((present * lands).sum())
            bits += -(-weights * each // layout.word_bits) * layout.word_bits
            here = reached(p, shape)
        key = (p.source, isinstance(p, Convolution))
        axons[key] = axons.get(key, np.zeros(here.shape, np.bool_)) | here
    share = 0.0
    budget, free = chip.delay_buffer.get("state_budget", 0), chip.delay_buffer.get("free_steps", 0)
    neurons = chip.limit("neurons")
    assert neurons is not None
    for name, population in network.populations.items():
        longest = max((forms[key].max_delay for key, _ in network.incoming(name)), default=0)
        room = min(neurons, budget >> longest.bit_length()) if budget and longest > free else neurons
        share += population.size / room
    total = {
        "synapse_bits": bits,
        "input_axons": sum(int(here.sum()) for here in axons.values()),
        "output_axons": sum(int(here.sum()) for key, here in axons.items() if key[0] in network.populations),
    }
    # Fractions of different limits can add up to a hair more than a whole number of cores.
    found = {"neurons": max(1, math.ceil(share - 1e-9))}
    for resource, amount in total.items():
        limit = chip.limit(resource)
        if limit is not None:
            found[resource] = max(1, -(-amount // limit))
    return found


def _list_bound(p: Synapses, fan_out: Ints, each: int, layout: SynapseFormat, ordered: bool) -> int:
    """Return the least bits that the lists of `p` take, however they are cut.

    A pair of neighbours in a list with a gap between them costs the gap, an index, or a cut. A cut costs a header, of
    which every list needs one per block anyway, so that only the difference is certain for the blocks. ordered: the
    targets keep their order on the cores; boxes do not keep it, and there gaps are taken as free.
    """
    blocks = -(-fan_out // layout.block)
    header = layout.header_bits
    cap = min(header, layout.index_bits[0]) if layout.sparse_encoding else header
    lists = fan_out * each + header * blocks
    if ordered and p.pre.size > 1:
        same = np.diff(p.pre) == 0
        gap = np.where(same, np.diff(p.post.astype(np.int64)) - 1, 0)
        lists += np.bincount(p.pre[1:], np.minimum(gap * each, cap), fan_out.size).astype(np.int64)
        lists -= cap * np.maximum(blocks - 1, 0)
    return int((-(-lists // layout.word_bits) * layout.word_bits).sum())


def _axis(source: int, made: int, k: int, stride: int, padding: int, dilation: int) -> Ints:
    """Return the source places that kernel place k meets along one axis."""
    at = np.arange(made) * stride - padding + k * dilation
    return at[(at >= 0) & (at < source)]


def _axes(p: Convolution, shape: Shape) -> tuple[list[Ints], list[Ints]]:
    _, height, width = p.output_shape(shape)
    rows = [_axis(shape[1], height, k, p.stride[0], p.padding[0], p.dilation[0]) for k in range(p.kernel.shape[2])]
    columns = [_axis(shape[2], width, k, p.stride[1], p.padding[1], p.dilation[1]) for k in range(p.kernel.shape[3])]
    return rows, columns


def landings(p: Convolution, shape: Shape) -> Ints:
    """Return (kh, kw) how many places of the source each kernel place meets."""
    rows, columns = _axes(p, shape)
    return np.array([[row.size * column.size for column in columns] for row in rows], np.int64)


def reached(p: Convolution, shape: Shape) -> Bools:
    """Return (C * H * W,) bool: which source neurons have a synapse at all."""
    rows, columns = _axes(p, shape)
    per_group_out, per_group_in = p.kernel.shape[0] // p.groups, p.kernel.shape[1]
    result = np.zeros(shape, np.bool_)
    for channel in range(shape[0]):
        group, inside = divmod(channel, per_group_in)
        part = (p.kernel[group * per_group_out : (group + 1) * per_group_out, inside] != 0).any(axis=0)
        for ky, kx in np.argwhere(part):
            result[channel][np.ix_(rows[ky], columns[kx])] = True
    return result.reshape(-1)
