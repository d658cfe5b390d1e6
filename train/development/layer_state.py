"""State of a layer's development between epochs, and what history.jsonl records of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sdsnn_core.development import ranges, regeneration

from .masks import MaskedLayer, MaskedSynapse

_QUANTILES = (0.1, 0.5, 0.9)
_SAMPLES = 2**16


class Revival(NamedTuple):
    """What whole units need to return.

    Attributes:
        weights: for each weight tensor, those that units had when they were pruned; zero elsewhere.
        since: int64 (units,), the epoch in which a unit was revived; -1 if it was not, or was pruned since.
    """

    weights: list[Tensor]
    since: Tensor

    @classmethod
    def empty(cls, layer: MaskedLayer) -> "Revival":
        """Return the state of a layer from which no unit was pruned."""
        since = torch.full_like(layer.unit_gate, -1, dtype=torch.int64)
        return cls([torch.zeros_like(synapse.float_weight) for synapse in layer.synapses], since)


@final
class LayerState:
    """Pruning rate, history, ranges, regeneration counters and remembered weights of one layer."""

    def __init__(self, layer: MaskedLayer, percent: float) -> None:
        self.name = layer.name
        self.percent = percent  # P, cumulative target of unit pruning in percent of the layer's units
        self.history = torch.zeros_like(layer.unit_gate)  # bool (units,), units that were pruned once
        self.ranges: list[ranges.RangeState] = []  # one per weight tensor; empty before the end of the first epoch
        self.regeneration = [
            regeneration.init_regeneration(regeneration.absent_groups(synapse.mask, synapse.kernelwise))
            for synapse in layer.synapses
        ]
        self.revival: Revival | None = None  # where whole units regenerate, from the first pruning on

    def follow_trust_regions(self, synapses: Sequence[MaskedSynapse], constrains: bool, **rates: Any) -> None:
        """Clamp weights to the ranges around those of the last epoch, and put ranges around them.

        rates: of `ranges.trust_regions`.
        """
        for number, (each, synapse) in enumerate(zip(self.ranges, synapses, strict=True)):
            weight = synapse.float_weight
            kept = ranges.clamp(weight, each) if constrains else weight
            self.ranges[number] = ranges.trust_regions(each, weight * synapse.mask, kept * synapse.mask, **rates)
            if constrains:
                synapse.set_weight(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        return {
            "name": self.name,
            "percent": self.percent,
            "history": self.history.clone(),
            "ranges": [_copied(state._asdict()) for state in self.ranges],
            "regeneration": [_copied(state._asdict()) for state in self.regeneration],
            **({} if self.revival is None else {"revival": _moved(self.revival)._asdict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state of the same layer."""
        device = self.history.device
        self.percent = float(state["percent"])
        self.history = state["history"].clone().to(device)
        self.ranges = [ranges.RangeState(**_copied(item, device)) for item in state["ranges"]]
        self.regeneration = [regeneration.RegenerationState(**_copied(item, device)) for item in state["regeneration"]]
        self.revival = _moved(Revival(**state["revival"]), device) if "revival" in state else None


def _copied(state: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, Tensor]:
    return {name: value.to(device, copy=True) for name, value in state.items()}


def _moved(state: Revival, device: torch.device | None = None) -> Revival:
    return Revival([weight.to(device, copy=True) for weight in state.weights], state.since.to(device, copy=True))


def structure_of(layer: MaskedLayer, alive: Tensor) -> dict[str, Any]:
    """Return a layer's name, kind and counts; `alive` is bool (units,), as `Developer.alive` returns it."""
    present = sum(int(synapse.present.sum()) for synapse in layer.synapses)
    total = sum(synapse.mask.numel() for synapse in layer.synapses)
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "units": layer.n_units,
        "alive_units": int((alive & layer.unit_gate).sum()),
        "synapses": present,
        "absent": total - present,
        "masked": total - sum(int(synapse.mask.sum()) for synapse in layer.synapses),
    }


def rates_of(state: LayerState, regeneration_percent: float | None) -> dict[str, Any]:
    """Return the rates of a developing layer, and quantiles of its ranges."""
    regeneration = {} if regeneration_percent is None else {"regeneration_percent": regeneration_percent}
    return {"pruning_percent": state.percent, **regeneration, "range_quantiles": range_quantiles(state.ranges)}


def range_quantiles(states: Sequence[ranges.RangeState]) -> dict[str, float]:
    """Return quantiles of a layer's upper bounds; in a large layer from evenly spaced synapses."""
    values = torch.cat([state.upper.flatten() for state in states])
    values = values[:: max(1, values.numel() // _SAMPLES)]
    return {str(q): float(values.kthvalue(max(1, round(q * values.numel()))).values) for q in _QUANTILES}
