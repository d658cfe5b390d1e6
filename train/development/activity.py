"""Activity of a layer's units while it trains, for the criteria "activity" and "dpap" of unit pruning."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.development.criteria import UnitActivity, bcm

from ..slayer.tracing import output_of
from .masks import MaskedLayer

_MOMENTUM = 0.9  # of the running threshold of the BCM rule, per batch


@final
class ActivityMeter:
    """Forward hook of a block: sums up what its units emit over the batches of an epoch, in training only.

    Attributes:
        sums: (2 * units + 1,) float64: spikes, plasticity and the number of samples. Several processes add theirs up.
    """

    def __init__(self, layer: MaskedLayer) -> None:
        n, device = layer.n_units, layer.unit_gate.device
        self.sums = torch.zeros(2 * n + 1, dtype=torch.float64, device=device)
        self.threshold = torch.zeros(n, dtype=torch.float64, device=device)
        layer.block.register_forward_hook(self._add)

    def _add(self, block: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if not block.training or not torch.is_grad_enabled():
            return
        with torch.no_grad():
            emitted = output_of(output).double()
            counts = emitted.flatten(2).sum(2)  # (samples, units)
            post = counts / emitted[0, 0].numel()
            arriving = inputs[0].double()
            pre = arriving.flatten(1).sum(1) / arriving.shape[-1]
            self.threshold.mul_(_MOMENTUM).add_((1 - _MOMENTUM) * post.square().mean(0))
            plasticity = bcm(post, pre, self.threshold).sum(0)
            self.sums += torch.cat([counts.sum(0), plasticity, counts.new_tensor([counts.shape[0]])])

    def read(self) -> UnitActivity:
        """Return the means over the samples of the epoch."""
        n = self.threshold.numel()
        means = self.sums[:-1] / self.sums[-1].clamp(min=1)
        return UnitActivity(means[:n], means[n:])

    def clear(self) -> None:
        """Start a new epoch."""
        self.sums = torch.zeros_like(self.sums)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what later epochs depend on."""
        return {"threshold": self.threshold.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a saved state."""
        self.threshold = state["threshold"].clone().to(self.threshold.device)
