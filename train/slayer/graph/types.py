"""The graph of a model of SLAYER blocks: calls of blocks, and what their inputs are made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Shape

NO_DELAY: Final = np.zeros((), np.int64)


class Place(NamedTuple):
    """What a source of the graph is in the Network: a node, its shape, the delays of its axons and its signal."""

    name: str
    shape: Shape
    delay: npt.NDArray[np.int64]  # () or (channels,), steps
    signal: Literal["spikes", "voltage"] = "spikes"


class Lost(NamedTuple):
    """A tensor whose elements are not single spikes or sums of spikes.

    by: the operation that made it. sources: the inputs and calls that it may depend on.
    """

    by: str
    sources: frozenset[int]


class Followed(NamedTuple):
    """A tensor whose elements are spikes, or sums of one spike of each term.

    terms: int64 tensors of its shape, the number of a spike in each place, 0 for none.
    """

    terms: tuple[Tensor, ...]


class Piece(NamedTuple):
    """What one source contributes to the input of a block.

    source: an input of the model or a call, by its number in the graph. units: int64 of the shape of the block's
    input, the flat index of the source's unit whose spikes arrive there, -1 for none.
    """

    source: int
    units: npt.NDArray[np.int64]


class Call(NamedTuple):
    """One call of a block: what its input is made of, and the shapes of input and output without batch and steps."""

    path: str
    block: Any
    pieces: tuple[Piece, ...] | Lost
    shape_in: Shape
    shape: Shape

    @property
    def sources(self) -> frozenset[int]:
        """The inputs and calls that its input depends on."""
        return sources_of(self.pieces)


class ModelGraph(NamedTuple):
    """The calls of a model in their order. Sources are numbered: first the inputs, then the calls.

    Attributes:
        inputs: shapes of the model's inputs, without batch and steps.
        calls: the calls of blocks.
        outputs: what the tensors that the forward pass returns are made of; the first one is the model's output.
        unused: paths of blocks that were not called.
    """

    inputs: tuple[Shape, ...]
    calls: tuple[Call, ...]
    outputs: tuple[tuple[Piece, ...] | Lost, ...]
    unused: tuple[str, ...]

    def call_of(self, source: int) -> Call | None:
        """Return the call of that number; None for an input of the model."""
        return self.calls[source - len(self.inputs)] if source >= len(self.inputs) else None

    def shape_of(self, source: int) -> Shape:
        """Return the shape of an input or of the output of a call."""
        call = self.call_of(source)
        return self.inputs[source] if call is None else call.shape

    def whole(self, pieces: tuple[Piece, ...] | Lost) -> int | None:
        """Return the source whose units, all and in order, are a tensor; None if there is none."""
        if isinstance(pieces, Lost) or len(pieces) != 1:
            return None
        units = pieces[0].units.reshape(-1)
        size = math.prod(self.shape_of(pieces[0].source))
        return pieces[0].source if np.array_equal(units, np.arange(size)) else None

    def output_sources(self) -> list[int]:
        """Return the sources whose spikes leave the model.

        The source of the first tensor that the pass returned, if that is all its spikes; and those of the other
        tensors if they feed no block, so that spikes of hidden layers that are returned too are no outputs.
        """
        fed = {source for call in self.calls for source in call.sources if not passes(call.block)}
        sources = [self.whole(pieces) for pieces in self.outputs]
        further = [source for source in sources[1:] if source not in fed]
        return list(dict.fromkeys(source for source in (*sources[:1], *further) if source is not None))


def sources_of(pieces: tuple[Piece, ...] | Lost) -> frozenset[int]:
    """Return the numbers of the sources of an input."""
    return pieces.sources if isinstance(pieces, Lost) else frozenset(piece.source for piece in pieces)


@functools.cache
def block_kinds() -> tuple[type, ...]:
    """Return the classes of SLAYER's blocks; a block is an instance of one of them."""
    block = import_slayer().block
    rooms = [room for room in vars(block).values() if getattr(room, "__name__", "").startswith(block.__name__ + ".")]
    kinds = {kind for room in rooms for kind in vars(room).values() if isinstance(kind, type)}
    own = {kind for kind in kinds if kind.__module__.startswith(block.__name__) and hasattr(kind, "forward")}
    return tuple(kind for kind in own if "forward" in vars(kind) or not kind.__name__.startswith("Abstract"))


def blocks_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the SLAYER blocks of a model, in the order in which it lists them."""
    return [module for module in model.modules() if isinstance(module, block_kinds())]


def output_of(result: Any) -> Tensor:
    """Return the output among what a forward pass returned: the first tensor of a tuple, a list or a dict."""
    tensors = tensors_of(result)
    if not tensors:
        raise UnsupportedNode(
            f"model: expected forward to return a tensor, or a tuple whose first item is one, got {_kind(result)}"
        )
    return tensors[0]


def _kind(result: Any) -> str:
    return (
        f"{type(result).__name__} of {len(result)}"
        if isinstance(result, (tuple, list, dict))
        else str(type(result).__name__)
    )


def tensors_of(result: Any) -> list[Tensor]:
    """Return the tensors that a forward pass returned; none unless the first item is one."""
    if isinstance(result, Mapping):
        result = tuple(result.values())
    items = result if isinstance(result, (tuple, list)) else (result,)
    if items and not isinstance(items[0], Tensor):
        return []
    return [item for item in items if isinstance(item, Tensor)]


def block_name(path: str, block: Any) -> str:
    """Return how errors name a block: its path in the model and its type."""
    module = type(block).__module__
    short = (
        module.rsplit(".", 1)[-1] if module.startswith("lava.lib.dl.slayer.") else module.removeprefix("lava.lib.dl.")
    )
    where = f"block {path}" if path.isdigit() else path or "a block outside the model's modules"
    return f"{where} ({short}.{type(block).__name__})"


def passes(block: Any) -> bool:
    """Return whether a block hands its input on unchanged: Flatten, and Input as a port."""
    base = import_slayer().block.base
    port = isinstance(block, base.AbstractInput) and block.neuron is None and block.delay_shift is not True
    return port or isinstance(block, base.AbstractFlatten)


@functools.cache
def stops() -> tuple[type, ...]:
    """Return the modules inside which nothing is followed: blocks, and SLAYER's axonal delay."""
    return (*block_kinds(), import_slayer().axon.Delay)
