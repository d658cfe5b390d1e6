"""Networks of SLAYER blocks from a configuration."""

import functools
import math
import warnings
from collections.abc import Mapping
from typing import Any, Final, cast

import torch

from sdsnn_core.errors import ConfigError, SdsnnError, one_line
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Shape

from ..data.datasets import import_object
from ..run.config import LayerConfig, ModelConfig
from .quantisers import FewBits
from .tracing import blocks_of, output_of

LARGEST_SCALE: Final = 2.0
"""Of `model.norm`: weights are even integers / 64, and half of one is an integer still."""


class BlockNetwork(torch.nn.Module):
    """SLAYER blocks that run one after another, kept in order in `blocks`, with skip connections between them.

    forward takes (batch, *shape, steps) float32 spikes and returns the spikes of the last block in the same layout.

    Args:
        blocks: the blocks.
        skips: block -> an earlier block whose output is added to its input.
    """

    def __init__(self, blocks: list[torch.nn.Module], skips: Mapping[int, int] | None = None) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)
        self.skips = dict(skips or {})

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """Run all blocks over all steps."""
        kept: dict[int, torch.Tensor] = {}
        for number, block in enumerate(self.blocks):
            spikes = block(spikes + kept[self.skips[number]] if number in self.skips else spikes)
            if number in self.skips.values():
                kept[number] = spikes
        return spikes


def build_model(config: ModelConfig, input_shape: Shape, n_classes: int) -> torch.nn.Module:
    """Build the network that `config` describes; weights are drawn from torch's global generator.

    Raises ConfigError where a layer does not fit what is in front of it.
    """
    n_outputs = n_classes * config.outputs_per_class
    if config.factory is not None:
        return _from_factory(config.factory, input_shape, n_outputs)
    layers = config.layers or tuple(LayerConfig(kind="dense", out=size) for size in config.hidden)
    # Delays sit on hidden layers only: nothing behind the readout could carry them.
    readout = LayerConfig(kind="dense", out=n_outputs, delay=False)
    blocks: list[torch.nn.Module] = []
    sample = torch.zeros(1, *input_shape, 1)  # SLAYER makes shapes and delays on the first forward pass

    ends: list[int] = []  # the block of each layer
    skips: dict[int, int] = {}

    def put(block: torch.nn.Module) -> None:
        nonlocal sample
        with torch.no_grad():
            sample = block(sample)
        blocks.append(block)

    shapes: list[Shape] = []

    for index, layer in enumerate((*layers, readout)):
        where = f"model.layers.{index}" if index < len(layers) else "the readout"
        if layer.kind in ("dense", "recurrent") and sample.dim() > 3:
            put(import_slayer().block.cuba.Flatten())
        if layer.skip is not None:
            source = index - 1 - layer.skip
            if source < 0 or shapes[source] != tuple(sample.shape[1:-1]):
                got = f"layer {source} of shape {shapes[source]}" if source >= 0 else "no layer"
                raise ConfigError([f"{where} skip: expected a layer of shape {tuple(sample.shape[1:-1])}, got {got}"])
            skips[len(blocks)] = ends[source]
        try:
            put(_block(config, layer, tuple(sample.shape[1:-1]), readout=layer is readout))
        except (RuntimeError, ValueError) as error:
            raise ConfigError([f"{where}: a {layer.kind} layer does not fit its input: {one_line(error)}"]) from None
        if not sample.numel():
            raise ConfigError(
                [f"{where}: expected an output with at least one value, got shape {tuple(sample.shape[1:-1])}"]
            )
        ends.append(len(blocks) - 1)
        shapes.append(tuple(sample.shape[1:-1]))
    return BlockNetwork(blocks, skips)


@functools.cache
def weight_scale_norm() -> type[torch.nn.Module]:
    """Return SLAYER's WgtScaleBatchNorm with scales of at most 2, so that scaled weights stay integers."""
    slayer_norm: Any = import_slayer().neuron.norm.WgtScaleBatchNorm

    class WeightScale(slayer_norm):  # type: ignore[misc]
        """Subtracts a mean for each channel and divides by a power of two, 1/8 to 2."""

        def std(self, var: torch.Tensor) -> torch.Tensor:
            """Return the power of two next above the standard deviation."""
            scale: torch.Tensor = super().std(var).clamp(max=LARGEST_SCALE)
            return scale

    return WeightScale


def norm_class(name: str) -> Any:
    """Return the norm that `model.norm` names, None for none."""
    if name == "none":
        return None
    return weight_scale_norm() if name == "weight_scale" else import_slayer().neuron.norm.MeanOnlyBatchNorm


