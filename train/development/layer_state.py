"""State of a layer's development between epochs."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.development import ranges, regeneration

from .masks import MaskedLayer


@final
class LayerState:
    """Pruning rate, history, ranges and regeneration counters of one layer."""

    def __init__(self, layer: MaskedLayer, percent: float) -> None:
        self.name = layer.name
        self.percent = percent  # P, cumulative target of unit pruning in percent of the layer's units
        self.history = torch.zeros_like(layer.unit_gate)  # bool (units,), units that were pruned once
        self.ranges: list[ranges.RangeState] = []  # one per weight tensor; empty before the end of the first epoch
        self.regeneration = [
            regeneration.init_regeneration(regeneration.absent_groups(synapse.mask, synapse.kernelwise))
            for synapse in layer.synapses
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        return {
            "name": self.name,
            "percent": self.percent,
            "history": self.history.clone(),
            "ranges": [_copied(state._asdict()) for state in self.ranges],
            "regeneration": [_copied(state._asdict()) for state in self.regeneration],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state of the same layer."""
        device = self.history.device
        self.percent = float(state["percent"])
        self.history = state["history"].clone().to(device)
        self.ranges = [ranges.RangeState(**_copied(item, device)) for item in state["ranges"]]
        self.regeneration = [regeneration.RegenerationState(**_copied(item, device)) for item in state["regeneration"]]


def _copied(state: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, Tensor]:
    return {name: value.to(device, copy=True) for name, value in state.items()}
