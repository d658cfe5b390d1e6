"""The synapse stage on a model: drop and grow single synapses until the target share of all synapses is masked."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.development.adaptive import Pace, Verdict, next_step, per_epoch
from sdsnn_core.development.chip_costs import ChipCost, divide
from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.development.schedule import Schedule
from sdsnn_core.development.synapse_stage import balanced_budgets, drop_and_grow, shared_out, sparsity_at, turnover_at

from .chip_prices import Prices, synapse_costs
from .chip_target import ChipTarget
from .layer_graph import LayerGraph
from .masks import MaskedLayer, MaskedSynapse
from .reachability import protected_paths, trim

MOST_COST = 4.0  # factor by which the cost of its synapses may change the budget of a layer
READOUT = 1e6  # score of the units of a readout, whose neurons are never removed; those of the others are about 1
ORDER = 1e-4  # share of a synapse in the score of its unit: a unit loses its weakest first


@final
class Sparsifier:
    """The synapse stage of one run.

    Shares count the masked synapses of all layers, first and readout included, relative to the dense network. Useless
    synapses are trimmed first, and synapses grow only into units that are not silent. Under `protect_last` each readout
    unit keeps a path from the input whatever the budget, and one that lost its last synapse may grow another.

    Attributes:
        steps: steps towards the target so far.
        start: masked share before the first step.
        remaining: epochs of the stage after the present one.
        late: the next step mends a network that left the limits of its chip after the stage.
        fit: finds the number of synapses that a chip permits, instead of `synapse_target`; None without a chip.
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
        self.fastest = per_epoch(config.fastest_removal, schedule.persistence)
        self.pace = Pace(self.fastest / 4)
        self._removed: dict[MaskedSynapse, Tensor] = {}  # in adaptive mode, weights when they were removed
        self._returns = False  # what was removed last comes back in this step
        self.fit: ChipTarget | None = None
        self.late = False
        self.remaining = 0
        self._costs: dict[MaskedSynapse, Tensor] = {}  # of each synapse on the chip, 1 on average

    @property
    def chip_cost(self) -> ChipCost | None:
        """The latest cost on a chip; None where no chip is set, or before the first measurement."""
        return None if self.fit is None else self.fit.latest

    @property
    def by_units(self) -> bool:
        """Whether whole units are removed: the neurons of a chip's cores are what is short."""
        return self.fit is not None and self.fit.by_units and self.config.synapse_cost == "chip"

    def due(self, epoch: int) -> bool:
        """Return True within the stage, and after it where a chip's limits are left: zero weights may count again."""
        self.late = False
        self.remaining = max(0, self.schedule.synapse_last - epoch)
        if self.fit is not None and epoch > self.schedule.synapse_last:
            self.fit.update()
            self.late = not self.fit.met()
        return self.late or self.schedule.synapse_phase(epoch) is not None

    def step(self, optimiser: torch.optim.Optimizer | None, held: bool, waits: bool = False) -> list[tuple[int, int]]:
        """Drop and grow once.

        Args:
            optimiser: its moments of dropped and grown synapses are reset.
            held: exchange synapses at the present sparsity instead of dropping more; in adaptive mode, take back the
                latest removal, weights included.
            waits: in adaptive mode, exchange synapses at the present sparsity.

        Returns:
            For each layer, (units that became silent, synapses grown).
        """
        config = self.config
        held = held and not self.late
        units = [int(layer.unit_gate.sum()) for layer in self.layers]
        trim(self.layers, self.graph, optimiser)
        synapses = [synapse for layer in self.layers for synapse in layer.synapses]
        masks = [synapse.mask.clone() for synapse in synapses]
        total = sum(mask.numel() for mask in masks)
        if self.steps == 0:
            self.start = 1 - sum(int(mask.sum()) for mask in masks) / total
        self.steps += int(not held)
        phase = self.steps / (self.schedule.synapse_last - self.schedule.synapse_first + 1)
        scores = self._drop_scores(synapses)
        if self.fit is not None and self.fit.prices is None and config.synapse_cost == "chip" and not held:
            self._target_of(self.fit, synapses, phase, held, scores)  # which limit binds shows where it is just met
            self.fit.search_again()
            scores = self._drop_scores(synapses)
        if config.mode == "adaptive":
            keep = self._adapt(synapses, held, waits or self.remaining < self.schedule.persistence)
        else:
            target = (
                config.synapse_target if self.fit is None else self._target_of(self.fit, synapses, phase, held, scores)
            )
            keep = round((1 - sparsity_at(phase, self.start, target, config.synapse_exponent)) * total)
        turnover = 0.0 if self.by_units or self._returns else turnover_at(phase, config.synapse_turnover)
        new = self._exchange(synapses, keep, turnover, scores)
        grown = []
        for layer in self.layers:
            before = [synapse.mask.clone() for synapse in layer.synapses]
            layer.set_masks([new[synapse] for synapse in layer.synapses], optimiser)
            new_ones = [synapse.mask & ~old for synapse, old in zip(layer.synapses, before, strict=True)]
            grown.append(sum(int(places.sum()) for places in new_ones))
            for synapse, places in zip(layer.synapses, new_ones, strict=True) if self._returns else ():
                synapse.set_weight(synapse.float_weight + self._removed[synapse] * places)
        trim(self.layers, self.graph, optimiser)
        self._costs = {}
        if self.fit is not None:
            self.fit.update(sum(int(synapse.mask.sum()) for synapse in synapses))
        silent = [count - int(layer.unit_gate.sum()) for count, layer in zip(units, self.layers, strict=True)]
        return list(zip(silent, grown, strict=True))

    def _adapt(self, synapses: Sequence[MaskedSynapse], held: bool, waits: bool) -> int:
        """Return how many synapses mode adaptive keeps, and note the weights of those that are present."""
        for synapse in synapses:
            weight = synapse.float_weight
            before = self._removed.get(synapse, torch.zeros_like(weight)).to(weight.device)
            self._removed[synapse] = torch.where(synapse.mask, weight, before)
        present = sum(int(synapse.mask.sum()) for synapse in synapses)
        verdict: Verdict = "give back" if held else "wait" if waits else "remove"
        self.pace, keep = next_step(self.pace, present, self.fastest, verdict=verdict)
        self._returns = keep > present
        return keep

    def _target_of(
        self,
        fit: ChipTarget,
        synapses: Sequence[MaskedSynapse],
        phase: float,
        held: bool,
        scores: Mapping[MaskedSynapse, Tensor],
    ) -> float:
        """Return the masked share with which the chip's criteria hold; `synapse_target` where none is enough."""
        present, total = (sum(int(s.mask.sum()) for s in synapses), sum(s.mask.numel() for s in synapses))
        if held:
            return 1 - present / total

        apply = functools.partial(self._apply, synapses, scores)
        keep = fit.search(apply, max(1, present // 1000), present, phase)
        return self.config.synapse_target if keep is None else 1 - keep / total

    def _apply(self, synapses: Sequence[MaskedSynapse], scores: Mapping[MaskedSynapse, Tensor], keep: int) -> None:
        """Mask the model down to `keep` synapses."""
        new = self._exchange(synapses, keep, 0.0, scores)
        for layer in self.layers:
            layer.set_masks([new[synapse] for synapse in layer.synapses], None)
        trim(self.layers, self.graph, None)

    def _exchange(
        self, synapses: Sequence[MaskedSynapse], keep: int, turnover: float, scores: Mapping[MaskedSynapse, Tensor]
    ) -> dict[MaskedSynapse, Tensor]:
        """Return the new mask of each weight tensor; `keep` synapses in all, a share of `turnover` replaced."""
        open_units = self._growable()
        new: dict[MaskedSynapse, Tensor] = {}
        for scope, share in self._budgets(synapses, keep):
            protected = sum(int(torch.isinf(scores[synapse]).sum()) for synapse in scope)
            budget = max(share, protected)
            grow = round(turnover * budget)
            if self._returns:
                grow = max(grow, budget - sum(int(synapse.mask.sum()) for synapse in scope))
            masks = drop_and_grow(
                [scores[synapse] for synapse in scope],
                [self._grow_score(synapse) for synapse in scope],
                [synapse.mask for synapse in scope],
                [open_units[synapse] for synapse in scope],
                budget,
                min(grow, budget - protected),
            )
            new.update(zip(scope, masks, strict=True))
        return new

    def _budgets(self, synapses: Sequence[MaskedSynapse], keep: int) -> list[tuple[list[MaskedSynapse], int]]:
        """Return groups of weight tensors that share a budget, and their budgets."""
        if self.config.synapse_scope == "global" or self.by_units:
            return [(list(synapses), keep)]
        sizes = [synapse.mask.numel() for synapse in synapses]
        budgets = [round(keep * size / sum(sizes)) for size in sizes]
        costs = [self._mean_cost(synapse) for synapse in synapses] if self._costs else None
        if self.config.synapse_scope == "balanced":
            budgets = balanced_budgets([synapse.mask.shape for synapse in synapses], keep, costs)
        elif costs is not None:
            budgets = shared_out(sizes, [size / cost for size, cost in zip(sizes, costs, strict=True)], keep)
        return [([synapse], budget) for synapse, budget in zip(synapses, budgets, strict=True)]

    def _drop_scores(self, synapses: Sequence[MaskedSynapse]) -> dict[MaskedSynapse, Tensor]:
        """Return abs(w), relative to the tensor's root mean square if so configured; infinite on protected paths."""
        scores = {}
        for synapse in synapses:
            score = synapse.float_weight.abs()
            if self.config.synapse_criterion == "relative":
                mean_square = (score * synapse.mask).square().sum() / synapse.mask.sum().clamp(min=1)
                score = score / mean_square.sqrt().clamp(min=1e-12)
            scores[synapse] = score
        if self.fit is not None and self.fit.prices is not None and self.config.synapse_cost == "chip":
            scores = self._of_units(self.fit.prices, scores) if self.by_units else self._priced(self.fit.prices, scores)
        if self.config.protect_last:
            firsts = [layer.synapses[0] for layer in self.layers]
            paths = protected_paths(self.layers, self.graph, [scores[synapse] for synapse in firsts])
            for synapse, path in zip(firsts, paths, strict=True):
                scores[synapse] = torch.where(path, torch.inf, scores[synapse])
        return scores

    def _priced(self, prices: Prices, scores: dict[MaskedSynapse, Tensor]) -> dict[MaskedSynapse, Tensor]:
        """Return scores per cost, and note the costs, which growth and budgets follow too."""
        priced = {}
        for index, layer in enumerate(self.layers):
            for place, synapse in enumerate(layer.synapses):
                costs = synapse_costs(self.layers, self.graph, prices, index, place)
                if costs is not None:
                    pair = divide(scores[synapse].flatten(1), synapse.mask.flatten(1), costs)
                    priced[synapse] = [each.reshape(synapse.mask.shape) for each in pair]
        if len(priced) < len(scores):  # costs of some layers alone would say nothing about the others
            return scores
        total = sum(float((cost * synapse.mask).sum()) for synapse, (_, cost) in priced.items())
        mean = total / max(sum(int(synapse.mask.sum()) for synapse in priced), 1)
        self._costs = {synapse: cost / mean for synapse, (_, cost) in priced.items()}
        return {synapse: score / self._costs[synapse] for synapse, (score, _) in priced.items()}

    def _of_units(self, prices: Prices, scores: Mapping[MaskedSynapse, Tensor]) -> dict[MaskedSynapse, Tensor]:
        """Return the scores of the units at which synapses end, so that units lose all synapses one after another.

        A unit's score is the norm of its synapses' scores relative to the mean of its layer, times root(n) / m: n are
        the neurons of the layer, m those of the units that are no weaker. So layers keep neurons in proportion to
        root(n), halfway between the same share and the same number in each.
        """
        of_units = {}
        for index, layer in enumerate(self.layers):
            squares = [(scores[s] * s.mask).flatten(1).square().sum(1) for s in layer.synapses]
            norms = torch.stack(squares).sum(0).sqrt()
            alive = layer.unit_gate.sum().clamp(min=1)
            cost = prices.layers[index]
            neurons = 1 if cost is None else cost.source.shape[1]  # of a unit
            ranks = 1 + norms.argsort(descending=True).argsort()
            own = norms / (norms.sum() / alive).clamp(min=1e-12) * (alive / neurons).sqrt() / ranks
            own = torch.full_like(own, READOUT) if index in self.graph.outputs else own
            for synapse in layer.synapses:
                part = scores[synapse] / scores[synapse].max().clamp(min=1e-12)
                of_units[synapse] = own.reshape(-1, *(1,) * (part.dim() - 1)) * (1 + ORDER * part)
        return of_units

    def _mean_cost(self, synapse: MaskedSynapse) -> float:
        """Return the mean cost of the present synapses of a tensor, within limits that leave each layer some."""
        mean = float((self._costs[synapse] * synapse.mask).sum()) / max(int(synapse.mask.sum()), 1)
        return min(max(mean, 1 / MOST_COST), MOST_COST)

    def _grow_score(self, synapse: MaskedSynapse) -> Tensor:
        """Return the grow score of masked synapses: abs(gradient) summed, abs of the signed sum, or random.

        Where a removal is taken back, it is abs(w) of when they were removed: the last ones were the largest.
        """
        if self._returns:
            return self._removed[synapse].abs()
        score = synapse.absent_gradient
        if self.config.synapse_growth == "random":
            generator = torch.Generator().manual_seed(self.steps)
            return torch.rand(score.shape, generator=generator).to(score.device)
        score = score.abs()  # of a sum of absolute values, the sum itself
        return score / self._costs[synapse] if synapse in self._costs else score

    def _growable(self) -> dict[MaskedSynapse, Tensor]:
        """Return where synapses may grow: into units that are not silent, into protected readouts, back into all."""
        growable = {}
        for index, layer in enumerate(self.layers):
            readout = self.config.protect_last and index in self.graph.outputs
            units = torch.ones_like(layer.unit_gate) if readout or self._returns else layer.unit_gate
            for synapse in layer.synapses:
                growable[synapse] = units.reshape(-1, *(1,) * (synapse.mask.dim() - 1)).expand_as(synapse.mask)
        return growable

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        pace: dict[str, Any] = {}
        if self.config.mode == "adaptive":
            removed = [self._removed[s] for layer in self.layers for s in layer.synapses if s in self._removed]
            pace = {"pace": list(self.pace), "removed": removed}
        fit = {} if self.fit is None else {"chip": self.fit.state_dict()}
        return {"steps": self.steps, "start": self.start, **pace, **fit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.steps = int(state["steps"])
        self.start = float(state["start"])
        if "pace" in state:
            rate, sizes = state["pace"][:2]
            self.pace = Pace(rate, tuple(sizes) if isinstance(sizes, Sequence) else ())  # once a share
            synapses = [synapse for layer in self.layers for synapse in layer.synapses]
            self._removed = dict(zip(synapses, state.get("removed", ()), strict=False))
        if "chip" in state and self.fit is not None:
            self.fit.load_state_dict(state["chip"])
