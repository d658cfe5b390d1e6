"""Rules by which SLAYER blocks become populations and projections of a Network."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.geometry import Window
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    Input,
    Network,
    Node,
    Output,
    Population,
    Projection,
    Shape,
    Synapses,
)
from sdsnn_core.rules import Rules

from ..integers import (
    INPUT_MAX,
    Array,
    axonal_delay,
    bias_of,
    decays_of,
    exponent_of,
    initial_voltage,
    input_integers,
    integers_of,
    steps_of,
)
from ..layout import Layout
from ..tracing import Call, Lost, ModelGraph, block_kinds, block_name
from ..wiring import Feed, Kernel, Matrix, Pairs, Weights, later, per_unit, projections
from .names import REASONS, population_names
from .types import NO_DELAY, Place


@functools.cache
def block_rules() -> Rules[Callable[[Builder, str, Any], None]]:
    """Return the table of rules by class of block."""
    block = import_slayer().block
    cuba = block.cuba
    flattens = {kind for kind in block_kinds() if kind.__name__ == "Flatten" and "forward" not in vars(kind)}
    return Rules(
        "lowering: SLAYER block",
        {
            cuba.Input: Builder.input,
            **dict.fromkeys(flattens, Builder.moves),
            cuba.Dense: Builder.dense,
            cuba.Conv: Builder.conv,
            cuba.ConvT: Builder.conv_transposed,
            cuba.Pool: Builder.pool,
            cuba.Unpool: Builder.unpool,
            cuba.Recurrent: Builder.recurrent,
            cuba.Affine: Builder.affine,
            import_slayer().axon.Delay: Builder.moves,
        },
    )


def lowered_kinds() -> tuple[type, ...]:
    """Return the classes of the blocks that are lowered."""
    return tuple(kind for kind in block_rules() if kind is not import_slayer().axon.Delay)


def kind_of(block: Any) -> type:
    """Return the class by which a block is lowered: its own, or SLAYER's if it only adds a constructor to it."""
    for kind in type(block).__mro__:
        if kind in block_rules() and type(block).forward is kind.forward:  # type: ignore[attr-defined]
            return kind
    return type(block)


def why_not(block: torch.nn.Module) -> str:
    """Return why a block is not lowered."""
    for kind in type(block).__mro__[1:]:
        if kind in block_rules():
            return f"no rule to lower it (a subclass of SLAYER's {kind.__name__} with a forward pass of its own)"
    module = type(block).__module__.rsplit(".", 1)[-1]
    reason = REASONS.get(module) or REASONS.get(type(block).__name__)
    return f"no rule to lower it ({reason})" if reason else "no rule to lower it"


def check_kind(block: Any, where: str) -> type:
    """Return the class by which a block is lowered. Raises UnsupportedNode if there is none."""
    kind = kind_of(block)
    if kind not in block_rules():
        known = ", ".join(sorted({each.__name__ for each in lowered_kinds()}))
        raise UnsupportedNode(f"{where}: {why_not(block)}; expected one of the cuba blocks {known}")
    return kind


