"""What lava-dl's netx (0.6.0) does with the integers of a `.net` file, where that is not what the file says.

A dense layer's matrix W goes through two steps that each decide for themselves whether it is signed. netx shifts W
left until it fills the mantissa and counts the bits it needs, taking W as inhibitory if its maximum is below 0; the
synapse model takes it as inhibitory if the maximum is 0 or below, clips magnitudes to 255 and drops the low bits.
Where both agree, sums shifted back are exact. `netx_runs_exactly` answers for a given matrix; it was checked against
the real functions (tests/export/netx/test_netx.py).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

SUPPORTED_LAYERS: Final = ("input", "flatten", "conv", "dense", "dense_rec")
BIAS_EXP: Final = 6  # netx always sets it
METADATA: Final = "sdsnn"
METADATA_VERSION: Final = 1

Matrix = npt.NDArray[Any]  # of integers


def netx_runs_exactly(weights: Matrix, recurrent: Matrix | None = None) -> bool:
    """Return whether netx's synapse models apply exactly `weights` and `recurrent`.

    False for matrices that crash it (all zeros), that it clips (255 beside a negative weight) and whose sign mode its
    two steps see differently. Order and shape do not matter: a matrix may be given by the values that occur in it.
    """
    if not remedied_runs_exactly(weights, recurrent):
        return False
    parts, high, low = _parts(weights, recurrent)
    mixed = high >= 0 > low
    # How often the largest entry fits into the mantissa of its sign.
    positive = (127 if mixed else 255) / high if high > 0 else np.inf
    negative = (-128 if mixed else -256) / low if low < 0 else np.inf
    shift = int(np.floor(np.log2(min(positive, negative)))) + mixed
    # netx counts zero bits up to 8, and stops at 0 without testing it
    common = next((n for n in range(8, 0, -1) if not any((part % 2**n).any() for part in parts)), 0)
    zeros = common - mixed
    bits = 8 - shift - zeros
    return all(_model_keeps(part << shift, bits) for part in parts)


def _parts(weights: Matrix, recurrent: Matrix | None) -> tuple[list[Matrix], int, int]:
    """Return the matrices as vectors, with the largest and the smallest of all entries."""
    parts = [matrix.astype(np.int64).reshape(-1) for matrix in (weights, recurrent) if matrix is not None]
    entries = [int(entry) for part in parts if part.size for entry in (part.max(), part.min())]
    return parts, max(entries, default=0), min(entries, default=0)


def _model_keeps(stored: Matrix, bits: int) -> bool:
    """Return whether clipping and truncation of lava.proc.dense's bit-accurate model leave `stored` as it is."""
    inhibitory = stored.min() < 0 and stored.max() <= 0
    mixed = stored.min() < 0 and not inhibitory
    dropped = 8 - bits + mixed
    if dropped < 0:  # a negative shift count, which numpy answers with 0
        return not stored.any()
    values = -stored if inhibitory else stored
    clipped = np.clip(values, -256 if mixed else 0, 255)
    return bool((clipped >> dropped << dropped == values).all())


def remedied_runs_exactly(weights: Matrix, recurrent: Matrix | None = None) -> bool:
    """Return the same for a loader that sets sign_mode MIXED and 9 weight bits on the synapses, as `run_netx` does."""
    _, high, low = _parts(weights, recurrent)
    return not (high == low == 0 or low < -256 or high > 255 or (high > 254 and low < 0))


def why_not(weights: Matrix, recurrent: Matrix | None = None) -> tuple[str, str]:
    """Return what is wrong with a matrix for which `netx_runs_exactly` is False, and what helps."""
    _, high, low = _parts(weights, recurrent)
    if high == low == 0:
        return (
            "expected at least one weight other than 0, got none: netx stops (log2 of infinity)",
            "remove the projection, or what it feeds: sdsnn export compacts",
        )
    rescale = "rescale the layer to -256..254 without weight_exp"
    if high > 254 and low < 0:
        return f"expected up to 254 beside negative weights, got {low}..{high}, which netx clips", rescale
    if low < -256 or high > 255:
        return f"expected weights times 2**weight_exp of -256..255, got {low}..{high}", rescale
    return (
        f"expected positive weights too, got {low}..{high}: netx would run others, since its sign mode and that of "
        "Lava's model differ",
        "load with sign_mode MIXED and 8 weight bits (loader='sdsnn'), or raise the smallest weight by 2",
    )