def cast_before_neurons(model: torch.nn.Module) -> None:
    """Let neurons have float32 input whatever precision the synapses compute in: their arithmetic is exact in it."""

    def cast(_neuron: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(value.float() for value in inputs)

    for block in blocks_of(model):
        neuron = getattr(block, "neuron", None)
        if isinstance(neuron, torch.nn.Module):
            neuron.register_forward_pre_hook(cast)


def _from_factory(path: str, input_shape: Shape, n_outputs: int) -> torch.nn.Module:
    """Return the network of a user's factory, run once with gradients.

    Raises:
        ConfigError: it is no module of blocks that fits.
    """
    make = import_object(path, "model.factory")
    try:
        model = make(input_shape, n_outputs)
    except SdsnnError:
        raise
    except Exception as error:  # the user's own code
        problem = (
            f"model.factory: expected {path} to take (input shape, number of outputs), got "
            f"{type(error).__name__}: {one_line(error)}"
        )
        raise ConfigError([problem]) from None
    if not isinstance(model, torch.nn.Module):
        raise ConfigError([f"model.factory: expected {path} to return a torch module, got {type(model).__name__}"])
    blocks = blocks_of(model)
    if not blocks:
        raise ConfigError(
            [f"model.factory: expected SLAYER blocks in the module of {path}, got {type(model).__name__}"]
        )
    sample = torch.zeros(1, *input_shape, 2)
    was_training = model.training
    try:
        emitted = output_of(model(sample))  # in the mode that it has, in which SLAYER's norms learn their shapes
        if emitted.requires_grad:
            emitted.sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            output = output_of(model.eval()(sample))
    except Exception as error:  # the user's own code
        where = f"model.factory: expected {path} to take input {input_shape}, forwards and backwards"
        raise ConfigError([f"{where}: {type(error).__name__}: {one_line(error)}"]) from None
    finally:
        model.train(was_training)
        model.zero_grad(set_to_none=True)
    if tuple(output.shape) != (1, n_outputs, 2):
        problem = f"model.factory: expected output of shape ({n_outputs},) from {path}, got {tuple(output.shape[1:-1])}"
        raise ConfigError([problem])
    for block in blocks:
        neuron: Any = getattr(block, "neuron", None)
        if hasattr(neuron, "threshold_eps"):  # as in `_block`
            neuron.threshold_eps = max(neuron.threshold_eps, 1 / neuron.s_scale)
    return model


def _block(config: ModelConfig, layer: LayerConfig, shape: Shape, *, readout: bool) -> torch.nn.Module:
    """Return one block. shape: of its input, without batch and steps. readout: the last one, which is an output."""
    room = getattr(import_slayer().block, config.neurons)
    graded = config.neurons == "sigma_delta"
    block: Any
    if layer.kind == "flatten":
        return cast("torch.nn.Module", room.Flatten())
    if layer.kind in ("conv", "pool") and len(shape) != 3:
        raise ValueError(f"expected shape (channels, height, width), got {shape}")
    if layer.kind == "recurrent" and graded:
        raise ValueError("expected dense, conv, pool or flatten layers of sigma_delta neurons, got recurrent")
    voltage = readout and config.readout == "voltage" and not graded
    neuron = _neuron(config, layer, norm=layer.kind != "pool" and not voltage)
    more: dict[str, Any] = {
        "weight_scale": config.weight_scale if layer.weight_scale is None else layer.weight_scale,
        "weight_norm": config.weight_norm if layer.weight_norm is None else layer.weight_norm,
        "delay": config.delay if layer.delay is None else layer.delay,
    }
    with warnings.catch_warnings():  # SLAYER still uses the old form of weight normalisation
        warnings.filterwarnings("ignore", message=".*weight_norm")
        if layer.kind == "pool":
            # One input spike passes a pool if its weight exceeds the threshold: SLAYER's own default is 1.1 of it.
            scale = 1.1 * neuron["threshold"] if layer.weight_scale is None else layer.weight_scale
            delay = bool(layer.delay)
            block = room.Pool(neuron, layer.kernel, weight_scale=scale, delay=delay)
        elif layer.kind == "conv":
            if shape[0] % (layer.groups or 1):
                raise ValueError(f"expected groups of equal size, got {shape[0]} channels in {layer.groups} groups")
            block = room.Conv(
                neuron, shape[0], layer.out, layer.kernel,
                stride=layer.stride or 1, padding=layer.padding or 0, groups=layer.groups or 1, **more,
            )  # fmt: skip
        elif voltage or (readout and graded):
            del more["delay"]
            block = (room.Output if graded else room.Affine)(neuron, math.prod(shape), layer.out, **more)
        else:
            kind = room.Recurrent if layer.kind == "recurrent" else room.Dense
            block = kind(neuron, math.prod(shape), layer.out, **more)
    if not graded:
        # One state unit instead of 0.01: the same `v > threshold`, also above 64 and in the CUDA kernel.
        block.neuron.threshold_eps = 1 / block.neuron.s_scale
    bits = config.weight_bits if layer.weight_bits is None else layer.weight_bits
    if bits < 8 and layer.kind != "pool":
        for name in ("synapse", "input_synapse", "recurrent_synapse"):
            if hasattr(block, name):
                getattr(block, name).pre_hook_fx = FewBits(bits)
    return cast("torch.nn.Module", block)


def _neuron(config: ModelConfig, layer: LayerConfig, *, norm: bool) -> dict[str, Any]:
    """Return SLAYER's parameters of the neurons of a layer. norm: allow a norm where the configuration has one."""
    neuron: dict[str, Any] = {**config.neuron.model_dump(), "requires_grad": False}
    if layer.neuron is not None:
        neuron.update(layer.neuron.model_dump(exclude_none=True))
    if config.norm != "none" and norm:
        neuron["norm"] = norm_class(config.norm)
    if config.neurons == "sigma_delta":
        neuron = {key: value for key, value in neuron.items() if not key.endswith("_decay")}
        neuron["activation"] = torch.nn.functional.relu
    return neuron
