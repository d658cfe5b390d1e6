"""Ports of a network, and the ranges of its integers. Populations of neurons are in `neurons/models.py`."""

from __future__ import annotations

import math
import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from .errors import NetworkError
from .geometry import Shape

IntArray = npt.NDArray[np.integer[Any]]

THRESHOLD_MAX = 2**17 - 1  # 17-bit mantissa, scaled by 2**6 (lava.proc.lif PyLifModelBitAcc)
NEVER_FIRES = 2**17  # 64 * NEVER_FIRES exceeds the largest voltage, 2**23 - 1: a readout that only integrates
BIAS_MAX = 2**12 - 1  # 13-bit signed mantissa without its most negative value
BIAS_EXP_MAX = 7
WEIGHT_MIN, WEIGHT_MAX = -256, 255  # 8 bits and a sign; SLAYER writes even values in -256..254
WEIGHT_EXP_MAX = 7
MESSAGE_MAX = 2**31 - 1  # a graded message is a signed integer of 32 bits
DELAY_MAX = 62  # largest axonal delay of SLAYER and netx, in steps


# Metadata of a field that a type got later: at its default it is no part of the digest, which stays as it was.
LATER = {"later": True}


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
        max_value: Largest value of a bin, from 1; 1 means binary spikes, more means graded events (counts, messages)
            whose value multiplies the weight.
        min_value: Smallest value of a bin, at most 0; less than 0 means messages with a sign.

    Raises:
        NetworkError: A value outside its range.

    Examples:
        >>> Input((2, 34, 34)).size
        2312
    """

    shape: Shape
    max_value: int = 1
    min_value: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, "Input"))
        if not 1 <= self.max_value <= MESSAGE_MAX:
            raise NetworkError(f"Input max_value: expected 1..{MESSAGE_MAX}, got {self.max_value}")
        if not -MESSAGE_MAX <= self.min_value <= 0:
            raise NetworkError(f"Input min_value: expected -{MESSAGE_MAX}..0, got {self.min_value}")

    @property
    def size(self) -> int:
        """Number of channels of the port."""
        return math.prod(self.shape)

    @property
    def graded(self) -> bool:
        """Whether its events carry a value."""
        return self.max_value > 1 or self.min_value < 0

    @property
    def wide(self) -> bool:
        """Whether a value may need more than the 8 bits of a count."""
        return self.max_value > 255 or self.min_value < 0


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
