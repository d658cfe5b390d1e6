"""Per-layer statistics written to history.jsonl."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdsnn_core.development.ranges import RangeState

from .layer_state import LayerState
from .masks import MaskedLayer

_QUANTILES = (0.1, 0.5, 0.9)
_SAMPLES = 2**16


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


def range_quantiles(ranges: Sequence[RangeState]) -> dict[str, float]:
    """Return quantiles of a layer's upper bounds; in a large layer from evenly spaced synapses."""
    values = torch.cat([state.upper.flatten() for state in ranges])
    values = values[:: max(1, values.numel() // _SAMPLES)]
    return {str(q): float(values.kthvalue(max(1, round(q * values.numel()))).values) for q in _QUANTILES}
