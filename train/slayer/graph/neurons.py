"""Rules by which SLAYER's neurons become populations: one for each class of neuron.

Each says for which parameters SLAYER's arithmetic is that of the chip, to the bit, and refuses the others. All of them
are equal only as long as no register of the chip overflows: SLAYER's integers are longer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import (
    BIAS_EXP_MAX,
    DECAY_UNITY,
    NEVER_FIRES,
    AdaptiveLif,
    CubaLif,
    Delta,
    Population,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.rules import Rules

from ..integers import Array, bias_of, decays_of, initial_voltage, norm_exponent, per_channel
from .graded import MESSAGE_BITS, WEIGHT_BITS

SPIKE_EXP = 6  # of Lava's sigma-delta neurons: thresholds and biases count in 1/64


class Site(NamedTuple):
    """Where neurons stand.

    block: their block. shape: of its output. added: a bias of an Input block, in 1/64. moved: steps by which its inputs
    are late in place of its outputs, () or (channels,). bits: of the fraction of what arrives. shift: the exponent of
    two of its projections beyond that of the block's quantiser.
    """

    block: Any
    shape: Shape
    added: int = 0
    moved: Array | int = 0
    bits: int = 0
    shift: int = 0

    def values(self, *names: str) -> list[Array]:
        """Return parameters of the neuron, one value or one per channel."""
        return [per_channel(getattr(self.block.neuron, name), self.shape) for name in names]


@functools.cache
def neuron_rules() -> Rules[Callable[[Site], Population]]:
    """Return the table of rules by class of neuron."""
    neuron = import_slayer().neuron
    return Rules(
        "lowering: SLAYER neuron",
        {
            neuron.cuba.Neuron: _cuba,
            neuron.alif.Neuron: _adaptive,
            neuron.rf.Neuron: _resonator,
            neuron.rf_iz.Neuron: _resonator,
            neuron.sigma_delta.Neuron: _sigma_delta,
        },
    )


def population_of(site: Site) -> Population:
    """Return the population of a block's neurons. Raises UnsupportedNode where it would spike differently."""
    rules = neuron_rules()
    kind = next((kind for kind in type(site.block.neuron).__mro__ if kind in rules), type(site.block.neuron))
    return rules[kind](site)


def _spiking(site: Site) -> None:
    """Refuse what no spiking neuron is lowered with."""
    if not site.block.delay_shift:
        raise UnsupportedNode("expected delay_shift=True, as a chip takes one step per layer, got False")
    if site.block.neuron.graded_spike:
        raise UnsupportedNode("expected graded_spike=False, got True: graded spikes are not lowered")
    if site.bits:
        raise UnsupportedNode(
            f"expected spikes or events as input, got messages of sigma-delta neurons, which count in 1/{2**site.bits}"
        )


def _without_norm(site: Site, *norms: str) -> None:
    """Refuse a bias that SLAYER adds before the neuron's first decay, where no process has one."""
    if any(getattr(site.block.neuron, norm) is not None for norm in norms) or site.added:
        raise UnsupportedNode(
            "expected neurons without norm and bias, got some: SLAYER adds them to the input, Lava has no such bias"
        )


def _threshold(site: Site, low: int = 0) -> int:
    """Return the threshold in 1/64."""
    threshold = int(site.block.neuron.v_th_mant)
    if threshold < low:
        raise UnsupportedNode(f"expected a threshold of at least {low}/64, got {threshold}/64")
    return threshold


def _cuba(site: Site) -> CubaLif:
    neuron, shape = site.block.neuron, site.shape
    _spiking(site)
    threshold = int(neuron.v_th_mant)
    if threshold >= 64 * neuron.w_scale and neuron.threshold_eps < 1 / neuron.s_scale:
        # In float32 SLAYER's epsilon of 0.01 state units vanishes beside such a threshold, so it fires on a tie.
        raise UnsupportedNode(
            "expected neuron.threshold_eps = 1 / s_scale, got a larger one, with which threshold "
            f"{neuron.threshold} fires on a tie; the chip does not"
        )
    current, voltage = decays_of(neuron, shape)
    bias = bias_of(neuron, shape, getattr(site.block, "unit_gate", None)) + site.added
    moved = site.moved
    late = np.reshape(moved, (-1, *(1,) * (len(shape) - 1))) if np.ndim(moved) else moved
    exponent = 6 + norm_exponent(neuron) if bias.any() else 6
    if exponent > BIAS_EXP_MAX:
        bias, exponent = bias * 2 ** (exponent - BIAS_EXP_MAX), BIAS_EXP_MAX
    start = initial_voltage(bias, voltage, threshold, late, exponent)
    return CubaLif(shape, current, voltage, np.array(threshold), bias, exponent, start)


def readout(site: Site) -> CubaLif:
    """Return the integrators of an Affine block, read by their voltage."""
    if site.bits:
        raise UnsupportedNode("expected spikes as input of an Affine readout, got messages of sigma-delta neurons")
    # Without dynamics: only the weighted sum of each step.
    unity = [np.array(DECAY_UNITY)] * 2
    current, voltage = decays_of(site.block.neuron, site.shape) if site.block.dynamics else unity
    if site.block.neuron.norm is not None:
        raise UnsupportedNode("expected an Affine readout without a norm, got one")
    return CubaLif(site.shape, current, voltage, np.array(NEVER_FIRES))


