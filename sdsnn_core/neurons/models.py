"""Populations of neurons: one immutable type for each neuron model, in the integers of Loihi.

    type         SLAYER        Lava's process         sends
    CubaLif      cuba          LIF                    spikes
    RefractoryLif -            LIFRefractory          spikes
    AdaptiveLif  alif          ATRLIF                 spikes
    Resonator    rf, rf_iz     RF, RF_IZ              spikes
    SigmaDelta   sigma_delta   SigmaDelta             changes of its activation, as graded messages
    Delta        its input     Delta                  changes of what arrives
    Sigma        its output    Sigma                  the sum of what has arrived, in every step

What a step of each one does is in `steps.py`. A parameter is an array of shape () or of as many axes as `shape`,
every axis 1 or full, so that one value, one per channel or one per neuron are all stored as small as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from ..arithmetic import DECAY_UNITY
from ..errors import NetworkError
from ..geometry import Shape
from ..nodes import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    NEVER_FIRES,
    THRESHOLD_MAX,
    Input,
    IntArray,
    Output,
    checked_shape,
    frozen,
    in_range,
)

STATE_EXP_MAX = 7  # 3 bits (lava.proc.sdn)
REFRACTORY_MAX = 62  # refractDelay has 6 bits and is 1 where there is no refractory period
Ranges = dict[str, tuple[int, int]]
_DECAY = (0, DECAY_UNITY)


def _zero() -> IntArray:
    return np.zeros((), np.int32)


class Population:
    """A shape and a neuron model: what all populations have in common.

    Called by this name it makes CUBA neurons: `Population(...)` is `CubaLif(...)`.

    Attributes:
        shape: (N,) or (C, H, W).
        graded: Whether it sends messages with a value, and not spikes.
        state: What a neuron keeps from step to step.

    Examples:
        >>> population = Population((3,), current_decay=4096, voltage_decay=128, threshold=[80, 90, 80])
        >>> type(population).__name__, population.size, population.per_neuron("threshold")
        ('CubaLif', 3, array([80, 90, 80]))
    """

    shape: Shape
    graded: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]  # its name in a digest
    ranges: ClassVar[Ranges]  # array parameter -> its smallest and largest value
    exponents: ClassVar[dict[str, int]] = {}  # exponent -> its largest value

    def __new__(cls, *args: Any, **kwargs: Any) -> CubaLif:
        """Make CUBA neurons where no model is named."""
        return object.__new__(CubaLif if cls is Population else cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, "Population"))
        for name, (low, high) in self.ranges.items():
            array = frozen(getattr(self, name), np.int32, f"Population {name}")
            fits = array.ndim == len(self.shape) and all(
                a in (1, n) for a, n in zip(array.shape, self.shape, strict=True)
            )
            if array.ndim and not fits:
                raise NetworkError(
                    f"Population {name}: expected one value or the axes of {self.shape}, each 1 or full, "
                    f"got shape {array.shape}"
                )
            in_range(array, low, high, f"Population {name}")
            object.__setattr__(self, name, array)
        for name, high in self.exponents.items():
            if not 0 <= getattr(self, name) <= high:
                raise NetworkError(f"Population {name}: expected 0..{high}, got {getattr(self, name)}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def state_words(self) -> int:
        """Words of 32 bits that a neuron keeps from step to step."""
        return len(self.state)

    def per_neuron(self, name: str) -> npt.NDArray[np.int64]:
        """Return parameter `name` as (size,) int64, neurons in C order of `shape`."""
        return np.broadcast_to(getattr(self, name), self.shape).reshape(-1).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class CubaLif(Population):
    """CUBA leaky integrate-and-fire neurons with reset to zero.

    Args:
        shape: (N,) or (C, H, W).
        current_decay: 0..4096, in 1/4096 per step.
        voltage_decay: 0..4096, in 1/4096 per step.
        threshold: 0..131071, in units of 64 state units; NEVER_FIRES (131072) makes a pure integrator.
        bias: -4095..4095 in units of 2**bias_exp state units, added to the voltage in every step.
        bias_exp: 0..7.
        initial_voltage: State units before the first step, any int32: undoing the first step of a bias can take more
            than 24 bits.

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> CubaLif((3,), current_decay=4096, voltage_decay=128, threshold=[80, 90, 80]).per_neuron("threshold")
        array([80, 90, 80])
    """

    shape: Shape
    current_decay: IntArray
    voltage_decay: IntArray
    threshold: IntArray
    bias: IntArray = field(default_factory=_zero)
    bias_exp: int = 6
    initial_voltage: IntArray = field(default_factory=_zero)

    state = ("current", "voltage")
    kind = "Population"  # its name before other models came: digests stay as they were
    ranges: ClassVar[Ranges] = {
        "current_decay": _DECAY,
        "voltage_decay": _DECAY,
        "threshold": (0, NEVER_FIRES),
        "bias": (-BIAS_MAX, BIAS_MAX),
        "initial_voltage": (-(2**31) + 1, 2**31 - 1),
    }
    exponents: ClassVar[dict[str, int]] = {"bias_exp": BIAS_EXP_MAX}


@final
@dataclass(frozen=True, eq=False)
class RefractoryLif(Population):
    """CUBA neurons whose voltage stays at 0 for some steps after a spike; their current goes on.

    That is Lava's LIFRefractory, of which Lava has a model in floats only, with the integers of its LIF, and Loihi 1's
    `refractDelay`, which counts the step of the spike as well (nengo-loihi 1.1.0, `emulator/interface.py`).

    Args:
        shape: (N,) or (C, H, W).
        current_decay: 0..4096, in 1/4096 per step.
        voltage_decay: 0..4096, in 1/4096 per step.
        threshold: 0..131071, in units of 64 state units.
        refractory: 1..62, steps after that of a spike: Lava's `refractory_period`, Loihi 1's `refractDelay` less 1.
        bias: -4095..4095 in units of 2**bias_exp state units, added to the voltage in every step.
        bias_exp: 0..7.
        initial_voltage: State units before the first step, any int32.

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> RefractoryLif((3,), current_decay=4096, voltage_decay=128, threshold=80, refractory=5).state_words
        3
    """

    shape: Shape
    current_decay: IntArray
    voltage_decay: IntArray
    threshold: IntArray
    refractory: IntArray
    bias: IntArray = field(default_factory=_zero)
    bias_exp: int = 6
    initial_voltage: IntArray = field(default_factory=_zero)

    state = ("current", "voltage", "steps of refractory period")
    kind = "RefractoryLif"
    ranges: ClassVar[Ranges] = {
        **CubaLif.ranges,
        "threshold": (0, THRESHOLD_MAX),
        "refractory": (1, REFRACTORY_MAX),
    }
    exponents: ClassVar[dict[str, int]] = {"bias_exp": BIAS_EXP_MAX}


@final
@dataclass(frozen=True, eq=False)
class AdaptiveLif(Population):
    """Leaky integrate-and-fire neurons with adaptive threshold and refractory state; no reset of the voltage.

    A spike raises the threshold by `threshold_step` and the refractory state by twice the threshold; both decay.

    Args:
        shape: (N,) or (C, H, W).
        current_decay: 0..4096, in 1/4096 per step.
        voltage_decay: 0..4096, in 1/4096 per step.
        threshold_decay: 0..4096, of the threshold's distance from its rest.
        refractory_decay: 0..4096, of the refractory state.
        threshold: At rest, 0..131071, in units of 64 state units.
        threshold_step: 0..131071, in units of 64 state units.
        bias: -4095..4095 in units of 2**bias_exp state units, added to the voltage in every step.
        bias_exp: 0..7.

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> AdaptiveLif((3,), 1024, 128, 64, 410, threshold=80, threshold_step=8).size
        3
    """

    shape: Shape
    current_decay: IntArray
    voltage_decay: IntArray
    threshold_decay: IntArray
    refractory_decay: IntArray
    threshold: IntArray
    threshold_step: IntArray
    bias: IntArray = field(default_factory=_zero)
    bias_exp: int = 6

    state = ("current", "voltage", "threshold", "refractory")
    kind = "AdaptiveLif"
    ranges: ClassVar[Ranges] = {
        "current_decay": _DECAY,
        "voltage_decay": _DECAY,
        "threshold_decay": _DECAY,
        "refractory_decay": _DECAY,
        "threshold": (0, THRESHOLD_MAX),
        "threshold_step": (0, THRESHOLD_MAX),
        "bias": (-BIAS_MAX, BIAS_MAX),
    }
    exponents: ClassVar[dict[str, int]] = {"bias_exp": BIAS_EXP_MAX}


@final
@dataclass(frozen=True, eq=False)
class Resonator(Population):
    """Resonate-and-fire neurons: a complex state that turns and decays, with complex weights.

    A projection with `imaginary` set brings the imaginary part of what arrives, the others the real part.

    Args:
        shape: (N,) or (C, H, W).
        sin_decay: 0..4095, in 1/4096: (1 - decay) times the sine of the angle of a step.
        cos_decay: 0..4095, in 1/4096.
        threshold: 0..131071, in units of 64 state units.
        reset: False (SLAYER's rf, Lava's RF): a spike where the imaginary part rises through 0 while the real part is
            at the threshold or above. True (rf_iz, RF_IZ): a spike where the imaginary part is at the threshold or
            above, which is reset to just below, and the real part to 0.

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> Resonator((3,), sin_decay=1200, cos_decay=3600, threshold=64).size
        3
    """

    shape: Shape
    sin_decay: IntArray
    cos_decay: IntArray
    threshold: IntArray
    reset: bool = False

    state = ("real", "imaginary")
    kind = "Resonator"
    ranges: ClassVar[Ranges] = {
        "sin_decay": (0, DECAY_UNITY - 1),
        "cos_decay": (0, DECAY_UNITY - 1),
        "threshold": (0, THRESHOLD_MAX),
    }


@dataclass(frozen=True, eq=False)
class Encoder(Population):
    """What `Delta` and `SigmaDelta` have in common: they send a value's change once it is large enough.

    A message is the change without its lowest `state_exp` bits. Threshold and bias count in units of
    2**(spike_exp + state_exp) state units; with SLAYER's 6 and 6 a unit is its 1/64.
    """

    shape: Shape
    threshold: IntArray
    spike_exp: int = field(default=6, kw_only=True)
    state_exp: int = field(default=6, kw_only=True)
    cumulative: bool = field(default=False, kw_only=True)

    graded = True
    ranges: ClassVar[Ranges] = {"threshold": (0, 2**31 - 1)}
    exponents: ClassVar[dict[str, int]] = {"spike_exp": STATE_EXP_MAX, "state_exp": STATE_EXP_MAX}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.ranges:  # the threshold, and a bias: what is scaled must fit a register of 32 bits
            limit = (2**31 - 1) >> (self.spike_exp + self.state_exp)
            in_range(getattr(self, name), -limit, limit, f"Population {name}")

    @property
    def state_words(self) -> int:
        """Words of 32 bits that a neuron keeps from step to step: an error only where changes add up."""
        return len(self.state) - (not self.cumulative)


@final
@dataclass(frozen=True, eq=False)
class SigmaDelta(Encoder):
    """Sigma-delta neurons: they sum the messages that arrive, and send the changes of their activation.

    Args:
        shape: (N,) or (C, H, W).
        threshold: Least change that is sent, 0 or more, in units of 2**(spike_exp + state_exp) state units.
        bias: Added to the sum, in the same units.
        relu: Whether the activation is max(0, sum + bias), and not the sum and bias themselves.
        spike_exp: 0..7.
        state_exp: 0..7, bits of a change that a message leaves out.
        cumulative: Whether the threshold is for the sum of the changes since the last message ("cum_error").

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> SigmaDelta((3,), threshold=6, bias=[0, 2, -4]).graded
        True
    """

    bias: IntArray = field(default_factory=_zero)
    relu: bool = True

    state = ("sum", "activation", "residue", "error")
    kind = "SigmaDelta"
    ranges: ClassVar[Ranges] = {"threshold": (0, 2**31 - 1), "bias": (-(2**31) + 1, 2**31 - 1)}


@final
@dataclass(frozen=True, eq=False)
class Delta(Encoder):
    """Delta encoders: they send the changes of what arrives, as the input layer of a sigma-delta network does.

    Args:
        shape: (N,) or (C, H, W).
        threshold: Least change that is sent, 0 or more, in units of 2**(spike_exp + state_exp) state units.
        spike_exp: 0..7.
        state_exp: 0..7, bits of a change that a message leaves out.
        cumulative: Whether the threshold is for the sum of the changes since the last message ("cum_error").

    Raises:
        NetworkError: A value outside its range, or of a shape that does not fit.

    Examples:
        >>> Delta((3,), threshold=6).graded
        True
    """

    state = ("value", "residue", "error")
    kind = "Delta"


@final
@dataclass(frozen=True, eq=False)
class Sigma(Population):
    """Sigma decoders: they sum the messages that arrive, and send the sum in every step.

    Args:
        shape: (N,) or (C, H, W).

    Raises:
        NetworkError: A shape that is none.

    Examples:
        >>> Sigma((3,)).graded
        True
    """

    shape: Shape

    graded = True
    state = ("sum",)
    kind = "Sigma"
    ranges: ClassVar[Ranges] = {}


Neurons = CubaLif | RefractoryLif | AdaptiveLif | Resonator | SigmaDelta | Delta | Sigma
Node = Input | Neurons | Output
