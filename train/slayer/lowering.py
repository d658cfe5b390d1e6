"""From a trained SLAYER model to a Network: every block has a rule or is refused by name.

SLAYER's CUBA blocks are integer arithmetic in disguise: weights are quantised to k/64 (k even), thresholds to k/64,
decays to k/4096, and the leaky integrator rounds towards zero in 64-bit integers. The rules below read those
integers; nothing is rounded here. With `delay_shift=True`, SLAYER's default, output bin t of a block is bin t of
the population it becomes (one step of transport per block on both sides).

A bias is integrated by the chip one step earlier than by SLAYER, because the chip's neurons run before their first
input can arrive. An initial voltage cancels that step exactly (`initial_voltage` in `lowering_numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

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

STEP_S: Final = 1e-3  # of a step where the data do not tell: what chips are usually throttled to


@dataclass(frozen=True)
class _Place:
    """Where the chain of blocks has got to: the node whose spikes come next, their shape, and their axonal delays."""

    source: str
    shape: Shape
    delay: Array  # () or (channels,), steps
    signal: str = "spikes"


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

    Example:
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


def lowered_kinds() -> tuple[type, ...]:
    """Return the classes of the blocks that are lowered."""
    cuba = import_slayer().block.cuba
    return (cuba.Input, cuba.Flatten, cuba.Dense, cuba.Conv, cuba.Pool, cuba.Recurrent, cuba.Affine)


def why_not(block: torch.nn.Module) -> str:
    """Return why a block is not lowered, as far as its kind tells."""
    module = type(block).__module__.rsplit(".", 1)[-1]
    reason = _REASONS.get(module) or _REASONS.get(type(block).__name__)
    return f"no rule to lower it ({reason})" if reason else "no rule to lower it"


class _Builder:
    def __init__(self, shape: Shape, input_max: int) -> None:
        self.nodes: dict[str, Node] = {"input": Input(shape, input_max)}
        self.projections: dict[str, Projection] = {}
        self.at = _Place("input", shape, np.zeros((), np.int64))
        rules = (self.input, self.flatten, self.dense, self.conv, self.pool, self.recurrent, self.affine)
        self.rules: dict[type, Callable[[str, Any], None]] = dict(zip(lowered_kinds(), rules, strict=True))

    def add(self, index: int, block: torch.nn.Module) -> None:
        where = f"block {index} ({type(block).__module__.rsplit('.', 1)[-1]}.{type(block).__name__})"
        rule = self.rules.get(type(block))
        if rule is None:
            known = ", ".join(sorted(kind.__name__ for kind in self.rules))
            raise UnsupportedNode(f"{where}: {why_not(block)}; allowed are the cuba blocks {known}")
        if self.at.signal != "spikes":
            raise UnsupportedNode(f"{where}: stands behind an Affine readout, which must be the last block")
        try:
            rule(population_name(index, block), block)
        except UnsupportedNode as error:
            raise UnsupportedNode(f"{where}: {error}") from None

    def finish(self, dt_s: float, provenance: Mapping[str, Any]) -> Network:
        if self.at.source == "input":
            raise UnsupportedNode("the model has no block with neurons")
        if self.at.delay.any():
            raise UnsupportedNode(
                "the last block has axonal delays; nothing behind it can carry them (set delay=False)"
            )
        self.nodes["output"] = Output(self.at.source, "voltage" if self.at.signal == "voltage" else "spikes")
        return Network(self.nodes, self.projections, dt_s, provenance)

    def input(self, name: str, block: Any) -> None:
        if block.neuron is None:
            if block.weight is not None or block.bias is not None or block.delay_shift:
                raise UnsupportedNode(
                    "without neurons, weight, bias and delay_shift are not lowered; allowed is Input(delay_shift=False)"
                )
            return
        if self.at.source != "input" or len(self.nodes) > 1:
            raise UnsupportedNode("is not the first block; allowed is one Input, in front")
        if self.nodes["input"].max_value > INPUT_MAX:  # type: ignore[union-attr]
            raise UnsupportedNode(
                f"its quantiser clips values above {INPUT_MAX}, the input has up to {self.nodes['input'].max_value}"  # type: ignore[union-attr]
            )
        weight, bias = input_integers(block)
        shape, channels = self.at.shape, self.at.shape[0]
        if len(shape) == 3:  # a neuron for each pixel that keeps the image: a kernel of one place in as many groups
            self.convolution(name, np.full((channels, 1, 1, 1), weight), (1, 1), (0, 0), (1, 1), channels)
        else:
            self.synapses(name, weight * np.eye(channels, dtype=np.int64))
        self.population(name, shape, block, bias)

    def flatten(self, name: str, block: Any) -> None:
        channels = self.at.shape[0]
        delay = self.at.delay
        if delay.ndim:
            delay = np.repeat(delay, math.prod(self.at.shape) // channels)
        self.at = replace(self.at, shape=(math.prod(self.at.shape),), delay=delay)

    def dense(self, name: str, block: Any) -> None:
        weight = integers_of(block.synapse)
        self.synapses(name, weight.reshape(weight.shape[0], -1))
        self.population(name, (weight.shape[0],), block)

    def recurrent(self, name: str, block: Any) -> None:
        weight = integers_of(block.input_synapse)
        if block.bias is not None:
            raise UnsupportedNode("a bias on the input synapse of a Recurrent block is not lowered")
        self.synapses(name, weight.reshape(weight.shape[0], -1))
        loop = integers_of(block.recurrent_synapse).reshape(weight.shape[0], -1)
        self.projections[f"{name}.loop"] = Synapses.from_dense(name, name, loop)
        self.population(name, (weight.shape[0],), block)

    def affine(self, name: str, block: Any) -> None:
        weight = integers_of(block.synapse)
        self.synapses(name, weight.reshape(weight.shape[0], -1))
        shape = (weight.shape[0],)
        if block.dynamics:
            current, voltage = decays_of(block.neuron, shape)
        else:  # only the weighted sum of each step
            current = voltage = np.array(DECAY_UNITY)
        if block.neuron.norm is not None:
            raise UnsupportedNode("an Affine readout with a norm is not lowered")
        self.nodes[name] = Population(shape, current, voltage, np.array(NEVER_FIRES))
        self.at = _Place(name, shape, np.zeros((), np.int64), "voltage")

    def conv(self, name: str, block: Any) -> None:
        layer = block.synapse
        self.convolution(name, integers_of(layer)[..., 0], layer.stride, layer.padding, layer.dilation, layer.groups)
        self.population(name, self.projection_shape(name), block)

    def pool(self, name: str, block: Any) -> None:
        layer = block.synapse
        size = layer.kernel_size[:2]
        if tuple(layer.stride[:2]) != tuple(size) or any(layer.padding) or set(layer.dilation) != {1}:
            raise UnsupportedNode(
                "a Pool block is lowered only with stride equal to its kernel, no padding and no dilation"
            )
        weight = integers_of(layer)[0, 0, :, :, 0]
        # SLAYER appends zeros where the kernel does not divide the source: the same sums come from a kernel with as
        # many leading zeros and that much padding.
        extra = tuple(n % k for n, k in zip(self.at.shape[1:], size, strict=True))
        kernel = np.pad(weight, ((extra[0], 0), (extra[1], 0)))
        channels = self.at.shape[0]
        self.convolution(name, np.tile(kernel, (channels, 1, 1, 1)), size, extra, (1, 1), channels)
        self.population(name, self.projection_shape(name), block)

    def projection_shape(self, name: str) -> Shape:
        projection = self.projections[f"{self.at.source}-{name}"]
        assert isinstance(projection, Convolution)
        return projection.output_shape(self.at.shape)

    def synapses(self, name: str, weight: Array) -> None:
        if weight.shape[1] != math.prod(self.at.shape):
            raise UnsupportedNode(
                f"takes {weight.shape[1]} inputs, but {self.at.source!r} has {math.prod(self.at.shape)}"
            )
        delay = self.at.delay
        if delay.ndim:
            delay = np.repeat(delay, weight.shape[1] // len(delay))
        self.projections[f"{self.at.source}-{name}"] = Synapses.from_dense(self.at.source, name, weight, delay)

    def convolution(self, name: str, kernel: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
        self.projections[f"{self.at.source}-{name}"] = Convolution(
            self.at.source, name, kernel, stride[:2], padding[:2], dilation[:2], groups, self.at.delay
        )

    def population(self, name: str, shape: Shape, block: Any, added: int = 0) -> None:
        neuron = block.neuron
        if not block.delay_shift:
            raise UnsupportedNode(
                "delay_shift=False is not lowered; a chip takes one step per layer (delay_shift=True)"
            )
        if neuron.graded_spike:
            raise UnsupportedNode("graded spikes are not lowered; allowed is graded_spike=False")
        threshold = int(neuron.v_th_mant)
        if threshold >= 64 * neuron.w_scale and neuron.threshold_eps < 1 / neuron.s_scale:
            # In float32 SLAYER's epsilon of 0.01 state units vanishes beside such a threshold, so it fires on a tie.
            raise UnsupportedNode(
                f"threshold {neuron.threshold} fires on a tie, the chip does not; "
                "set neuron.threshold_eps = 1 / s_scale"
            )
        current, voltage = decays_of(neuron, shape)
        bias = bias_of(neuron, shape, getattr(block, "unit_gate", None)) + added
        self.nodes[name] = Population(
            shape,
            current,
            voltage,
            np.array(threshold),
            bias,
            initial_voltage=initial_voltage(bias, voltage, threshold),
        )
        self.at = _Place(name, shape, axonal_delay(block))