def _adaptive(site: Site) -> AdaptiveLif:
    """ALIF: SLAYER's step is Lava's. With a threshold of 0 the chip would spike in the step before the first input."""
    _spiking(site)
    _without_norm(site, "norm")
    decays = [f"cx_{kind}_decay" for kind in ("current", "voltage", "threshold", "refractory")]
    step = np.array(int(site.block.neuron.v_th_step))
    current, voltage, threshold, refractory = site.values(*decays)
    return AdaptiveLif(site.shape, current, voltage, threshold, refractory, np.array(_threshold(site, 1)), step)


def _resonator(site: Site) -> Resonator:
    """RF and RF_IZ: SLAYER's step is Lava's; with a reset, a threshold of 0 spikes before the first input."""
    _spiking(site)
    _without_norm(site, "real_norm", "imag_norm")
    if np.any(site.moved):
        raise UnsupportedNode("expected no axonal delay on an output, got one: no process delays what reaches an RF")
    reset = isinstance(site.block.neuron, import_slayer().neuron.rf_iz.Neuron)
    threshold = np.array(_threshold(site, int(reset)))
    sin, cos = site.values("cx_sin_decay", "cx_cos_decay")
    return Resonator(site.shape, sin, cos, threshold, reset=reset)


def sigma_of(site: Site) -> Sigma:
    """Return the decoders of a sigma-delta Output block."""
    return Sigma(site.shape)


def delta_of(site: Site) -> Delta:
    """Return the encoders of a sigma-delta Input block: what arrives counts in 1/64."""
    if site.added:
        raise UnsupportedNode("expected an Input block without bias, got one, which Lava's Delta does not have")
    if site.bits:
        raise UnsupportedNode("expected an Input block that reads events, got messages of sigma-delta neurons")
    neuron = site.block.neuron
    # Values are multiples of 1/64, so a finer threshold is the next multiple.
    threshold = np.ceil(_sd_threshold(neuron, site.shape) / 2 ** (MESSAGE_BITS - SPIKE_EXP)).astype(np.int64)
    return Delta(site.shape, threshold, spike_exp=SPIKE_EXP)


def _sigma_delta(site: Site) -> SigmaDelta:
    """SigmaDelta: the state counts in 1/2**(6 + bits + shift), thresholds and biases in 1/4096 times 2**spike_exp."""
    neuron, shape = site.block.neuron, site.shape
    state_exp = WEIGHT_BITS + site.bits + site.shift - MESSAGE_BITS
    threshold, bias = _sd_threshold(neuron, shape), _sd_bias(site)
    relu = _relu(neuron.activation)
    early = np.maximum(bias, 0) if relu else np.abs(bias)  # below the threshold it waits in the residue
    if (early >= threshold).any():
        raise UnsupportedNode(
            "expected biases below the threshold, as larger ones are sent before the first input arrives, got "
            f"{early.max() / 2**MESSAGE_BITS:g} and {threshold.min() / 2**MESSAGE_BITS:g}"
        )
    spike_exp = next(e for e in range(SPIKE_EXP, -1, -1) if not (threshold % 2**e).any() and not (bias % 2**e).any())
    return SigmaDelta(shape, threshold >> spike_exp, bias >> spike_exp, relu, spike_exp=spike_exp, state_exp=state_exp)


def _sd_threshold(neuron: Any, shape: Shape) -> Array:
    """Return the thresholds of sigma-delta neurons in 1/4096."""
    if neuron.delta.cum_error:
        raise UnsupportedNode("expected cum_error=False, got True, at which SLAYER's forward pass stops")
    neuron.delta.clamp()
    with torch.no_grad():
        values = neuron.delta.threshold.detach().cpu().double().numpy().reshape(-1)
    return per_channel(_multiples(values, "thresholds"), shape)


def _sd_bias(site: Site) -> Array:
    """Return the biases of sigma-delta neurons in 1/4096: of the norm, and those that were set."""
    neuron, shape = site.block.neuron, site.shape
    gate = getattr(site.block, "unit_gate", None)
    bias: Array = bias_of(neuron, shape, gate) * 2 ** (MESSAGE_BITS - WEIGHT_BITS)
    if not neuron.bias_is_set:
        return bias
    with torch.no_grad():
        values = _multiples(neuron.bias.detach().cpu().double().numpy(), "biases")
    values = values.reshape(()) if values.size == 1 else values
    if gate is not None and not bool(gate.all()):
        values = np.broadcast_to(values, shape) * per_channel(gate.cpu().numpy(), shape)
    return np.asarray(bias + values)


def _multiples(values: Array, what: str) -> Array:
    """Return values in 1/4096. Raises UnsupportedNode for others."""
    scaled = values * 2.0**MESSAGE_BITS
    if (scaled != np.rint(scaled)).any():
        worst = values.flat[int(np.abs(scaled - np.rint(scaled)).argmax())]
        raise UnsupportedNode(f"{what}: expected multiples of 1/{2**MESSAGE_BITS}, got {worst:.8g}; round them")
    return np.asarray(scaled, np.int64)


def _relu(activation: Any) -> bool:
    """Return whether an activation is a ReLU; False for the identity."""
    if activation in (torch.relu, torch.nn.functional.relu) or isinstance(activation, torch.nn.ReLU):
        return True
    if isinstance(activation, torch.nn.Identity):
        return False
    name = getattr(activation, "__name__", type(activation).__name__)
    raise UnsupportedNode(f"activation: expected torch.relu or torch.nn.Identity, as Lava's SigmaDelta has, got {name}")
