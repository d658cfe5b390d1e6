"""Quantisers beside SLAYER's: nine bits that hold every integer of a chip, fewer bits for small memories."""

from typing import Final

import torch
from torch import Tensor

from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import BIAS_MAX, WEIGHT_MAX, WEIGHT_MIN

SCALE: Final = 64  # of SLAYER's weights to integers
BITS: Final = (2, 8)  # least and most of `FewBits`


class Integers:
    """A `pre_hook_fx` that rounds to integers / 64, odd ones too, in the range of a chip's weights.

    Args:
        exponent: 0..7; weights are these integers times 2**exponent.

    Examples:
        >>> Integers()(torch.tensor([0.0157, -9.0])).tolist()
        [0.015625, -4.0]
    """

    def __init__(self, exponent: int = 0) -> None:
        self.exponent = exponent

    def __call__(self, weight: Tensor, descale: bool = False) -> Tensor:
        """Return the rounded weights, as integers if `descale`."""
        scale = SCALE / 2**self.exponent
        low, high = WEIGHT_MIN / scale, WEIGHT_MAX / scale
        rounded: Tensor = import_slayer().utils.quantize(weight, step=1 / scale).clamp(low, high)
        return rounded * SCALE if descale else rounded


class Biases:
    """A `pre_hook_fx` of SLAYER's MeanOnlyBatchNorm that rounds to integers / 64 in the range of a chip's biases."""

    def __call__(self, mean: Tensor, descale: bool = False) -> Tensor:
        """Return the rounded means, as integers if `descale`."""
        rounded: Tensor = (
            import_slayer().utils.quantize(mean, step=1 / SCALE).clamp(-BIAS_MAX / SCALE, BIAS_MAX / SCALE)
        )
        return rounded * SCALE if descale else rounded


class FewBits:
    """A `pre_hook_fx` with 2**bits levels, whose step is 2/64 times a power of two.

    The power is the smallest one with which the largest weight lies in range, so that a layer of small weights keeps
    small steps. At 8 bits it is SLAYER's own quantiser.

    Args:
        bits: 2..8, the sign included.

    Examples:
        >>> FewBits(2)(torch.tensor([0.9, -0.3, 0.1])).tolist()
        [0.5, -0.5, 0.0]
    """

    def __init__(self, bits: int) -> None:
        assert BITS[0] <= bits <= BITS[1], bits
        self.bits = bits

    def __call__(self, weight: Tensor, descale: bool = False) -> Tensor:
        """Return the rounded weights, as integers if `descale`."""
        levels = 2 ** (self.bits - 1)
        with torch.no_grad():
            largest = weight.abs().max() if weight.numel() else weight.new_zeros(())
            power = torch.log2((largest * SCALE / (2 * levels)).clamp(min=1)).ceil().clamp(0, BITS[1] - self.bits)
        step = 2 ** (1 + float(power)) / SCALE
        rounded: Tensor = import_slayer().utils.quantize(weight, step=step).clamp(-levels * step, (levels - 1) * step)
        return rounded * SCALE if descale else rounded