class Builder:
    """The network so far. Rules of blocks add a population `name` and its projections."""

    def __init__(self, graph: ModelGraph, input_max: int, layout: Layout | None) -> None:
        self.graph = graph
        self.input_max = input_max
        self.layout = layout
        names = ["input", *(f"input{n}" for n in range(1, len(graph.inputs)))]
        if layout is not None:
            names = list(layout.inputs)
            self.input_max = max(port.max_value for port in layout.inputs.values())
        self.nodes: dict[str, Node] = {
            name: Input(shape, input_max) for name, shape in zip(names, graph.inputs, strict=True)
        }
        if layout is not None:
            self.nodes.update(layout.inputs)
        self.names = population_names(graph, layout)
        self.projections: dict[str, Projection] = {}
        self.places = {
            n: Place(name, shape, NO_DELAY) for n, (name, shape) in enumerate(zip(names, graph.inputs, strict=True))
        }
        self.number = 0  # of the call at hand
        self.outputs = graph.output_sources()

    @property
    def call(self) -> Call:
        """The call at hand."""
        return self.graph.calls[self.number]

    @property
    def source(self) -> int:
        """The number of the call at hand among the sources."""
        return len(self.graph.inputs) + self.number

    # -- calls --------------------------------------------------------------------------------------------------------

    def add(self, number: int) -> None:
        """Lower a call. Raises UnsupportedNode naming its block."""
        self.number = number
        block, where = self.call.block, block_name(self.call.path, self.call.block)
        if not self.call.path:
            raise UnsupportedNode(f"{where}: expected blocks that are attributes of the model or in a ModuleList")
        if any(other.block is block for other in self.graph.calls[:number]):
            raise UnsupportedNode(f"{where}: expected one call of each block, got a second one in the forward pass")
        kind = check_kind(block, where)
        if isinstance(self.call.pieces, Lost):
            raise UnsupportedNode(
                f"{where}: expected spikes of blocks, joined, added or reordered, as its input, got the result of "
                f"{self.call.pieces.by}, which a chip does not compute"
            )
        try:
            block_rules()[kind](self, self.names[number], block)
        except UnsupportedNode as error:
            raise UnsupportedNode(f"{where}: {error}") from None
        except NetworkError as error:
            raise NetworkError(f"{where}: {error}") from None

    def stand_in(self, number: int) -> None:
        """Let later calls be lowered behind one that is refused."""
        call = self.graph.calls[number]
        shape = call.shape if len(call.shape) in (1, 3) else (math.prod(call.shape),)
        name = f"refused{number}"
        self.nodes.setdefault(name, Population(shape, DECAY_UNITY, DECAY_UNITY, NEVER_FIRES))
        self.places[len(self.graph.inputs) + number] = Place(name, shape, NO_DELAY)

    def finish(self, dt_s: float, provenance: Mapping[str, Any]) -> Network:
        """Return the network. Raises UnsupportedNode where its output is no block's."""
        if not any(isinstance(node, Population) for node in self.nodes.values()):
            raise UnsupportedNode("model: expected a block with neurons, got none")
        self._check_output()
        if self.layout is not None:
            return Network(*self.layout.apply(self.nodes, self.projections), dt_s, provenance)
        for number, source in enumerate(self.outputs):
            place = self.places[source]
            self.nodes["output" if not number else f"output{number}"] = Output(place.name, place.signal)
        return Network(self.nodes, self.projections, dt_s, provenance)

    def _check_output(self) -> None:
        """Raise UnsupportedNode unless the first tensor that the model returns is the spikes of a block."""
        pieces = self.graph.outputs[0]
        source = self.graph.whole(pieces)
        if source is None:
            got = f"the result of {pieces.by}" if isinstance(pieces, Lost) else "several sources or another order"
            raise UnsupportedNode(f"the output: expected the spikes of one block, all and in its order, got {got}")
        if any(self.graph.call_of(source) is None for source in self.outputs):
            raise UnsupportedNode("the output: expected the spikes of a block, got an input of the model")

    # -- rules of blocks ----------------------------------------------------------------------------------------------

    def input(self, name: str, block: Any) -> None:
        """Lower an Input: one weight for each channel, or only a port."""
        if block.neuron is None:
            if block.weight is not None or block.bias is not None or block.delay_shift:
                raise UnsupportedNode(
                    "expected Input(delay_shift=False) without weight and bias where it has no neurons, got another"
                )
            return
        ports = {-1, *range(len(self.graph.inputs))}
        if self.graph.whole(self.call.pieces) is None or not self.call.sources < ports:
            raise UnsupportedNode("expected one Input as the first block, got a second or later one")
        if self.input_max > INPUT_MAX:
            raise UnsupportedNode(f"expected inputs up to {INPUT_MAX}, where its quantiser clips, got {self.input_max}")
        weight, bias = input_integers(block)
        shape, channels = self.call.shape_in, self.call.shape_in[0]
        if len(shape) == 3:  # a neuron for each pixel that keeps the image: a kernel of one place in as many groups
            self.connect(name, Kernel(np.full((channels, 1, 1, 1), weight), Window(groups=channels), shape))
        else:
            self.connect(name, Matrix(weight * np.eye(channels, dtype=np.int64)))
        self.population(name, shape, block, bias)

    def moves(self, _name: str, _block: Any) -> None:
        """Pass a block without neurons: what it moves or delays is read from the trace."""

    def dense(self, name: str, block: Any) -> None:
        """Lower a Dense."""
        self.population(name, self.synapses(name, block.synapse), block)

    def recurrent(self, name: str, block: Any) -> None:
        """Lower a Recurrent: its input synapse, and a loop."""
        if block.bias is not None:
            raise UnsupportedNode("expected no bias on the input synapse of a Recurrent block, got one")
        shape = self.synapses(name, block.input_synapse)
        loop = integers_of(block.recurrent_synapse, block).reshape(math.prod(shape), -1)
        key = f"{name}.loop" if self.layout is None else self.layout.loops[name]
        self.projections[key] = Synapses.from_dense(name, name, loop)
        self.population(name, shape, block)

    def affine(self, name: str, block: Any) -> None:
        """Lower an Affine, read by its voltage."""
        shape = self.synapses(name, block.synapse)
        # Without dynamics: only the weighted sum of each step.
        current, voltage = decays_of(block.neuron, shape) if block.dynamics else [np.array(DECAY_UNITY)] * 2
        if block.neuron.norm is not None:
            raise UnsupportedNode("expected an Affine readout without a norm, got one")
        shape, (current, voltage) = self._shaped(name, shape, current, voltage)
        self.nodes[name] = Population(shape, current, voltage, np.array(NEVER_FIRES))
        self.places[self.source] = Place(name, shape, NO_DELAY, "voltage")

    def conv(self, name: str, block: Any) -> None:
        """Lower a Conv."""
        self.connect(name, self._kernel(block, self.call.shape_in))
        self.population(name, self.call.shape, block)

    def conv_transposed(self, name: str, block: Any) -> None:
        """Lower a ConvT: the synapses of the convolution that leads back, from its output to its input."""
        self._backwards(name, block, self._kernel(block, self.call.shape))

    def pool(self, name: str, block: Any) -> None:
        """Lower a Pool: a kernel for each channel."""
        size = self._tiles("Pool", block.synapse)
        weight = integers_of(block.synapse, block)[0, 0, :, :, 0]
        # SLAYER appends zeros where the kernel does not divide the source: the same sums come from a kernel with as
        # many leading zeros and that much padding.
        shape = self.call.shape_in
        extra = tuple(n % k for n, k in zip(shape[1:], size, strict=True))
        channels = shape[0]
        kernel = np.tile(np.pad(weight, ((extra[0], 0), (extra[1], 0))), (channels, 1, 1, 1))
        self.connect(name, Kernel(kernel, Window(size, extra, (1, 1), channels), shape))  # type: ignore[arg-type]
        self.population(name, self.call.shape, block)

    def unpool(self, name: str, block: Any) -> None:
        """Lower an Unpool: the synapses of the pool that leads back."""
        size = self._tiles("Unpool", block.synapse)
        weight = integers_of(block.synapse, block)[0, 0, :, :, 0]
        channels = self.call.shape[0]
        window = Window(size, (0, 0), (1, 1), channels)  # type: ignore[arg-type]
        self._backwards(name, block, Kernel(np.tile(weight, (channels, 1, 1, 1)), window, self.call.shape))

    def _backwards(self, name: str, block: Any, kernel: Kernel) -> None:
        """Connect a block by the synapses of a convolution, turned round."""
        post, place, weight = kernel.entries()
        self.connect(name, Pairs(place, post, weight))
        self.population(name, self.call.shape, block)

    @staticmethod
    def _kernel(block: Any, shape: Shape) -> Kernel:
        """Return the kernel of a convolution of an image of a shape."""
        layer = block.synapse
        window = Window(layer.stride[:2], layer.padding[:2], layer.dilation[:2], layer.groups)
        return Kernel(integers_of(layer, block)[..., 0], window, shape)

    @staticmethod
    def _tiles(kind: str, layer: Any) -> tuple[int, ...]:
        """Return the size of windows that touch and do not overlap."""
        size = tuple(layer.kernel_size[:2])
        if tuple(layer.stride[:2]) != size or any(layer.padding) or set(layer.dilation) != {1}:
            raise UnsupportedNode(f"expected a {kind} with stride equal to its kernel, no padding and no dilation")
        return size

    # -- their parts --------------------------------------------------------------------------------------------------

    def synapses(self, name: str, layer: Any) -> Shape:
        """Connect SLAYER's dense synapse. Return the shape of the target."""
        weight = integers_of(layer, self.call.block)
        shape = self.call.shape_in
        if math.prod(self.call.shape) != len(weight):  # on an image it runs at every place
            self.connect(name, Kernel(weight[..., 0], Window(), shape))
            return self.call.shape
        weight = weight.reshape(len(weight), -1)
        if weight.shape[1] != math.prod(shape):
            raise UnsupportedNode(f"expected {math.prod(shape)} inputs, got {weight.shape[1]}")
        self.connect(name, Matrix(weight))
        return (len(weight),)

    def connect(self, name: str, weights: Weights) -> None:
        """Add the projections from what the input of the call at hand is made of."""
        pieces = self.call.pieces
        assert not isinstance(pieces, Lost)
        feeds = [feed for piece in pieces for feed in self._feeds(piece.source, piece.units, NO_DELAY)]
        named = projections(weights, feeds, name) if self.layout is None else self._laid_out(weights, feeds, name)
        exponent = exponent_of(self.call.block)
        for key, projection in named:
            self.projections[key] = replace(projection, weight_exp=exponent) if exponent else projection

    def _laid_out(self, weights: Weights, feeds: list[Feed], name: str) -> Iterator[tuple[str, Projection]]:
        """Yield the projections that the layout has, each from its own columns of the block's input."""
        assert self.layout is not None
        start = 0
        for key, width in self.layout.columns[name]:
            inside = np.zeros(len(feeds[0].units), bool)
            inside[start : start + width] = True
            inside = inside.reshape(-1, *(1,) * (feeds[0].units.ndim - 1))
            own = [feed._replace(units=np.where(inside, feed.units, -1)) for feed in feeds]
            own = [feed for feed in own if (feed.units >= 0).any()]
            for _, projection in projections(weights, own, name):
                yield key, projection
            start += width

    def _feeds(self, source: int, units: Array, late: Array) -> list[Feed]:
        """Return the nodes behind a source, through axonal delays that stand between blocks."""
        call = self.graph.call_of(source)
        if source in self.places:
            place = self.places[source]
            if place.signal != "spikes":
                raise UnsupportedNode("expected an Affine readout as the last block, got a block behind it")
            return [Feed(place.name, place.shape, units, place.delay, late)]
        assert call is not None, source
        assert not isinstance(call.pieces, Lost), "an axonal delay that was refused"
        steps = per_unit(steps_of(call.block), call.shape)
        there, at = units >= 0, np.maximum(units, 0)
        late = np.where(there, np.broadcast_to(steps, math.prod(call.shape))[at], 0) + late
        return [
            feed
            for piece in call.pieces
            for feed in self._feeds(piece.source, np.where(there, piece.units.reshape(-1)[at], -1), late)
        ]

    def population(self, name: str, shape: Shape, block: Any, added: int = 0) -> None:
        """Add a population of CUBA neurons. added: a bias beyond that of the neuron's norm."""
        neuron = block.neuron
        if not block.delay_shift:
            raise UnsupportedNode("expected delay_shift=True, as a chip takes one step per layer, got False")
        if neuron.graded_spike:
            raise UnsupportedNode("expected graded_spike=False, got True: graded spikes are not lowered")
        threshold = int(neuron.v_th_mant)
        if threshold >= 64 * neuron.w_scale and neuron.threshold_eps < 1 / neuron.s_scale:
            # In float32 SLAYER's epsilon of 0.01 state units vanishes beside such a threshold, so it fires on a tie.
            raise UnsupportedNode(
                "expected neuron.threshold_eps = 1 / s_scale, got a larger one, with which threshold "
                f"{neuron.threshold} fires on a tie; the chip does not"
            )
        current, voltage = decays_of(neuron, shape)
        bias = bias_of(neuron, shape, getattr(block, "unit_gate", None)) + added
        delay = axonal_delay(block)
        moved = self._delay_inputs(name, shape, delay) if self.source in self.outputs and delay.any() else 0
        start = initial_voltage(
            bias, voltage, threshold, np.reshape(moved, (-1, *(1,) * (len(shape) - 1))) if np.ndim(moved) else moved
        )
        shape, (current, voltage, bias, start) = self._shaped(name, shape, current, voltage, bias, start)
        self.nodes[name] = Population(shape, current, voltage, np.array(threshold), bias, initial_voltage=start)
        self.places[self.source] = Place(name, shape, NO_DELAY if np.ndim(moved) else delay)

    def _shaped(self, name: str, shape: Shape, *values: Array) -> tuple[Shape, tuple[Array, ...]]:
        """Return the shape of a population and its parameters: a layout has an image for what a dense block makes."""
        own = shape if self.layout is None else self.layout.shapes[name]
        if own == shape:
            return shape, values
        return own, tuple(np.broadcast_to(value, shape).reshape(own) if value.ndim else value for value in values)

    def _delay_inputs(self, name: str, shape: Shape, delay: Array) -> Array:
        """Delay what reaches a population instead of its spikes, which leave the network; return the delays."""
        steps = np.broadcast_to(per_unit(delay, shape), math.prod(shape))
        for key, projection in list(self.projections.items()):
            if projection.target == name:
                loop = projection.source == name
                source = shape if loop else self.nodes[projection.source].shape  # type: ignore[union-attr]
                self.projections[key] = later(projection, source, steps, steps if loop else NO_DELAY)
        return np.atleast_1d(delay)
