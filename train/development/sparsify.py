"""The synapse stage on a model: single synapses drop and grow until the target share of all of them is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.development.schedule import Schedule
from sdsnn_core.development.synapse_stage import balanced_budgets, drop_and_grow, sparsity_at, turnover_at

from .layer_graph import LayerGraph
from .masks import MaskedLayer
from .reachability import lifelines, trim


@final
class Thinning:
    """The synapse stage of one run: how many of its steps are done and where it started.

    Shares count masked synapses of all layers, first and readout included, against all there are in the dense network.
    A synapse grows only into a unit that is not silent; what cannot matter is trimmed first, so the budget is spent on
    synapses that can. Under protect_last every unit of a readout keeps a path from the input, whatever the budget, and
    one that has lost its last synapse to the pruning of units may grow another.
    """

    def __init__(
        self, layers: Sequence[MaskedLayer], graph: LayerGraph, config: DevelopmentConfig, schedule: Schedule
    ) -> None:
        self.layers = layers
        self.graph = graph
        self.config = config
        self.schedule = schedule
        self.steps = 0
        self.start = 0.0
        self.best_accuracy = 0.0

    def step(self, optimiser: torch.optim.Optimizer | None, held: bool) -> list[tuple[int, int]]:
        """Drop and grow once; return (units that fell silent, synapses grown) for each layer.

        held: the target stays where it is, and synapses are only exchanged.
        """
        config = self.config
        before = [int(layer.unit_gate.sum()) for layer in self.layers]
        trim(self.layers, self.graph, optimiser)
        old = [[synapse.mask.clone() for synapse in layer.synapses] for layer in self.layers]
        if self.steps == 0:
            self.start = 1 - sum(int(m.sum()) for masks in old for m in masks) / sum(
                m.numel() for masks in old for m in masks
            )
        self.steps += int(not held)
        phase = self.steps / (self.schedule.synapse_last - self.schedule.synapse_first + 1)
        sparsity = sparsity_at(phase, self.start, config.synapse_target, config.synapse_exponent)
        turnover = turnover_at(phase, config.synapse_turnover)
        flat = [(layer, synapse) for layer in self.layers for synapse in layer.synapses]
        worth = [self._worth(synapse.weight.abs(), synapse.mask) for _, synapse in flat]
        promise = [synapse.hook.absent_gradient for _, synapse in flat]
        masks = [synapse.mask for _, synapse in flat]
        firsts = [place for place, (layer, synapse) in enumerate(flat) if synapse is layer.synapses[0]]
        if config.protect_last:
            for place, path in zip(firsts, lifelines(self.layers, self.graph, [worth[i] for i in firsts]), strict=True):
                worth[place] = torch.where(path, torch.inf, worth[place])  # never dropped
        open_units = [
            self._may_grow(index).reshape(-1, *(1,) * (synapse.mask.dim() - 1)).expand_as(synapse.mask)
            for index, layer in enumerate(self.layers)
            for synapse in layer.synapses
        ]
        keep = round((1 - sparsity) * sum(mask.numel() for mask in masks))
        scopes, budgets = self._budgets(masks, keep)
        new: dict[int, Tensor] = {}
        for scope, share in zip(scopes, budgets, strict=True):
            needed = sum(int(torch.isinf(worth[place]).sum()) for place in scope)
            budget = max(share, needed)
            chosen = drop_and_grow(
                [worth[place] for place in scope],
                [promise[place] for place in scope],
                [masks[place] for place in scope],
                [open_units[place] for place in scope],
                budget,
                min(round(turnover * budget), budget - needed),
            )
            new.update(zip(scope, chosen, strict=True))
        places = iter(range(len(flat)))
        for layer in self.layers:
            layer.set_masks([new[next(places)] for _ in layer.synapses], optimiser)
        grown = [
            sum(int((synapse.mask & ~mask).sum()) for synapse, mask in zip(layer.synapses, masks_before, strict=True))
            for layer, masks_before in zip(self.layers, old, strict=True)
        ]
        trim(self.layers, self.graph, optimiser)
        silent = [count - int(layer.unit_gate.sum()) for count, layer in zip(before, self.layers, strict=True)]
        return list(zip(silent, grown, strict=True))

    def note(self, accuracy: float | None) -> None:
        """Remember the best accuracy seen."""
        if accuracy is not None:
            self.best_accuracy = max(self.best_accuracy, accuracy)

    def _budgets(self, masks: Sequence[Tensor], keep: int) -> tuple[list[list[int]], list[int]]:
        """Return which tensors share a budget, and the budgets."""
        each = [[place] for place in range(len(masks))]
        if self.config.synapse_scope == "global":
            return [list(range(len(masks)))], [keep]
        if self.config.synapse_scope == "balanced":
            return each, balanced_budgets([mask.shape for mask in masks], keep)
        total = sum(mask.numel() for mask in masks)
        return each, [round(keep * mask.numel() / total) for mask in masks]

    def _may_grow(self, index: int) -> Tensor:
        """Return (units,) bool: units that a synapse may grow into."""
        gate = self.layers[index].unit_gate
        readout = self.config.protect_last and index in self.graph.outputs
        return torch.ones_like(gate) if readout else gate

    def _worth(self, magnitude: Tensor, mask: Tensor) -> Tensor:
        if self.config.synapse_criterion == "magnitude":
            return magnitude
        mean_square = (magnitude * mask).square().sum() / mask.sum().clamp(min=1)
        return magnitude / mean_square.sqrt().clamp(min=1e-12)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"steps": self.steps, "start": self.start, "best_accuracy": self.best_accuracy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a saved state."""
        self.steps = int(state["steps"])
        self.start = float(state["start"])
        self.best_accuracy = float(state["best_accuracy"])
