"""One step of each neuron model, as Lava's fixed-point process models compute it (lava-nc 0.10.0). Part of the oracle.

With a the sum that arrives, decay(x, d) = sign(x) * (|x| * (4096 - d) >> 12), which rounds towards 0:

CubaLif (lava.proc.lif PyLifModelBitAcc)
    u  = decay(u, current_decay) + 64 a                          wraps at 24 bits
    v  = decay(v, voltage_decay) + u + bias * 2**bias_exp        saturates at +-(2**23 - 1)
    spike where v > 64 * threshold, and there v = 0; u is kept

RefractoryLif (as above; the period as in lava.proc.lif PyLifRefractoryModelFloat)
    v  = 0 in the `refractory` steps that follow a spike; u goes on

AdaptiveLif (lava.proc.atrlif PyATRLIFModelFixed): u and v as above, and with M = 64 * threshold
    th = decay(th - M, threshold_decay) + M
    r  = decay(r, refractory_decay)
    spike where v - r >= th, and there r = r + 2 th and then th = th + 64 * threshold_step; v is kept

Resonator (lava.proc.rf PyRFModelFixed, lava.proc.rf_iz PyRF_IZModelFixed), b the imaginary sum, x // 4096 towards 0
    re = cos_decay re // 4096 - sin_decay im // 4096 + 64 a      saturates at +-(2**23 - 1), as im does
    im = sin_decay re // 4096 + cos_decay im // 4096 + 64 b      both from the re and im of the last step
    spike where re >= 64 * threshold, im >= 0 and im was < 0; or, with reset,
    spike where im >= 64 * threshold, and there re = 0 and im = 64 * threshold - 1

Delta and SigmaDelta (lava.proc.sdn), with k = spike_exp + state_exp
    x = a * 2**k                                                 Delta
    s = s + a;  x = s + bias * 2**k, or 0 if that is less        SigmaDelta
    change = x - (x of the last step) + residue
    sends change >> state_exp where |change| >= threshold * 2**k, and there residue = 0; elsewhere residue = change
    (cumulative: where |error| >= threshold * 2**k with error = error + change; error = 0 where something was sent)

Sigma
    s = s + a; sends s

Lava's wrap of u subtracts 2**24 once, and all registers are integers of 32 bits. Both are kept.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..arithmetic import decay, int32, saturate, wrap_current
from ..rules import Rules
from .models import (
    AdaptiveLif,
    CubaLif,
    Delta,
    Encoder,
    Population,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
)

Ints = npt.NDArray[np.int64]


class Step(Protocol):
    """State of one population for a batch of samples. `current` and `voltage` are what `record_state` keeps."""

    current: Ints
    voltage: Ints

    def __init__(self, population: Population, n_samples: int) -> None: ...

    def step(self, arriving: Ints, imaginary: Ints) -> npt.NDArray[np.int64] | npt.NDArray[np.bool_]:
        """Advance by one step; both (n_samples, size) int64 sums. Returns what it sends, of the same shape."""


STEPS: Rules[type[Step]] = Rules("reference: neurons")


class _Leaky:
    """Current and voltage of leaky neurons."""

    def __init__(self, population: CubaLif | RefractoryLif | AdaptiveLif, n_samples: int) -> None:
        self.current_decay = population.per_neuron("current_decay")
        self.voltage_decay = population.per_neuron("voltage_decay")
        self.threshold = population.per_neuron("threshold") * 64
        self.bias = population.per_neuron("bias") << population.bias_exp
        self.current = np.zeros((n_samples, population.size), np.int64)
        self.voltage = np.zeros((n_samples, population.size), np.int64)
        if "initial_voltage" in population.ranges:
            self.voltage += population.per_neuron("initial_voltage")

    def integrate(self, arriving: Ints) -> None:
        """Advance current and voltage."""
        current = int32(decay(self.current, self.current_decay) + int32(arriving << 6))
        self.current = int32(wrap_current(current))
        voltage = int32(decay(self.voltage, self.voltage_decay) + self.current + self.bias)
        self.voltage = saturate(voltage)


@STEPS.of(CubaLif)
class _CubaLif(_Leaky):
    def step(self, arriving: Ints, imaginary: Ints) -> npt.NDArray[np.bool_]:
        self.integrate(arriving)
        spike = self.voltage > self.threshold
        self.voltage[spike] = 0
        return spike


@STEPS.of(RefractoryLif)
class _RefractoryLif(_Leaky):
    def __init__(self, population: RefractoryLif, n_samples: int) -> None:
        super().__init__(population, n_samples)
        self.period = population.per_neuron("refractory")
        self.remaining = np.zeros_like(self.voltage)

    def step(self, arriving: Ints, imaginary: Ints) -> npt.NDArray[np.bool_]:
        self.integrate(arriving)
        self.voltage[self.remaining > 0] = 0
        spike = self.voltage > self.threshold
        self.voltage[spike] = 0
        self.remaining = np.where(spike, self.period, np.maximum(self.remaining - 1, 0))
        return spike


@STEPS.of(AdaptiveLif)
class _AdaptiveLif(_Leaky):
    def __init__(self, population: AdaptiveLif, n_samples: int) -> None:
        super().__init__(population, n_samples)
        self.threshold_decay = population.per_neuron("threshold_decay")
        self.refractory_decay = population.per_neuron("refractory_decay")
        self.threshold_step = population.per_neuron("threshold_step") * 64
        self.adapted = np.tile(self.threshold, (n_samples, 1))
        self.refractory = np.zeros_like(self.adapted)

    def step(self, arriving: Ints, imaginary: Ints) -> npt.NDArray[np.bool_]:
        self.integrate(arriving)
        self.adapted = int32(decay(int32(self.adapted - self.threshold), self.threshold_decay) + self.threshold)
        self.refractory = decay(self.refractory, self.refractory_decay)
        spike = int32(self.voltage - self.refractory) >= self.adapted
        self.refractory = int32(self.refractory + 2 * self.adapted * spike)
        self.adapted = int32(self.adapted + self.threshold_step * spike)
        return spike


@STEPS.of(Resonator)
class _Resonator:
    """`current` is the real part, `voltage` the imaginary one."""

    def __init__(self, population: Resonator, n_samples: int) -> None:
        self.sin, self.cos = population.per_neuron("sin_decay"), population.per_neuron("cos_decay")
        self.threshold = population.per_neuron("threshold") * 64
        self.reset = population.reset
        self.current = np.zeros((n_samples, population.size), np.int64)
        self.voltage = np.zeros((n_samples, population.size), np.int64)

    def step(self, arriving: Ints, imaginary: Ints) -> npt.NDArray[np.bool_]:
        def part(factor: Ints, state: Ints) -> Ints:
            magnitude: Ints = np.abs(factor * state) >> 12
            return np.sign(state) * magnitude

        real, before = self.current, self.voltage
        self.current = saturate(part(self.cos, real) - part(self.sin, before) + int32(arriving << 6))
        self.voltage = saturate(part(self.sin, real) + part(self.cos, before) + int32(imaginary << 6))
        if not self.reset:
            return (self.current >= self.threshold) & (self.voltage >= 0) & (before < 0)
        spike = self.voltage >= self.threshold
        self.current[spike] = 0
        self.voltage[spike] = np.broadcast_to(self.threshold, spike.shape)[spike] - 1
        return spike


class _Encoder:
    """The sending half of `Delta` and `SigmaDelta`; `voltage` is the value whose changes are sent."""

    def __init__(self, population: Encoder, n_samples: int) -> None:
        self.scale = population.spike_exp + population.state_exp
        self.state_exp, self.cumulative = population.state_exp, population.cumulative
        self.threshold = population.per_neuron("threshold") << self.scale
        self.current, self.voltage, self.residue, self.error = np.zeros((4, n_samples, population.size), np.int64)

    def encode(self, value: Ints) -> Ints:
        """Return the messages that bring the receivers from the last value to this one."""
        change = int32(value - self.voltage + self.residue)
        self.voltage = value
        measured = change
        if self.cumulative:
            measured = self.error = int32(self.error + change)
        sent = np.where(int32(np.abs(measured)) >= self.threshold, change, 0)
        self.error = np.where(int32(np.abs(sent)) > 0, 0, self.error)
        self.residue = int32(change - sent)
        return sent >> self.state_exp


@STEPS.of(Delta)
class _Delta(_Encoder):
    def step(self, arriving: Ints, imaginary: Ints) -> Ints:
        return self.encode(int32(arriving << self.scale))


@STEPS.of(SigmaDelta)
class _SigmaDelta(_Encoder):
    """`current` is the sum."""

    def __init__(self, population: SigmaDelta, n_samples: int) -> None:
        super().__init__(population, n_samples)
        self.bias, self.relu = population.per_neuron("bias") << self.scale, population.relu

    def step(self, arriving: Ints, imaginary: Ints) -> Ints:
        self.current = int32(self.current + arriving)
        value = int32(self.current + self.bias)
        return self.encode(np.maximum(value, 0) if self.relu else value)


@STEPS.of(Sigma)
class _Sigma:
    def __init__(self, population: Sigma, n_samples: int) -> None:
        self.current = self.voltage = np.zeros((n_samples, population.size), np.int64)

    def step(self, arriving: Ints, imaginary: Ints) -> Ints:
        self.current = self.voltage = int32(self.current + arriving)
        return self.current
