"""Nodes of a network: ports and populations of neurons, and the ranges of their integers."""

from __future__ import annotations

import math
import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from .arithmetic import DECAY_UNITY
from .errors import NetworkError
from .geometry import Shape

IntArray = npt.NDArray[np.integer[Any]]

THRESHOLD_MAX = 2**17 - 1  # 17-bit mantissa, scaled by 2**6 (lava.proc.lif PyLifModelBitAcc)
NEVER_FIRES = 2**17  # 64 * NEVER_FIRES exceeds the largest voltage, 2**23 - 1: a readout that only integrates
BIAS_MAX = 2**12 - 1  # 13-bit signed mantissa without its most negative value
BIAS_EXP_MAX = 7
WEIGHT_MIN, WEIGHT_MAX = -256, 255  # 8 bits and a sign; SLAYER writes even values in -256..254
WEIGHT_EXP_MAX = 7
DELAY_MAX = 62  # largest axonal delay of SLAYER and netx, in steps


def frozen(values: npt.ArrayLike, dtype: type, where: str) -> IntArray:
    """Return `values` as a read-only array of `dtype`, refusing anything that is not an exact integer of it."""
    raw = np.asarray(values)
    if raw.dtype.kind not in "iub" and (raw.dtype.kind != "f" or not np.array_equal(raw, np.rint(raw))):
        raise NetworkError(f"{where}: expected integers, got values of dtype {raw.dtype}")
    info = np.iinfo(dtype)
    if raw.size and (raw.min() < info.min or raw.max() > info.max):
        raise NetworkError(f"{where}: expected {info.min}..{info.max}, got {raw.min()}..{raw.max()}")
    # A read-only array of the right kind is shared, so that networks of 10**8 synapses are not copied.
    if raw.dtype == dtype and not raw.flags.writeable and raw.flags.c_contiguous:
        return raw
    array: IntArray = np.array(raw, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


def in_range(array: IntArray, low: int, high: int, where: str) -> None:
    """Raise NetworkError naming `where` unless all values lie in low..high."""
    if array.size and (array.min() < low or array.max() > high):
        raise NetworkError(f"{where}: expected {low}..{high}, got {array.min()}..{array.max()}")


def legal_name(name: str, taken: Container[str]) -> str:
    """Return a name that a Network can hold for a foreign one, with `_` behind it until it is not in `taken`."""
    legal = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
    legal = legal if re.match(r"[A-Za-z_]", legal) else f"n{legal}"
    while legal in taken:
        legal += "_"
    return legal


def checked_shape(shape: Any, where: str) -> Shape:
    """Return `shape` as a tuple of one or three sizes. Raises NetworkError naming `where` for anything else."""
    try:
        result = tuple(int(size) for size in shape)
    except TypeError:
        raise NetworkError(f"{where} shape: expected (N,) or (C, H, W), got {shape!r}") from None
    if len(result) not in (1, 3) or any(size < 1 for size in result):
        raise NetworkError(f"{where} shape: expected (N,) or (C, H, W) with sizes of at least 1, got {result}")
    return result


@final
@dataclass(frozen=True, eq=False)
class Input:
    """A port that brings spikes in.

    Args:
        shape: (N,) or (C, H, W).
        max_value: Largest value of a bin, 1..255; 1 means binary spikes, more means graded events (counts) whose value
            multiplies the weight.

    Raises:
        NetworkError: A value outside its range.

    Examples:
        >>> Input((2, 34, 34)).size
        2312
    """

    shape: Shape
    max_value: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, "Input"))
        if not 1 <= self.max_value <= 255:
            raise NetworkError(f"Input max_value: expected 1..255, got {self.max_value}")

    @property
    def size(self) -> int:
        """Number of channels of the port."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, eq=False)
class Population:
    """CUBA leaky integrate-and-fire neurons with reset to zero.

    Parameters are integers, each of shape () or of as many axes as `shape`, every axis 1 or full, so that one value,
    one per channel or one per neuron are all stored as small as they are.

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
        >>> Population((3,), current_decay=4096, voltage_decay=128, threshold=[80, 90, 80]).per_neuron("threshold")
        array([80, 90, 80])
    """

    shape: Shape
    current_decay: IntArray
    voltage_decay: IntArray
    threshold: IntArray
    bias: IntArray = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exp: int = 6
    initial_voltage: IntArray = field(default_factory=lambda: np.zeros((), np.int32))

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, "Population"))
        for name, low, high in (
            ("current_decay", 0, DECAY_UNITY),
            ("voltage_decay", 0, DECAY_UNITY),
            ("threshold", 0, NEVER_FIRES),
            ("bias", -BIAS_MAX, BIAS_MAX),
            ("initial_voltage", -(2**31) + 1, 2**31 - 1),
        ):
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
        if not 0 <= self.bias_exp <= BIAS_EXP_MAX:
            raise NetworkError(f"Population bias_exp: expected 0..{BIAS_EXP_MAX}, got {self.bias_exp}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    def per_neuron(self, name: str) -> npt.NDArray[np.int64]:
        """Return parameter `name` as (size,) int64, neurons in C order of `shape`."""
        return np.broadcast_to(getattr(self, name), self.shape).reshape(-1).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class Output:
    """A port that takes the spikes or the voltage of a population out.

    Args:
        source: Name of the population.
        signal: "spikes", or "voltage" of a population that never fires.

    Raises:
        NetworkError: Another signal.

    Examples:
        >>> Output("readout", "voltage").signal
        'voltage'
    """

    source: str
    signal: Literal["spikes", "voltage"] = "spikes"

    def __post_init__(self) -> None:
        if self.signal not in ("spikes", "voltage"):
            raise NetworkError(f"Output signal: expected 'spikes' or 'voltage', got {self.signal!r}")


Node = Input | Population | Output
