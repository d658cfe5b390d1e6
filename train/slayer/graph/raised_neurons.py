"""Neurons of a Network -> neurons of SLAYER blocks, the inverse of `neurons`: one rule for each model.

What SLAYER's parameters cannot hold is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    AdaptiveLif,
    CubaLif,
    Delta,
    Population,
    RefractoryLif,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.rules import Rules, refused

from ..integers import Array, initial_voltage
from ..quantisers import Biases
from .graded import MESSAGE_BITS, WEIGHT_BITS

GRADIENT: Final = {"tau_grad": 0.01, "scale_grad": 10.0}  # surrogate gradients, as the default of `model.neuron`
LARGEST_TURN: Final = DECAY_UNITY - 1  # the length of (sin_decay, cos_decay) to which SLAYER clamps it


class Raised(NamedTuple):
    """A rule. room: gives the module of SLAYER's blocks.

    params: gives the parameters of the neuron, one value each. put: gives the neuron of a block the values of a
    population: (block, population, shape of the block's output, whether its voltage is an output).
    """

    room: Callable[[Any], str]
    params: Callable[[Any], dict[str, Any]]
    put: Callable[[Any, Any, Shape, bool], None]


def one(values: Array, what: str) -> int:
    """Return the value that all neurons share. Raises UnsupportedNode if they do not."""
    if values.size and (values != values.flat[0]).any():
        raise UnsupportedNode(
            f"expected one {what} for all neurons, as a SLAYER block has, got {values.min()}..{values.max()}; neurons "
            "scaled to one would round otherwise"
        )
    return int(values.flat[0])


def of_channels(population: Population, key: str, shape: Shape) -> Array:
    """Return a parameter as one value, or one for each channel of a block's output, flat."""
    channels = population.per_neuron(key).reshape(shape[0], -1)
    if (channels == channels.flat[0]).all():
        return np.asarray(channels[0, 0])
    if (channels != channels[:, :1]).any():
        raise UnsupportedNode(f"expected one {key.replace('_', ' ')} for each channel, as SLAYER has, got more")
    result: Array = channels[:, 0]
    return result


def _put_decays(neuron: Any, population: Population, shape: Shape, *names: str) -> None:
    """Give a neuron its decays, one value or one per channel of a dense block."""
    decays = [of_channels(population, name, shape) for name in names]
    if any(decay.size > 1 for decay in decays):
        if len(shape) > 1:
            raise UnsupportedNode(
                "expected one decay for all channels of a convolution, as SLAYER's CPU path, got more"
            )
        decays = [np.broadcast_to(decay, shape[0]) for decay in decays]
        neuron.shared_param = False
    for name, decay in zip(names, decays, strict=True):
        getattr(neuron, name).data = torch.from_numpy(np.array(decay, np.float32).reshape(-1))
    neuron.shape, neuron.num_neurons = torch.Size(shape), math.prod(shape)


def _without_voltage(voltage: bool) -> None:
    if voltage:
        raise UnsupportedNode("expected spikes as output, or the voltage of CUBA or Sigma neurons, got another voltage")


# -- CUBA -------------------------------------------------------------------------------------------------------------


def _cuba_params(population: CubaLif) -> dict[str, Any]:
    threshold = one(population.threshold, "threshold")
    params: dict[str, Any] = {"threshold": threshold / 64, "current_decay": 1.0, "voltage_decay": 1.0, **GRADIENT}
    if population.bias.any():
        params["norm"] = import_slayer().neuron.norm.MeanOnlyBatchNorm
    return params


def _put_cuba(block: Any, population: CubaLif, shape: Shape, voltage: bool) -> None:
    """Give a block's neuron the decays, bias and start of a population."""
    neuron = block.neuron
    neuron.threshold_eps = 1 / neuron.s_scale
    _put_decays(neuron, population, shape, "current_decay", "voltage_decay")
    bias = of_channels(population, "bias", shape)
    never = voltage and bool((population.threshold == NEVER_FIRES).all())
    start = (
        np.zeros((), np.int64)
        if never
        else initial_voltage(
            population.per_neuron("bias"),
            population.per_neuron("voltage_decay"),
            one(population.threshold, "threshold"),
        )
    )
    if (np.broadcast_to(start, population.size) != population.per_neuron("initial_voltage")).any():
        raise UnsupportedNode("expected the initial voltage that cancels the bias before the first input, got another")
    if not population.bias.any():
        if population.bias_exp != 6:
            raise UnsupportedNode(f"expected bias_exp 6, as SLAYER's biases, got {population.bias_exp}")
        return
    if voltage or population.bias_exp != 6:
        raise UnsupportedNode("expected a bias of bias_exp 6 on a population that fires, got another")
    norm = neuron.norm
    norm.pre_hook_fx, norm.update = Biases(), False
    norm.num_features, norm.running_mean = (
        shape[0],
        torch.from_numpy(np.broadcast_to(-bias / 64, shape[0]).copy()).float(),
    )


# -- adaptive and resonating ------------------------------------------------------------------------------------------


def _adaptive_params(population: AdaptiveLif) -> dict[str, Any]:
    if population.bias.any() or population.bias_exp != 6:
        raise UnsupportedNode("expected adaptive neurons without bias and with bias_exp 6, got others")
    decays = dict.fromkeys(("current_decay", "voltage_decay", "threshold_decay", "refractory_decay"), 1.0)
    step = one(population.threshold_step, "threshold step")
    return {
        "threshold": one(population.threshold, "threshold") / 64, "threshold_step": step / 64, **decays, **GRADIENT
    }  # fmt: skip


def _put_adaptive(block: Any, population: AdaptiveLif, shape: Shape, voltage: bool) -> None:
    _without_voltage(voltage)
    names = ("current_decay", "voltage_decay", "threshold_decay", "refractory_decay")
    _put_decays(block.neuron, population, shape, *names)


def _resonator_params(population: Resonator) -> dict[str, Any]:
    return {"threshold": one(population.threshold, "threshold") / 64, "period": 8.0, "decay": 0.5, **GRADIENT}


def _put_resonator(block: Any, population: Resonator, shape: Shape, voltage: bool) -> None:
    _without_voltage(voltage)
    sin, cos = population.per_neuron("sin_decay"), population.per_neuron("cos_decay")
    if (sin < 1).any() or (sin**2 + cos**2 > LARGEST_TURN**2).any():
        raise UnsupportedNode(
            f"expected a sin_decay of at least 1, and with cos_decay a length up to {LARGEST_TURN}, to which SLAYER "
            "clamps them, got others"
        )
    _put_decays(block.neuron, population, shape, "sin_decay", "cos_decay")


# -- sigma-delta ------------------------------------------------------------------------------------------------------


def _activation(population: Population) -> dict[str, Any]:
    relu = not isinstance(population, SigmaDelta) or population.relu
    return {"activation": torch.nn.functional.relu if relu else torch.nn.Identity()}


def _encoder_params(population: SigmaDelta | Delta) -> dict[str, Any]:
    if population.cumulative:
        raise UnsupportedNode("expected no cumulative error, with which SLAYER's forward pass stops, got one")
    return {"threshold": 1.0, **_activation(population), **GRADIENT}


def _put_encoder(block: Any, population: SigmaDelta | Delta, shape: Shape, voltage: bool) -> None:
    _without_voltage(voltage)
    unit = 2.0 ** (population.spike_exp - MESSAGE_BITS)
    delta = block.neuron.delta
    threshold = of_channels(population, "threshold", shape)
    if (threshold < 1).any():
        raise UnsupportedNode("expected thresholds of at least 1, as SLAYER's, got 0")
    delta.shared_param = threshold.size == 1
    values = torch.from_numpy(np.array(threshold * unit, np.float32).reshape(-1))
    delta.threshold.data = values if delta.shared_param else values.reshape(-1, *(1,) * (len(shape) - 1))
    delta.shape = torch.Size(shape)
    if isinstance(population, SigmaDelta) and population.bias.any():
        bias = population.per_neuron("bias").reshape(shape) * unit
        block.neuron.set_bias(torch.from_numpy(bias.astype(np.float32)))


def _sigma_params(population: Sigma) -> dict[str, Any]:
    return {"threshold": 1.0, **_activation(population)}


def _put_sigma(block: Any, population: Sigma, shape: Shape, voltage: bool) -> None:
    if not voltage:
        raise UnsupportedNode("expected a Sigma whose voltage is an output, got spikes")


def state_bits(population: Population, bits: int) -> int:
    """Return the exponent of two by which weights in front of sigma-delta neurons are larger than in SLAYER.

    bits: of the fraction of what arrives. Raises UnsupportedNode where messages would not count in 1/4096.
    """
    if not isinstance(population, SigmaDelta):
        return 0
    shift = 0 if bits else MESSAGE_BITS - WEIGHT_BITS
    if (expected := WEIGHT_BITS + bits + shift - MESSAGE_BITS) != population.state_exp:
        raise UnsupportedNode(
            f"expected state_exp {expected}, with which messages count in 1/{2**MESSAGE_BITS} as SLAYER's, "
            f"got {population.state_exp}"
        )
    return shift


_no_refractory: Final = refused("expected no refractory period, which SLAYER's neurons have not, got RefractoryLif")
RAISED: Final[Rules[Raised]] = Rules(
    "raising: neurons",
    {
        CubaLif: Raised(lambda _: "cuba", _cuba_params, _put_cuba),
        RefractoryLif: Raised(_no_refractory, _no_refractory, _no_refractory),
        AdaptiveLif: Raised(lambda _: "alif", _adaptive_params, _put_adaptive),
        Resonator: Raised(lambda item: "rf_iz" if item.reset else "rf", _resonator_params, _put_resonator),
        SigmaDelta: Raised(lambda _: "sigma_delta", _encoder_params, _put_encoder),
        Delta: Raised(lambda _: "sigma_delta", _encoder_params, _put_encoder),
        Sigma: Raised(lambda _: "sigma_delta", _sigma_params, _put_sigma),
    },
)
