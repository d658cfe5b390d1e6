"""Literal mode: SD-SNN as its authors' released script computes it, with the defects B1 to B14 of docs/development.md.

The script is BrainCog at 3998fd5, examples/Structural_Development/SD-SNN. `defects` in the configuration selects single
ones. Nothing outside this file depends on a defect.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdsnn_core.development import pruning, ranges
from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.development.schedule import Schedule
from sdsnn_core.errors import ConfigError

from .developer import Developer, Optimiser
from .masked_synapse import MaskedHook, MaskedSynapse, float_weight
from .masks import MaskedLayer

_ALIVE = {"conv": 20, "dense": 50}  # B9: synapses of a unit that counts as alive
_WIDTH, _CLASSES = 512, 10  # B9: units of the script's hidden dense layer and of its readout


def developer_for(model: torch.nn.Module, example_input: Tensor, n_epochs: int, config: DevelopmentConfig) -> Developer:
    """Return a Developer, or a LiteralDeveloper if the configuration asks for literal mode or single defects."""
    return (LiteralDeveloper if config.literal else Developer)(model, example_input, n_epochs, config)


def schedule_for(config: DevelopmentConfig, n_epochs: int) -> Schedule:
    """Return the schedule of the developer that `developer_for` returns."""
    return (LiteralSchedule if config.literal else Schedule)(config, n_epochs)


class LiteralSchedule(Schedule):
    """B12: the script requires more than T counts for regeneration, and T for its ranges."""

    @property
    def regeneration_persistence(self) -> int:
        """Counts of a candidate after which it is unmasked."""
        return self.persistence + int("B12" in self.config.reproduced)


class SoftHook(MaskedHook):
    """B6: masked weights take part in training and learn; in evaluation and export they are zero."""

    def forward(self, weight: Tensor, descale: bool = False) -> Tensor:
        """Return the quantised weight, masked outside training only."""
        if descale or not self.training:
            return super().forward(weight, descale)
        quantised = weight if self.quantise is None else self.quantise(weight)
        if self.accumulates and quantised.requires_grad:
            quantised.register_hook(self._accumulate)  # type: ignore[no-untyped-call]
        return quantised

    def _all_take_part(self) -> bool:
        """Return whether masked weights take part in the next pass: they do in training."""
        return self.training or super()._all_take_part()

    def _accumulate(self, gradient: Tensor) -> None:
        score = gradient if self.signed else gradient.abs()
        self.absent_gradient += score.view(self.mask.shape).masked_fill(self.mask, 0)


class SoftSynapse(MaskedSynapse):
    """B6: a synapse with a SoftHook; moments are never reset, and unmasked weights keep what they learned."""

    def __init__(self, masked: MaskedSynapse) -> None:
        super().__init__(masked.name, masked.synapse)
        hook = SoftHook(self.hook.quantise, float_weight(self.synapse)).train(self.hook.training)
        hook.mask.copy_(self.hook.mask)
        self.synapse._pre_hook_fx = hook

    def replace_mask(self, mask: Tensor, optimiser: torch.optim.Optimizer | None) -> None:
        """Set a new mask; newly masked weights become zero."""
        self.set_mask(mask)
        self.set_weight(self.float_weight * mask)


class OpenLayer(MaskedLayer):
    """B7: the gates of pruned units stay open, so a bias may still make them fire."""

    def close_gates(self) -> None:
        """Leave all gates open."""


class LiteralDeveloper(Developer):
    """A Developer with the defects of `config.reproduced`. Raises ConfigError if B6 meets weight normalisation."""

    schedule_type = LiteralSchedule
    reproduces_defects = True

    def _has(self, defect: str) -> bool:
        return defect in self.config.reproduced

    def _masked_layers(self, model: torch.nn.Module) -> list[MaskedLayer]:
        layers = super()._masked_layers(model)
        if self._has("B6"):
            if any(synapse.normalised for layer in layers for synapse in layer.synapses):
                raise ConfigError(["defects: B6 (part of mode literal) needs weight_norm = false, got true"])
            for layer in layers:
                layer.synapses = [SoftSynapse(synapse) for synapse in layer.synapses]
        if self._has("B7"):
            layers = [OpenLayer(layer.name, layer.block, layer.synapses) for layer in layers]
        return layers

    def develops(self, index: int) -> bool:
        """B14: layers that only the input feeds develop too, unless they are readouts."""
        first, last = not self.graph.predecessors[index], index in self.graph.outputs
        if first and self._has("B14"):
            return self.layers[index].spikes and not (last and self.config.protect_last)
        return super().develops(index)

    def alive(self, index: int, least: int | None = None) -> Tensor:
        """B9: a fixed number of unmasked synapses makes a unit alive."""
        if not self._has("B9"):
            return super().alive(index)
        layer = self.layers[index]
        masks = [synapse.mask for synapse in layer.synapses]
        return pruning.incoming(masks) >= (least or _ALIVE[layer.kind])

    def _first_range(self, weight: Tensor) -> ranges.RangeState:
        """B2: both bounds start at the largest signed weight."""
        return ranges.constant_ranges(weight, weight.max()) if self._has("B2") else super()._first_range(weight)

    def _ranges_move(self, index: int) -> bool:
        """B1: ranges change in the last developing layer only."""
        last = max(other for other in range(len(self.layers)) if self.develops(other))
        return index == last or not self._has("B1")

    def _fade(self) -> float:
        """In literal mode any loss of abs(w) counts, as in the script."""
        return 0.0 if self.config.mode == "literal" else super()._fade()

    def _pruning_order(self, index: int) -> Tensor:
        """B1: an unstable sort decides between equal scores."""
        return torch.argsort(self._unit_scores(index)) if self._has("B1") else super()._pruning_order(index)

    def _pruning_limits(self) -> tuple[float, float]:
        """B9: no limit per epoch or per layer."""
        return (1.0, 0.0) if self._has("B9") else super()._pruning_limits()

    def _change_units(
        self, developing: Sequence[int], counts: list[dict[str, int]], epoch: int, optimiser: Optimiser
    ) -> None:
        """In literal mode, all layers regenerate before the first is pruned; a layer's rate rises with its pruning.

        So the rate of a layer counts the units that the next layer has before its own pruning.
        """
        if self.config.mode != "literal":
            super()._change_units(developing, counts, epoch, optimiser)
        else:
            for index in developing:
                counts[index] = {"regrown": self._regenerate(index, epoch, optimiser), "pruned": 0}
            for index in [] if self.held else developing:
                counts[index]["pruned"] = self._prune(index, optimiser)
                alive = [int(self.alive(other).sum()) for other in range(len(self.layers))]
                self._advance_rate(index, epoch, alive)
        if self._has("B6"):  # what masked weights learned in the epoch becomes zero, also if nothing is pruned
            for index in developing:
                self.layers[index].set_masks([synapse.mask for synapse in self.layers[index].synapses], optimiser)

    def _grow_score(self, synapse: MaskedSynapse) -> Tensor:
        """B5: the weight after an epoch of unmasked training; B4: with its sign."""
        if not self._has("B5"):
            return super()._grow_score(synapse)
        return synapse.float_weight if self._has("B4") else synapse.float_weight.abs()

    def _candidates(self, score: Tensor, absent: Tensor, percent: float) -> Tensor:
        """B5: weights above a percentile; B11: of all weights of the layer, not of the masked ones."""
        if self._has("B11") or self._has("B5"):
            return percentile_hits(score, absent, percent, among_absent=not self._has("B11"))
        return super()._candidates(score, absent, percent)

    def _regrowth_budget(self, n_groups: int) -> int:
        """B11: no budget."""
        return n_groups if self._has("B11") else super()._regrowth_budget(n_groups)

    def _trophic_counts(self, index: int, alive: Any) -> tuple[int, int]:
        """B9: a convolution counts the next layer by its own rule; a dense layer uses the script's widths."""
        alive_units, following = super()._trophic_counts(index, alive)
        if not self._has("B9"):
            return alive_units, following
        layer = self.layers[index]
        if layer.kind == "conv":
            return alive_units, sum(int(self.alive(target, 20).sum()) for target in self.graph.successors[index])
        return _WIDTH - (layer.n_units - alive_units), _CLASSES


def percentile_hits(value: Tensor, absent: Tensor, percent: float, *, among_absent: bool = False) -> Tensor:
    """Return the absent groups whose value is above the (100 - percent) percentile, interpolated linearly as in numpy.

    absent: bool, groups with a masked synapse. among_absent: take the percentile of these instead of all groups.
    """
    pool = (value[absent] if among_absent else value).flatten()
    if pool.numel() == 0:
        return torch.zeros_like(absent)
    place = (pool.numel() - 1) * (100 - percent) / 100
    low = math.floor(place)
    at_low = pool.kthvalue(low + 1).values
    at_high = pool.kthvalue(min(low + 2, pool.numel())).values
    return absent & (value > at_low + (place - low) * (at_high - at_low))
