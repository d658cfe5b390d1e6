"""Rules by which SLAYER blocks become populations and projections of a Network."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.geometry import Window
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    Network,
    Output,
    Population,
    Shape,
    Sigma,
    Synapses,
)
from sdsnn_core.rules import Rules

from ..integers import (
    INPUT_MAX,
    Array,
    exponent_of,
    input_integers,
    integers_of,
    norm_exponent,
    parts_of,
)
from ..tracing import Lost, block_kinds, block_name
from ..wiring import Kernel, Matrix, Pairs
from .assembly import Assembly
from .names import REASONS
from .neurons import Site, delta_of, readout
from .types import NO_DELAY, Place


@functools.cache
def block_rules() -> Rules[Callable[[Builder, str, Any], None]]:
    """Return the table of rules by class of block."""
    block = import_slayer().block
    flattens = {kind for kind in block_kinds() if kind.__name__ == "Flatten" and "forward" not in vars(kind)}
    rules: dict[type, Callable[[Builder, str, Any], None]] = dict.fromkeys(flattens, Builder.moves)
    for room in (block.cuba, block.alif, block.rf, block.rf_iz, block.sigma_delta):
        rules |= {room.Dense: Builder.dense, room.Conv: Builder.conv, room.ConvT: Builder.conv_transposed}
        rules |= {room.Pool: Builder.pool, room.Unpool: Builder.unpool}
    for room in (block.cuba, block.alif):  # SLAYER's other rooms have no such block, or one that does not run
        rules |= {room.Input: Builder.input, room.Recurrent: Builder.recurrent}
    rules |= {block.cuba.Affine: Builder.affine, import_slayer().axon.Delay: Builder.moves}
    rules |= {block.sigma_delta.Input: Builder.encode, block.sigma_delta.Output: Builder.decode}
    return Rules("lowering: SLAYER block", rules)


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
    name = type(block).__name__
    reason = next((REASONS[key] for key in (name, module, f"{module} {name}") if key in REASONS), None)
    return f"no rule to lower it ({reason})" if reason else "no rule to lower it"


def check_kind(block: Any, where: str) -> type:
    """Return the class by which a block is lowered. Raises UnsupportedNode if there is none."""
    kind = kind_of(block)
    if kind not in block_rules():
        known = ", ".join(sorted({each.__name__ for each in lowered_kinds()}))
        raise UnsupportedNode(f"{where}: {why_not(block)}; expected one of SLAYER's blocks {known}")
    return kind


class Builder(Assembly):
    """The rules of blocks: each adds a population `name` and its projections."""

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
        site = self._scaled_input(name, block)
        self.population(name, site)

    def encode(self, name: str, block: Any) -> None:
        """Lower the Input of a sigma-delta network, which sends changes."""
        if block.neuron is None:
            raise UnsupportedNode("expected neurons in a sigma-delta Input, got none, with which it does not run")
        self.put(name, delta_of(self._scaled_input(name, block)))

    def _scaled_input(self, name: str, block: Any) -> Site:
        """Connect the first block: one weight for each channel."""
        ports = {-1, *range(len(self.graph.inputs))}
        if self.graph.whole(self.call.pieces) is None or not self.call.sources < ports:
            raise UnsupportedNode("expected one Input as the first block, got a second or later one")
        if self.input_max > INPUT_MAX:
            raise UnsupportedNode(f"expected inputs up to {INPUT_MAX}, where its quantiser clips, got {self.input_max}")
        if norm_exponent(block.neuron):
            raise UnsupportedNode("expected an Input without WgtScaleBatchNorm, got one")
        weight, bias = input_integers(block)
        shape, channels = self.call.shape_in, self.call.shape_in[0]
        if len(shape) == 3:  # a neuron for each pixel that keeps the image: a kernel of one place in as many groups
            self.connect(name, Kernel(np.full((channels, 1, 1, 1), weight), Window(groups=channels), shape))
        else:
            self.connect(name, Matrix(weight * np.eye(channels, dtype=np.int64)))
        return Site(block, shape, bias)

    def moves(self, _name: str, _block: Any) -> None:
        """Pass a block without neurons: what it moves or delays is read from the trace."""

    def dense(self, name: str, block: Any) -> None:
        """Lower a Dense."""
        self.population(name, Site(block, self.synapses(name, block.synapse)))

    def recurrent(self, name: str, block: Any) -> None:
        """Lower a Recurrent: its input synapse, and a loop."""
        if block.bias is not None:
            raise UnsupportedNode("expected no bias on the input synapse of a Recurrent block, got one")
        if (
            getattr(block.neuron, "norm", None) is not None
            and (np.asarray(block.neuron.cx_current_decay) != DECAY_UNITY).any()
        ):
            raise UnsupportedNode(
                "expected current_decay 1 on a Recurrent block with a norm, got less: SLAYER carries the current on "
                "from step to step behind the norm"
            )
        shape = self.synapses(name, block.input_synapse)
        loop = integers_of(block.recurrent_synapse, block).reshape(math.prod(shape), -1)
        key = f"{name}.loop" if self.layout is None else self.layout.loops[name]
        self.projections[key] = Synapses.from_dense(name, name, loop, weight_exp=exponent_of(block))
        self.population(name, Site(block, shape))

    def affine(self, name: str, block: Any) -> None:
        """Lower an Affine, read by its voltage."""
        site = Site(block, self.synapses(name, block.synapse), bits=self.arriving)
        self.put(name, readout(site), signal="voltage")

    def decode(self, name: str, block: Any) -> None:
        """Lower the Output of a sigma-delta network, read by its sums."""
        self.put(name, Sigma(self.synapses(name, block.synapse)), signal="voltage")

    def conv(self, name: str, block: Any) -> None:
        """Lower a Conv."""
        for layer, imaginary in parts_of(block.synapse):
            self.connect(name, self._kernel(layer, self.call.shape_in), imaginary)
        self.population(name, Site(block, self.call.shape))

    def conv_transposed(self, name: str, block: Any) -> None:
        """Lower a ConvT: the synapses of the convolution that leads back, from its output to its input."""
        for layer, imaginary in parts_of(block.synapse):
            self._backwards(name, self._kernel(layer, self.call.shape), imaginary)
        self.population(name, Site(block, self.call.shape))

    def pool(self, name: str, block: Any) -> None:
        """Lower a Pool: a kernel for each channel."""
        for layer, imaginary in parts_of(block.synapse):
            weight, size = self._tiles("Pool", layer)
            # SLAYER appends zeros where the kernel does not divide the source: the same sums come from a kernel with
            # as many leading zeros and that much padding.
            shape = self.call.shape_in
            extra = tuple(n % k for n, k in zip(shape[1:], size, strict=True))
            kernel = np.tile(np.pad(weight, ((extra[0], 0), (extra[1], 0))), (shape[0], 1, 1, 1))
            self.connect(name, Kernel(kernel, Window(size, extra, (1, 1), shape[0]), shape), imaginary)  # type: ignore[arg-type]
        self.population(name, Site(block, self.call.shape))

    def unpool(self, name: str, block: Any) -> None:
        """Lower an Unpool: the synapses of the pool that leads back."""
        for layer, imaginary in parts_of(block.synapse):
            weight, size = self._tiles("Unpool", layer)
            channels = self.call.shape[0]
            window = Window(size, (0, 0), (1, 1), channels)
            self._backwards(name, Kernel(np.tile(weight, (channels, 1, 1, 1)), window, self.call.shape), imaginary)
        self.population(name, Site(block, self.call.shape))

    def _backwards(self, name: str, kernel: Kernel, imaginary: bool) -> None:
        """Connect the synapses of a convolution, turned round."""
        post, place, weight = kernel.entries()
        self.connect(name, Pairs(place, post, weight), imaginary)

    def _kernel(self, layer: Any, shape: Shape) -> Kernel:
        """Return the kernel of a convolution of an image of a shape."""
        window = Window(layer.stride[:2], layer.padding[:2], layer.dilation[:2], layer.groups)
        return Kernel(integers_of(layer, self.call.block)[..., 0], window, shape)

    def _tiles(self, kind: str, layer: Any) -> tuple[Array, tuple[int, int]]:
        """Return weights and size of windows that touch and do not overlap."""
        rows, columns = layer.kernel_size[:2]
        if tuple(layer.stride[:2]) != (rows, columns) or any(layer.padding) or set(layer.dilation) != {1}:
            raise UnsupportedNode(f"expected a {kind} with stride equal to its kernel, no padding and no dilation")
        return integers_of(layer, self.call.block)[0, 0, :, :, 0], (rows, columns)

    def synapses(self, name: str, synapse: Any) -> Shape:
        """Connect SLAYER's dense synapse. Return the shape of the target."""
        shapes = [self._dense_layer(name, layer, imaginary) for layer, imaginary in parts_of(synapse)]
        return shapes[0]

    def _dense_layer(self, name: str, layer: Any, imaginary: bool) -> Shape:
        weight = integers_of(layer, self.call.block)
        shape = self.call.shape_in
        if math.prod(self.call.shape) != len(weight):  # on an image it runs at every place
            self.connect(name, Kernel(weight[..., 0], Window(), shape), imaginary)
            return self.call.shape
        weight = weight.reshape(len(weight), -1)
        if weight.shape[1] != math.prod(shape):
            raise UnsupportedNode(f"expected {math.prod(shape)} inputs, got {weight.shape[1]}")
        self.connect(name, Matrix(weight), imaginary)
        return (len(weight),)
