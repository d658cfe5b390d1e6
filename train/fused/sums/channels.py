"""Convolutions whose mask leaves few channels: the smaller convolution of those channels.

The others have no synapse: their currents, and the gradients of their spikes, are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from .. import buffers
from ..kernels.channels import spread_channels, take_channels
from ..kernels.threads import run_rows
from ..layout import node_behind

Tensor = torch.Tensor
FEW = 0.6  # share of the pairs of an input and a unit; measured: above it, copying channels costs what it saves


@final
@dataclass(frozen=True)
class Places:
    """Which of `count` channels are there: `indices`, int32, ascending. Tensors have channels innermost."""

    count: int
    indices: Any

    @classmethod
    def of(cls, present: Tensor) -> Places:
        """Return where a bool tensor (channels,) is True."""
        return cls(len(present), present.nonzero().flatten().numpy().astype(np.int32))

    def take(self, x: Tensor) -> Tensor:
        """Return the channels of x (..., count) that are there, as a constant."""
        return self._copy(take_channels, x, len(self.indices))

    def spread(self, x: Tensor) -> Tensor:
        """Return (..., count) from the channels that are there, the others zero, as a constant."""
        return self._copy(spread_channels, x, self.count)

    def _copy(self, kernel: Callable[..., Any], x: Tensor, channels: int) -> Tensor:
        out = buffers.empty((*x.shape[:-1], channels))
        source, target = x.detach().view(-1, x.shape[-1]).numpy(), out.view(-1, channels).numpy()
        run_rows(kernel, len(source), len(source) * len(self.indices), source, self.indices, target)
        return out


class _Copy(torch.autograd.Function):
    """Takes channels, or spreads them among zeros; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places, spreads: bool) -> Tensor:
        """Return the channels that are there, or all."""
        ctx.places, ctx.spreads = places, spreads
        return places.spread(x) if spreads else places.take(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of x."""
        gradient = buffers.packed(gradients[0])
        return ctx.places.take(gradient) if ctx.spreads else ctx.places.spread(gradient), None, None


_apply: Callable[[Tensor, Places, bool], Tensor] = _Copy.apply  # torch does not type `apply`


def take(x: Tensor, places: Places) -> Tensor:
    """Return the channels of a contiguous x (..., count) that are there; x itself if all are."""
    return x if len(places.indices) == places.count else _apply(x, places, False)


def spread(x: Tensor, places: Places) -> Tensor:
    """Undo `take`; the other channels are zero."""
    return x if len(places.indices) == places.count else _apply(x, places, True)


def spread_before(x: Tensor) -> Places | None:
    """Return the channels among which a tensor was spread, if its others are zeros whose gradient nobody asks for."""
    node = node_behind(x)
    ours: bool = isinstance(node, _Copy._backward_cls)
    places: Places | None = node.places if ours and node.spreads else None
    return places if places is not None and x.shape[1] == places.count else None


@final
@dataclass(frozen=True)
class Channels:
    """The inputs and the units of a convolution that have synapses."""

    inputs: Places
    units: Places

    @classmethod
    def of(cls, mask: Tensor, before: Places | None = None) -> Channels | None:
        """Return the channels of a mask (units, inputs, ...) bool on the CPU; None if they are too many to gain.

        before: the inputs that are not silent; None if all may spike.
        """
        pairs = mask.flatten(2).any(2)
        if before is not None:
            spiking = torch.zeros(before.count, dtype=torch.bool)
            spiking[before.indices] = True
            pairs = pairs & spiking
        inputs, units = pairs.any(0), pairs.any(1)
        share = float(inputs.float().mean() * units.float().mean())
        return cls(Places.of(inputs), Places.of(units)) if 0 < share <= FEW else None

    def between(self, weight: Tensor) -> Tensor:
        """Return the weight (units, inputs, ...) of the channels that have synapses."""
        units, inputs = (torch.from_numpy(places.indices) for places in (self.units, self.inputs))
        return weight.index_select(0, units).index_select(1, inputs)
