"""Sums of spikes times weights of 8 bits, in integers: exact, and several times as fast as in float32.

torch's operators are those of its quantised networks (oneDNN), here with scales that are powers of two.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch

Tensor = torch.Tensor
_LARGEST_FAN_IN = 2**24 // 2**7  # float32 holds the sums of so many weights, in units of the smallest one
_SMALLEST = 2**12  # weights; below, calling the operators costs more than it saves


@dataclass(frozen=True)
class WholeWeights:
    """Weights as 8-bit integers times a power of two: (units, inputs), or (units, channels, height, width)."""

    values: Tensor  # int8
    unit: float
    packed: dict[Any, Any] = field(default_factory=dict, compare=False)  # for a convolution's images and geometry

    @classmethod
    def of(cls, weight: Tensor) -> WholeWeights | None:
        """Return a float32 weight (units, ...) as integers; None where they do not fit, or float32 is as good."""
        weight = weight.detach()
        if weight.numel() < _SMALLEST or weight[0].numel() >= _LARGEST_FAN_IN or not usable():
            return None
        low, high = (float(value) for value in weight.aminmax())
        size = max(-low, high)
        if not 2.0**-60 < size < 2.0**60:  # NaN too
            return None
        power = math.frexp(128 / size)[1] - 1  # the largest with size * 2^power <= 128
        power -= high * 2.0**power > 127
        scaled = weight * 2.0**power
        return cls(scaled.to(torch.int8), 2.0**-power) if bool((scaled == scaled.round()).all()) else None

    def product(self, x: Tensor) -> Tensor:
        """Return the sums (rows, units) of spikes (rows, inputs)."""
        sums: Tensor = torch._int_mm(x.to(torch.int8), self.values.t().contiguous())
        return sums.float().mul_(self.unit)

    def convolution(self, x: Tensor, geometry: tuple[Any, Any, Any], groups: int) -> Tensor:
        """Return the sums of spikes (images, channels, ...); geometry: stride, padding, dilation."""
        settings = [*(list(each) for each in geometry), groups]
        key = (x.shape, *geometry, groups)
        packed = self.packed.get(key)
        if packed is None:
            packed = _operators().qconv_prepack(self.values, self._scales()[0], 1.0, 0, *settings, list(x.shape))
            self.packed[key] = packed
        sums: Tensor = _operators().qconv2d_pointwise(
            x.to(torch.uint8), 1.0, 0, packed, *self._scales(), None, *settings, 1.0, 0, torch.float32, "none", [], ""
        )
        return sums

    def _scales(self) -> tuple[Tensor, Tensor]:
        """Return each unit's scale and zero point."""
        units = len(self.values)
        return torch.full((units,), self.unit), torch.zeros(units, dtype=torch.int32)


def _operators() -> Any:
    return torch.ops.onednn


@functools.lru_cache
def usable() -> bool:
    """Return whether the CPU has instructions for 8-bit products, and torch the operators as they are used here."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    if supported is None or not supported():
        return False
    weights = WholeWeights(torch.tensor([[127, -128, 3], [127, 1, -128]], dtype=torch.int8), 0.5)
    try:
        sums = weights.product(torch.tensor([[1.0, 0, 1], [1, 1, 1]]))
        image = WholeWeights(weights.values.view(2, 3, 1, 1), 0.5)
        sums_of_image = image.convolution(torch.tensor([1.0, 0, 1]).view(1, 3, 1, 1), ((1, 1), (0, 0), (1, 1)), 1)
    except (
        AttributeError,
        NotImplementedError,
        RuntimeError,
        TypeError,
    ):  # other versions of torch have other arguments
        return False
    return sums.tolist() == [[65.0, -0.5], [1.0, 0.0]] and sums_of_image.flatten().tolist() == [65.0, -0.5]
