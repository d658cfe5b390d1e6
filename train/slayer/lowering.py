"""From a trained SLAYER model to a Network: every block has a rule or is refused by name.

SLAYER's CUBA blocks are integer arithmetic in disguise: weights are quantised to k/64 (k even), thresholds to k/64,
decays to k/4096, and the leaky integrator rounds towards zero in 64-bit integers. The rules below read those
integers; nothing is rounded here. With `delay_shift=True`, SLAYER's default, output bin t of a block is bin t of
the population it becomes (one step of transport per block on both sides).

A bias is integrated by the chip one step earlier than by SLAYER, because the chip's neurons run before their first
input can arrive. An initial voltage cancels that step exactly (`initial_voltage` in `integers`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import torch

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    Convolution,
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

from .integers import (
    INPUT_MAX,
    Array,
    axonal_delay,
    bias_of,
    decays_of,
    initial_voltage,
    input_integers,
    integers_of,
)

STEP_S: Final = 1e-3  # seconds of a step where the data have none: what chips are usually throttled to


@dataclass(frozen=True)
class _Place:
    """The end of the chain so far: the last node, the shape of its spikes, and their axonal delays."""

    source: str
    shape: Shape
    delay: Array  # () or (channels,), steps
    signal: Literal["spikes", "voltage"] = "spikes"


def lower(
    model: torch.nn.Module | Sequence[torch.nn.Module],
    input_shape: Sequence[int],
    *,
    input_max: int = 1,
    dt_s: float = STEP_S,
    provenance: Mapping[str, Any] | None = None,
) -> Network:
    """Lower a chain of SLAYER blocks to a Network in Loihi's integers; nothing is rounded.

    Args:
        model: a sequence of blocks, or a module that keeps them in order in `.blocks`. It must have run forward once,
            so that SLAYER knows its shapes.
        input_shape: (N,) or (C, H, W) of an input bin.
        input_max: largest value of an input bin; 1 means binary spikes.
        dt_s: seconds per step; the bin width, where the data are recordings.
        provenance: what network files carry along, as information only.

    Returns:
        The network, which spikes as the blocks do.

    Raises:
        UnsupportedNode: a block has no rule; the message names it.

    Examples:
        >>> import sdsnn, torch
        >>> from sdsnn_core.lava.compat import import_slayer
        >>> neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        >>> block = import_slayer().block.cuba.Dense(neuron, 4, 3, weight_scale=4)
        >>> spikes = block(torch.ones(1, 4, 5))
        >>> sdsnn.lower([block], input_shape=(4,)).populations["dense0"].size
        3
    """
    blocks = list(model.blocks) if isinstance(model, torch.nn.Module) else list(model)  # type: ignore[arg-type]
    builder = _Builder(tuple(int(n) for n in input_shape), input_max)
    for index, block in enumerate(blocks):
        builder.add(index, block)
    return builder.finish(dt_s, provenance or {})


def population_name(index: int, block: torch.nn.Module) -> str:
    """Return the name of the population that block number `index` becomes."""
    return f"{type(block).__name__.lower()}{index}"


# Why there is no rule: by block, then by the module of the neuron.
_REASONS: Final = {
    "ConvT": "neither Lava nor netx has a transposed convolution",
    "Unpool": "neither Lava nor netx has unpooling",
    "KWTA": "it picks winners among all neurons within a step, which a chip does not",
    "Average": "its outputs are means and not spikes; average the counts of the outputs instead",
    "TimeDecimation": "it changes the length of a step",
    "Residual": "its sum of spikes is no spike",
    "alif": "a Population has no adaptive threshold and no refractory state",
    "rf": "a Population has no resonator",
    "rf_iz": "a Population has no resonator",
    "adrf": "a Population has no resonator",
    "adrf_iz": "a Population has no resonator",
    "sigma_delta": "sigma-delta neurons send differences, a Population spikes",
}


@functools.cache
def block_rules() -> Rules[Callable[[_Builder, str, Any], None]]:
    """Return the table of rules by class of block."""
    cuba = import_slayer().block.cuba
    return Rules(
        "lowering: SLAYER block",
        {
            cuba.Input: _Builder.input,
            cuba.Flatten: _Builder.flatten,
            cuba.Dense: _Builder.dense,
            cuba.Conv: _Builder.conv,
            cuba.Pool: _Builder.pool,
            cuba.Recurrent: _Builder.recurrent,
            cuba.Affine: _Builder.affine,
        },
    )


def lowered_kinds() -> tuple[type, ...]:
    """Return the classes of the blocks that are lowered."""
    return tuple(block_rules())


def why_not(block: torch.nn.Module) -> str:
    """Return why a block is not lowered."""
    module = type(block).__module__.rsplit(".", 1)[-1]
    reason = _REASONS.get(module) or _REASONS.get(type(block).__name__)
    return f"no rule to lower it ({reason})" if reason else "no rule to lower it"


class _Builder:
    """The network so far. Rules of blocks add a population `name` and its projections, and move `at` to it."""

    def __init__(self, shape: Shape, input_max: int) -> None:
        self.nodes: dict[str, Node] = {"input": Input(shape, input_max)}
        self.projections: dict[str, Projection] = {}
        self.input_max = input_max
        self.at = _Place("input", shape, np.zeros((), np.int64))

    def add(self, index: int, block: torch.nn.Module) -> None:
        where = f"block {index} ({type(block).__module__.rsplit('.', 1)[-1]}.{type(block).__name__})"
        if type(block) not in block_rules():
            known = ", ".join(sorted(kind.__name__ for kind in block_rules()))
            raise UnsupportedNode(f"{where}: {why_not(block)}; expected one of the cuba blocks {known}")
        if self.at.signal != "spikes":
            raise UnsupportedNode(f"{where}: expected an Affine readout as the last block, got a block behind it")
        try:
            block_rules().for_(block)(self, population_name(index, block), block)
        except UnsupportedNode as error:
            raise UnsupportedNode(f"{where}: {error}") from None

    def finish(self, dt_s: float, provenance: Mapping[str, Any]) -> Network:
        if self.at.source == "input":
            raise UnsupportedNode("model: expected a block with neurons, got none")
        if self.at.delay.any():
            raise UnsupportedNode(
                "the last block: expected delay=False, as nothing behind it can carry delays, got delays"
            )
        self.nodes["output"] = Output(self.at.source, self.at.signal)
        return Network(self.nodes, self.projections, dt_s, provenance)

    def input(self, name: str, block: Any) -> None:
        if block.neuron is None:
            if block.weight is not None or block.bias is not None or block.delay_shift:
                raise UnsupportedNode(
                    "expected Input(delay_shift=False) without weight and bias where it has no neurons, got another"
                )
            return
        if len(self.nodes) > 1:
            raise UnsupportedNode("expected one Input as the first block, got a second or later one")
        if self.input_max > INPUT_MAX:
            raise UnsupportedNode(f"expected inputs up to {INPUT_MAX}, where its quantiser clips, got {self.input_max}")
        weight, bias = input_integers(block)
        shape, channels = self.at.shape, self.at.shape[0]
        if len(shape) == 3:  # a neuron for each pixel that keeps the image: a kernel of one place in as many groups
            self.convolution(name, np.full((channels, 1, 1, 1), weight), (1, 1), (0, 0), (1, 1), channels)
        else:
            self.synapses(name, weight * np.eye(channels, dtype=np.int64))
        self.population(name, shape, block, bias)

    def flatten(self, _name: str, _block: Any) -> None:
        size = math.prod(self.at.shape)
        self.at = replace(self.at, shape=(size,), delay=_for_each_input(self.at.delay, size))

    def dense(self, name: str, block: Any) -> None:
        self.population(name, self.synapses(name, integers_of(block.synapse)), block)

    def recurrent(self, name: str, block: Any) -> None:
        if block.bias is not None:
            raise UnsupportedNode("expected no bias on the input synapse of a Recurrent block, got one")
        shape = self.synapses(name, integers_of(block.input_synapse))
        loop = integers_of(block.recurrent_synapse).reshape(*shape, -1)
        self.projections[f"{name}.loop"] = Synapses.from_dense(name, name, loop)
        self.population(name, shape, block)

    def affine(self, name: str, block: Any) -> None:
        shape = self.synapses(name, integers_of(block.synapse))
        # Without dynamics: only the weighted sum of each step.
        current, voltage = decays_of(block.neuron, shape) if block.dynamics else [np.array(DECAY_UNITY)] * 2
        if block.neuron.norm is not None:
            raise UnsupportedNode("expected an Affine readout without a norm, got one")
        self.nodes[name] = Population(shape, current, voltage, np.array(NEVER_FIRES))
        self.at = _Place(name, shape, np.zeros((), np.int64), "voltage")

    def conv(self, name: str, block: Any) -> None:
        layer = block.synapse
        kernel = integers_of(layer)[..., 0]
        self.population(
            name, self.convolution(name, kernel, layer.stride, layer.padding, layer.dilation, layer.groups), block
        )

    def pool(self, name: str, block: Any) -> None:
        layer = block.synapse
        size = layer.kernel_size[:2]
        if tuple(layer.stride[:2]) != tuple(size) or any(layer.padding) or set(layer.dilation) != {1}:
            raise UnsupportedNode("expected a Pool with stride equal to its kernel, no padding and no dilation")
        weight = integers_of(layer)[0, 0, :, :, 0]
        # SLAYER appends zeros where the kernel does not divide the source: the same sums come from a kernel with as
        # many leading zeros and that much padding.
        extra = tuple(n % k for n, k in zip(self.at.shape[1:], size, strict=True))
        channels = self.at.shape[0]
        kernel = np.tile(np.pad(weight, ((extra[0], 0), (extra[1], 0))), (channels, 1, 1, 1))
        self.population(name, self.convolution(name, kernel, size, extra, (1, 1), channels), block)

    def synapses(self, name: str, weight: Array) -> Shape:
        """Add dense synapses from `at`; weight: (out, in, ...). Return the shape of the target."""
        weight = weight.reshape(len(weight), -1)
        n_inputs = weight.shape[1]
        if n_inputs != math.prod(self.at.shape):
            raise UnsupportedNode(
                f"expected {math.prod(self.at.shape)} inputs, as {self.at.source!r} has, got {n_inputs}"
            )
        delay = _for_each_input(self.at.delay, n_inputs)
        self.projections[f"{self.at.source}-{name}"] = Synapses.from_dense(self.at.source, name, weight, delay)
        return (len(weight),)

    def convolution(self, name: str, kernel: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> Shape:
        """Add a convolution from `at`. Return the shape of the target."""
        projection = Convolution(
            self.at.source, name, kernel, stride[:2], padding[:2], dilation[:2], groups, self.at.delay
        )
        self.projections[f"{self.at.source}-{name}"] = projection
        return projection.output_shape(self.at.shape)

    def population(self, name: str, shape: Shape, block: Any, added: int = 0) -> None:
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
        start = initial_voltage(bias, voltage, threshold)
        self.nodes[name] = Population(shape, current, voltage, np.array(threshold), bias, initial_voltage=start)
        self.at = _Place(name, shape, axonal_delay(block))


def _for_each_input(delay: Array, n_inputs: int) -> Array:
    """Return delays of channels as delays of their inputs, in order."""
    return np.repeat(delay, n_inputs // len(delay)) if delay.ndim else delay
