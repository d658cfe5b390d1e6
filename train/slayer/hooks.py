"""Base classes of hooks on SLAYER's synapses and neurons, by which the fused neurons recognise them.

A hook of any other type makes a fused neuron or synapse take SLAYER's own path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ..fused.sums.channels import Channels, Places
    from ..fused.sums.sparse import Pattern


class MaskingHook(ABC):
    """A synapse's `pre_hook_fx` that sets some weights to zero."""

    @abstractmethod
    def pattern(self, channels_last: bool) -> Pattern | None:
        """Return the places of the other weights; None if all weights must take part in the next pass.

        Args:
            channels_last: order of the inputs, as in `Pattern.of`.
        """

    @abstractmethod
    def channels(self, before: Places | None) -> Channels | None:
        """Return the channels of a convolution that have other weights; None if all must take part, or most do.

        Args:
            before: the inputs that are not silent; None if all may spike.
        """


class SpikeGate(ABC):
    """A forward hook of a neuron that multiplies its spikes by one factor per unit, the same at every time step.

    A fused neuron may therefore apply the hook to spikes that are delayed by a step, or apply the factors itself.
    """

    @property
    @abstractmethod
    def gate(self) -> Tensor:
        """Bool (units,): False silences a unit."""
