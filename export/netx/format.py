"""What lava-dl's netx (0.6.0) does with the integers of a `.net` file, where that is not what the file says.

A dense layer's matrix W goes through two steps that each decide for themselves whether it is signed. netx shifts W
left until it fills the mantissa and counts the bits it needs, taking W as inhibitory if its maximum is below 0; the
synapse model takes it as inhibitory if the maximum is 0 or below, clips magnitudes to 255 and drops the low bits.
Where both agree, sums shifted back are exact. `netx_runs_exactly` answers for a given matrix; it was checked against
the real functions (tests/export/netx/test_netx.py).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

SUPPORTED_LAYERS: Final = ("input", "flatten", "conv", "dense", "dense_rec")
CUBA_TYPES: Final = ("CUBA", "LOIHI")
BIAS_EXP: Final = 6  # netx always sets it
METADATA: Final = "sdsnn"
METADATA_VERSION: Final = 1

Matrix = npt.NDArray[np.integer[Any]]


def netx_runs_exactly(weights: Matrix, recurrent: Matrix | None = None) -> bool:
    """Whether netx's synapse models apply exactly `weights` (n_out, n_in) and `recurrent` (n_out, n_out).

    False for matrices that crash it (all zeros), that it clips (255 beside a negative weight) and whose sign mode its
    two steps see differently.
    """
    parts = [weights] if recurrent is None else [weights, recurrent]
    whole = np.hstack(parts).astype(np.int64)
    high, low = (int(whole.max()), int(whole.min())) if whole.size else (0, 0)
    if high == low == 0 or low < -256 or high > 255 or (high > 254 and low < 0):
        return False
    mixed = high >= 0 > low
    # How often the largest entry fits into the mantissa of its sign.
    positive = (127 if mixed else 255) / high if high > 0 else np.inf
    negative = (-128 if mixed else -256) / low if low < 0 else np.inf
    shift = int(np.floor(np.log2(min(positive, negative)))) + mixed
    zeros = _common_zero_bits(whole) - mixed
    bits = 8 - shift - zeros
    return all(_model_keeps(part.astype(np.int64) << shift, bits) for part in parts)


def _common_zero_bits(whole: Matrix) -> int:
    """Largest n up to 8 such that 2**n divides every entry; netx stops at 0 without testing it."""
    return next((n for n in range(8, 0, -1) if not (whole % 2**n).any()), 0)


def _model_keeps(stored: Matrix, bits: int) -> bool:
    """Whether the clip and truncation of lava.proc.dense's bit-accurate model leave `stored` as it is."""
    inhibitory = stored.min() < 0 and stored.max() <= 0
    mixed = stored.min() < 0 and not inhibitory
    dropped = 8 - bits + mixed
    if dropped < 0:  # a negative shift count, which numpy answers with 0
        return not stored.any()
    values = -stored if inhibitory else stored
    clipped = np.clip(values, -256 if mixed else 0, 255)
    return bool((clipped >> dropped << dropped == values).all())


def remedied_runs_exactly(weights: Matrix, recurrent: Matrix | None = None) -> bool:
    """The same after a loader has set sign_mode MIXED and 9 weight bits on the synapses, as `run_netx` does."""
    whole = weights if recurrent is None else np.hstack([weights, recurrent])
    high, low = (int(whole.max()), int(whole.min())) if whole.size else (0, 0)
    return not (high == low == 0 or low < -256 or high > 255 or (high > 254 and low < 0))


def why_not(weights: Matrix, recurrent: Matrix | None = None) -> str:
    """Name the trap of a matrix for which `netx_runs_exactly` is False, with what helps."""
    whole = weights if recurrent is None else np.hstack([weights, recurrent])
    if not whole.any():
        return "all weights are 0, at which netx stops (log2 of infinity); allowed is at least one other weight"
    high, low = int(whole.max()), int(whole.min())
    if high > 254 and low < 0:
        return f"weights are {low}..{high}; beside negative ones netx clips to 254"
    if low < -256 or high > 255:
        return f"weights times 2**weight_exp are {low}..{high}; allowed are -256..255"
    return (
        f"weights are {low}..{high} and netx would run them with others: its sign mode and that of Lava's model differ "
        "without positive weights; raise the smallest by 2, or load with sign_mode MIXED (loader='sdsnn')"
    )
