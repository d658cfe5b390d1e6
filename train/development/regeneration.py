"""Regeneration on a model: single synapses of a layer return, as in SD-SNN, or whole units with weights that fire."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from sdsnn_core.development import ranges, regeneration, revival
from sdsnn_core.development.config import DevelopmentConfig

from .layer_state import LayerState, Revival
from .masks import MaskedLayer, MaskedSynapse

_STEP = 2 / 64  # SLAYER's 8-bit quantiser; in a layer without any weight to measure the step by


class RegrowthRules(NamedTuple):
    """What decides which single synapses return.

    Attributes:
        score: grow scores of a weight tensor.
        candidates: (scores of groups, absent groups) -> bool groups, the candidates of this epoch.
        budget: (number of groups) -> most groups that return at once.
        persistence: counts of a candidate after which it returns.
    """

    score: Callable[[MaskedSynapse], Tensor]
    candidates: Callable[[Tensor, Tensor], Tensor]
    budget: Callable[[int], int]
    persistence: int


def regrow(
    layer: MaskedLayer,
    states: list[regeneration.RegenerationState],
    rules: RegrowthRules,
    optimiser: torch.optim.Optimizer | None,
) -> int:
    """Unmask the synapses that were candidates long enough, and update `states` in place; return their number."""
    masks = []
    for place, synapse in enumerate(layer.synapses):
        score = regeneration.grouped(rules.score(synapse), synapse.kernelwise)
        absent = regeneration.absent_groups(synapse.mask, synapse.kernelwise)
        state = regeneration.update_persistence(states[place], rules.candidates(score, absent))
        chosen = regeneration.choose_groups(state, score, rules.persistence, rules.budget(absent.numel()))
        states[place] = regeneration.forget(state, chosen)
        masks.append(synapse.mask | chosen.expand_as(synapse.mask))
    regrown = sum(int((m & ~s.mask).sum()) for m, s in zip(masks, layer.synapses, strict=True))
    if regrown:
        layer.set_masks(masks, optimiser)
    return regrown


@final
class Reviver:
    """Revives units of one layer, and remembers the weights of those that are pruned."""

    def __init__(self, layer: MaskedLayer, state: LayerState, config: DevelopmentConfig) -> None:
        self.layer = layer
        self.state = state
        self.config = config
        self.enabled = config.regeneration_rule == "units"

    @property
    def _revival(self) -> Revival:
        """The layer's memory, which is empty before the first unit is pruned."""
        if self.state.revival is None:
            self.state.revival = Revival.empty(self.layer)
        return self.state.revival

    def remember(self, units: Tensor) -> None:
        """Keep the weights of units (bool) that are about to be pruned."""
        if not self.enabled:
            return
        memory = self._revival
        for kept, synapse in zip(memory.weights, self.layer.synapses, strict=True):
            kept[units] = (synapse.float_weight * synapse.mask)[units]
        memory.since[units] = -1

    def release(self, epoch: int, persistence: int) -> None:
        """Let units that were revived at least T epochs ago be pruned again."""
        if not self.enabled:
            return
        since = self._revival.since
        old = (since >= 0) & (epoch - since >= persistence)
        self.state.history &= ~(old & self.layer.unit_gate)

    def revive(self, epoch: int, optimiser: torch.optim.Optimizer | None) -> int:
        """Revive the silent units whose return lowers the loss most; return how many synapses that unmasks."""
        layer, memory = self.layer, self._revival
        silent = ~layer.unit_gate
        count = max(1, int(self.config.regeneration_cap * layer.n_units))
        if not bool(silent.any()):
            return 0
        gradient = _rows([synapse.absent_gradient for synapse in layer.synapses])
        start = self._start(gradient)
        units = revival.choose_units(revival.predicted_gain(gradient, start), silent, count)
        if not bool(units.any()):
            return 0
        weights = torch.split(start, [s.mask[0].numel() for s in layer.synapses], dim=1)
        before = [synapse.mask.clone() for synapse in layer.synapses]
        layer.set_masks([_with_rows(mask, units) for mask in before], optimiser)
        for synapse, values in zip(layer.synapses, weights, strict=True):
            new = synapse.float_weight.clone()
            new[units] = values.reshape(new.shape)[units].to(new.dtype)
            synapse.set_weight(new)
        if self.state.ranges:
            deployed = [synapse.float_weight for synapse in layer.synapses]
            self.state.ranges = [
                ranges.fresh(each, weight, units) for each, weight in zip(self.state.ranges, deployed, strict=True)
            ]
        memory.since[units] = epoch
        self.state.history |= units
        removed = 100 * (1 - float(layer.unit_gate.double().mean()))
        self.state.percent = min(self.state.percent, removed)
        return sum(int((s.mask & ~old).sum()) for s, old in zip(layer.synapses, before, strict=True))

    def _start(self, gradient: Tensor) -> Tensor:
        """Return the weights with which each silent unit would return, (units, fan-in)."""
        layer = self.layer
        deployed = _rows([synapse.deployed_weight for synapse in layer.synapses])
        sizes = deployed[deployed != 0].abs()
        step = float(sizes.min()) if sizes.numel() else _STEP
        drive = revival.excitatory_drive(deployed, layer.unit_gate) or layer_threshold(layer)
        fresh = revival.start_weights(gradient, drive, step)
        if self.config.regeneration_start == "gradient":
            return fresh
        remembered = _rows(self._revival.weights)
        return torch.where((remembered != 0).any(1, keepdim=True), remembered, fresh)


def layer_threshold(layer: MaskedLayer) -> float:
    """Return the threshold of a layer's neurons: the least drive that can make them fire."""
    return float(torch.as_tensor(layer.block.neuron.threshold, dtype=torch.float32).max())


def _rows(tensors: list[Tensor]) -> Tensor:
    """Return (units, all incoming synapses)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def _with_rows(mask: Tensor, units: Tensor) -> Tensor:
    return mask | units.reshape(-1, *(1,) * (mask.dim() - 1))
