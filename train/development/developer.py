"""The Developer: applies the rules of sdsnn_core.development to the masks of a model, epoch by epoch."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from sdsnn_core.compaction import synapse_memory
from sdsnn_core.development import criteria, pruning, ranges, regeneration, stop_criteria
from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.development.reference import Reference
from sdsnn_core.development.schedule import Schedule
from sdsnn_core.development.trend import Trend
from sdsnn_core.errors import ConfigError, FileError

from .absent_gradients import AbsentGradients
from .activity import ActivityMeter
from .layer_graph import trace_graph
from .layer_state import LayerState, rates_of, structure_of
from .masks import MaskedLayer, MaskedSynapse, attach_masks
from .regeneration import RegrowthRules, Reviver, regrow
from .sparsifier import Sparsifier

Optimiser = torch.optim.Optimizer | None


class Developer:
    """Develops the structure of a model of SLAYER blocks during training: prunes units, drops and grows synapses.

    The constructor adds masks and unit gates to the model's blocks, as buffers. Call `step` after each step of the
    optimiser and `epoch_end` after each epoch, before evaluation. The state of the run is in the `state_dict` of the
    model, of the optimiser and of the developer, at any step.

    Args:
        model: a module with Dense, Conv, Recurrent or Affine blocks of SLAYER anywhere inside.
        example_input: an input (batch, *shape, steps), float32. One forward pass with it finds the connections between
            the layers, the layers that only the input feeds, and the readouts.
        n_epochs: length of the run, to which all schedules are scaled.
        config: what develops and how fast; None takes the defaults.
        steps_per_epoch: for loops that count steps only: `step` then ends an epoch after so many of them, by itself.

    Attributes:
        layers: the masked layers, in the order in which the model lists them.
        graph: the connections between them.
        next_epoch: number of epochs that have ended.
        operations: synaptic operations per inference, which `stop_operations` needs; set it after each evaluation.
        trend: of validation. `regeneration_when = "validation"` needs `trend.loss`; set it after each evaluation.
        meters: of activity, which some criteria of unit pruning need; several processes add up their `sums`.
        records: what the last `epoch_end` returned; emptied by the next `step`.
        reference: accuracy from which `max_accuracy_drop` counts.
        held: True if the last `epoch_end` removed nothing because a stop criterion holds or accuracy is too low.

    Raises:
        UnsupportedNode: if the model contains a block that cannot develop, or one that takes no part in the pass.
        ConfigError: if the configuration asks for literal mode, which `LiteralDeveloper` implements.

    Examples:
        >>> import torch
        >>> from sdsnn.train.development.developer import Developer
        >>> from sdsnn.train.slayer.block_spikes import reset_state
        >>> from sdsnn_core.development import DevelopmentConfig
        >>> from sdsnn_core.lava.compat import import_slayer
        >>> Dense = import_slayer().block.cuba.Dense
        >>> neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        >>> model = torch.nn.Sequential(Dense(neuron, 20, 30, weight_scale=4), Dense(neuron, 30, 2, weight_scale=4))
        >>> x, labels = (torch.rand(8, 20, 16) < 0.3).float(), torch.arange(8) % 2
        >>> optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> developer = Developer(model, x[:1], n_epochs=10, config=DevelopmentConfig(target_sparsity=0.9))
        >>> for epoch in range(10):
        ...     for part in range(2):  # batches
        ...         reset_state(model)
        ...         optimiser.zero_grad()
        ...         loss = torch.nn.functional.cross_entropy(model(x[part::2]).sum(-1), labels[part::2])
        ...         loss.backward()
        ...         optimiser.step()
        ...         developer.step()
        ...     records = developer.epoch_end(optimiser)
        >>> developer.connection_sparsity() >= 0.9
        True
    """

    schedule_type: type[Schedule] = Schedule
    reproduces_defects = False

    def __init__(
        self,
        model: torch.nn.Module,
        example_input: Tensor,
        n_epochs: int,
        config: DevelopmentConfig | None = None,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.config = config or DevelopmentConfig()
        if n_epochs < 1 or (steps_per_epoch is not None and steps_per_epoch < 1):
            got = f"{n_epochs}, {steps_per_epoch}"
            raise ConfigError([f"Developer: expected at least one epoch of one step, got {got}"])
        self.steps_per_epoch = steps_per_epoch
        if self.config.literal and not self.reproduces_defects:
            raise ConfigError(["mode: expected corrected without defects, got literal; use LiteralDeveloper"])
        self.layers = self._masked_layers(model)
        self.graph = trace_graph(model, self.layers, example_input)
        self.schedule = self.schedule_type(self.config, n_epochs)
        self.next_epoch = 0
        self.operations: float | None = None
        self.trend = Trend(self.schedule.persistence)
        self.reference = Reference()
        self.held = False
        self.records: list[dict[str, Any]] = []
        self.sparsifier = Sparsifier(self.layers, self.graph, self.config, self.schedule)
        self._gradients = AbsentGradients(self.layers, self.config.grow_score_every)
        self._states = [LayerState(layer, self.schedule.initial_percent(layer.kind)) for layer in self.layers]
        pairs = zip(self.layers, self._states, strict=True)
        self._revivers = [Reviver(layer, state, self.config) for layer, state in pairs]
        needed = self.config.unit_criterion in criteria.NEED_ACTIVITY
        self.meters = [ActivityMeter(layer) for layer in self.layers if needed]  # of every layer, or of none
        self._begin_epoch()

    def _masked_layers(self, model: torch.nn.Module) -> list[MaskedLayer]:
        return attach_masks(model)

    def step(self, optimiser: torch.optim.Optimizer | None = None, accuracy: float | None = None) -> None:
        """Prepare for the next batch; call it after each step of the optimiser.

        With `steps_per_epoch`, `records` is empty unless this step ended an epoch.

        Args:
            optimiser: with `steps_per_epoch`, passed on to `epoch_end`.
            accuracy: likewise.
        """
        self.records = []
        taken = self._gradients.next_batch()
        if taken and self.steps_per_epoch is not None and self._gradients.batch == self.steps_per_epoch:
            self.epoch_end(optimiser, accuracy)

    def accumulating(self, scaler: Any = None) -> AbstractContextManager[list[Tensor]]:
        """Return a context for the backward passes of one optimiser step, when a batch is computed in several parts.

        Without it, masked weights score |g0| + |g1| for the gradients of two parts instead of |g0 + g1|.

        Args:
            scaler: the torch.amp.GradScaler whose scaled losses the passes differentiate. `step`, called after
                `scaler.update`, divides by the scale; steps that the scaler skips do not count.

        Returns:
            A context manager. It yields the tensors that hold the signed sums, one per weight tensor whose gradients
            are accumulated in this batch; several processes all-reduce them before the block ends.

        Examples:
            with developer.accumulating():
                for x, labels in micro_batches:
                    loss(model(x), labels).backward()
            optimiser.step()
            developer.step()
        """
        return self._gradients.one_batch(scaler)

    def begin_trained(self, accuracy: float) -> None:
        """Count `max_accuracy_drop` from the validation accuracy of the trained network that the run begins with."""
        self.reference = Reference.of_trained(accuracy, self.config)

    def epoch_end(
        self, optimiser: torch.optim.Optimizer | None = None, accuracy: float | None = None
    ) -> list[dict[str, Any]]:
        """Develop the structure after the training of an epoch, before its evaluation.

        The order is: ranges, clamp, regeneration, unit pruning, pruning rates, synapse stage. Where a stop criterion
        holds or accuracy is too low, nothing is removed and the rates stay.

        Args:
            optimiser: its moments of pruned and regrown synapses are reset; None if it has no state.
            accuracy: the latest validation accuracy, 0..1, for `max_accuracy_drop`.

        Returns:
            A record for each layer, of plain values: units, synapses, what was pruned and regrown, and the rates.
        """
        epoch = self.next_epoch
        self.trend.note(accuracy)
        self.reference, low, waits = self.reference.after(accuracy, self.trend, self.config)
        self.held = low or (stop_criteria.any_set(self.config) and stop_criteria.met(self.config, self.metrics()))
        counts = [{"pruned": 0, "regrown": 0} for _ in self.layers]
        with torch.no_grad():
            developing = [index for index in range(len(self.layers)) if self.develops(index)]
            for index in developing:
                self._follow_ranges(index, epoch)
            if self.schedule.prunes(epoch):
                self._change_units(developing, counts, epoch, optimiser)
            if self.sparsifier.due(epoch):
                changes = self.sparsifier.step(optimiser, self.held, waits)
                for count, (silent, grown) in zip(counts, changes, strict=True):
                    count["pruned"] += silent
                    count["regrown"] += grown
                for layer, state in zip(self.layers, self._states, strict=True):
                    state.history |= ~layer.unit_gate
            self.next_epoch = epoch + 1
            self._begin_epoch()
            self.records = [self._record(index, epoch, counts[index]) for index in range(len(self.layers))]
            return self.records

    def develops(self, index: int) -> bool:
        """Return True if ranges, unit pruning and regeneration act on a layer."""
        first, last = not self.graph.predecessors[index], index in self.graph.outputs
        protected = (first and self.config.protect_first) or (last and self.config.protect_last)
        return self.layers[index].spikes and not protected

    def alive(self, index: int) -> Tensor:
        """Return (units,) bool: units of a layer with enough incoming synapses."""
        layer, config = self.layers[index], self.config
        fraction = config.alive_fraction_conv if layer.kind == "conv" else config.alive_fraction_dense
        return pruning.alive_units([synapse.present for synapse in layer.synapses], fraction)

    def settled(self, epoch: int) -> bool:
        """Return True if the structure hardly changes after `epoch`."""
        return epoch >= self.schedule.settled_from

    def connection_sparsity(self) -> float:
        """Return the share of synapses, over all layers, that are masked or quantise to zero."""
        return self.metrics().sparsity

    def metrics(self) -> stop_criteria.Metrics:
        """Return size and cost of the network, with the operations of the latest evaluation."""
        synapses = [synapse for layer in self.layers for synapse in layer.synapses]
        present = [int(synapse.present.sum()) for synapse in synapses]
        total = [synapse.mask.numel() for synapse in synapses]
        memory = synapse_memory(present, total)
        return stop_criteria.Metrics(1 - sum(present) / sum(total), memory, self.operations, self.sparsifier.chip_cost)

    def _follow_ranges(self, index: int, epoch: int) -> None:
        """Update the ranges of a layer, and clamp its weights to them."""
        layer, state = self.layers[index], self._states[index]
        weights = [synapse.float_weight * synapse.mask for synapse in layer.synapses]
        constrains = self.config.constraint and self.schedule.clamps(epoch)
        if not state.ranges:
            state.ranges = [self._first_range(weight) for weight in weights]
        elif self.config.range_rule == "trust":
            return state.follow_trust_regions(layer.synapses, constrains, **self._range_rates())
        elif self._ranges_move(index):
            state.ranges = [
                ranges.update_ranges(r, w, **self._range_rates()) for r, w in zip(state.ranges, weights, strict=True)
            ]
        if constrains:
            for each, synapse in zip(state.ranges, layer.synapses, strict=True):
                synapse.set_weight(ranges.clamp(synapse.float_weight, each))

    def _range_rates(self) -> dict[str, Any]:
        """Return the arguments with which both rules of ranges move bounds."""
        return {"persistence": self.schedule.persistence, "shrink": self.config.shrink, "fade": self._fade()}

    def _first_range(self, weight: Tensor) -> ranges.RangeState:
        state = ranges.init_ranges(weight, self.config.range_quantile)
        return ranges.around(state, weight, state.upper) if self.config.range_rule == "trust" else state

    def _ranges_move(self, index: int) -> bool:
        return True

    def _fade(self) -> float:
        return self.config.fade

    def _change_units(
        self, developing: Sequence[int], counts: list[dict[str, int]], epoch: int, optimiser: Optimiser
    ) -> None:
        """Regenerate synapses and prune units of the layers, add the numbers of both to `counts`, advance the rates."""
        for index in developing:
            counts[index]["regrown"] = self._regenerate(index, epoch, optimiser)
            counts[index]["pruned"] = 0 if self.held else self._prune(index, optimiser)
        alive = [int(self.alive(index).sum()) for index in range(len(self.layers))]
        for index in [] if self.held else developing:
            self._advance_rate(index, epoch, alive)

    def _regenerates(self, index: int, epoch: int) -> bool:
        """Return True if regeneration acts after `epoch`; once the synapse stage has begun, its budget decides."""
        staged = self.config.synapse_stage and epoch >= self.schedule.synapse_first
        return self.config.regeneration and not staged and self.develops(index) and self.schedule.prunes(epoch)

    def _regenerate(self, index: int, epoch: int, optimiser: Optimiser) -> int:
        """Unmask synapses of a layer, or revive whole units; return the number of synapses."""
        self._revivers[index].release(epoch, self.schedule.persistence)
        called = self.config.regeneration_when == "always" or self.trend.worse(self.config.regeneration_margin)
        if not called or not self._regenerates(index, epoch):
            return 0
        if self.config.regeneration_rule == "units":
            return self._revivers[index].revive(epoch, optimiser)
        percent = self.schedule.regeneration_percent(epoch, self.layers[index].kind)
        rules = RegrowthRules(
            self._grow_score,
            lambda score, absent: self._candidates(score, absent, percent),
            self._regrowth_budget,
            self.schedule.regeneration_persistence,
        )
        return regrow(self.layers[index], self._states[index].regeneration, rules, optimiser)

    def _grow_score(self, synapse: MaskedSynapse) -> Tensor:
        return synapse.absent_gradient

    def _candidates(self, score: Tensor, absent: Tensor, percent: float) -> Tensor:
        return regeneration.gradient_hits(score, absent, percent)

    def _regrowth_budget(self, n_groups: int) -> int:
        return max(1, int(self.config.regeneration_cap * n_groups))

    def _prune(self, index: int, optimiser: Optimiser) -> int:
        if not self.config.pruning:
            return 0
        layer, state = self.layers[index], self._states[index]
        step, kept = self._pruning_limits()
        order, alive = self._pruning_order(index), self.alive(index)
        chosen = pruning.choose_units(order, state.history, alive, state.percent, max_step=step, min_kept=kept)
        state.history |= chosen
        if bool(chosen.any()):
            self._revivers[index].remember(chosen)
            layer.set_masks([pruning.remove_units(synapse.mask, chosen) for synapse in layer.synapses], optimiser)
        return int(chosen.sum())

    def _pruning_limits(self) -> tuple[float, float]:
        return self.config.max_step, self.config.min_kept

    def _unit_scores(self, index: int) -> Tensor:
        synapses = self.layers[index].synapses
        return criteria.unit_scores(
            self.config.unit_criterion,
            [synapse.float_weight for synapse in synapses],
            [synapse.mask for synapse in synapses],
            self._states[index].ranges,
            self.meters[index].read() if self.meters else None,
        )

    def _pruning_order(self, index: int) -> Tensor:
        synapses = self.layers[index].synapses
        magnitudes = pruning.unit_magnitudes([s.float_weight for s in synapses], [s.mask for s in synapses])
        return pruning.pruning_order(self._unit_scores(index), magnitudes)

    def _advance_rate(self, index: int, epoch: int, alive: Sequence[int]) -> None:
        layer, state = self.layers[index], self._states[index]
        if self.config.pruning:
            counts = self._trophic_counts(index, alive) if self.config.adaptive_pruning_rate else (1, 1)
            state.percent = pruning.next_percent(state.percent, self.schedule.rate(epoch, layer.kind), *counts)

    def _trophic_counts(self, index: int, alive: Sequence[int]) -> tuple[int, int]:
        """Return the alive units of a layer and those of the layers that it feeds."""
        return alive[index], sum(alive[target] for target in self.graph.successors[index])

    def _begin_epoch(self) -> None:
        """Clear the grow scores, and accumulate them in layers that may grow at the end of the coming epoch."""
        self._gradients.clear()
        phase = self.schedule.synapse_phase(self.next_epoch)
        staged = phase is not None and self.config.synapse_turnover > 0
        whole = self.config.regeneration_rule == "units"
        self._gradients.begin_epoch(
            [layer for i, layer in enumerate(self.layers) if staged or self._regenerates(i, self.next_epoch)],
            signed=self.config.synapse_growth == "signed" if staged else whole,
        )
        for meter in self.meters:
            meter.clear()

    def _record(self, index: int, epoch: int, counts: Mapping[str, int]) -> dict[str, Any]:
        layer, percent = self.layers[index], None
        if self._regenerates(index, epoch) and self.config.regeneration_rule == "synapses":
            percent = self.schedule.regeneration_percent(epoch, layer.kind)
        structure = {**structure_of(layer, self.alive(index)), **counts}
        return structure | (rates_of(self._states[index], percent) if self.develops(index) else {})

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values, except masks and gates, which the model's state_dict holds."""
        return {
            "next_epoch": self.next_epoch,
            "operations": self.operations,
            "thinning": {**self.sparsifier.state_dict(), **self.reference.state_dict()},
            "layers": [state.state_dict() for state in self._states],
            **({"trend": self.trend.state_dict()} if self.config.follows_validation else {}),
            **({"meters": [meter.state_dict() for meter in self.meters]} if self.meters else {}),
            **({"begun": begun} if (begun := self._gradients.state_dict()) else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state; load the model's state first.

        Raises:
            FileError: if the state belongs to other layers.
        """
        own = [(layer.name, layer.n_units) for layer in self.layers]
        saved = [(entry["name"], entry["history"].numel()) for entry in state["layers"]]
        if saved != own:
            expected, got = (", ".join(name for name, _ in layers) for layers in (own, saved))
            raise FileError(f"development state: expected layers {expected}, got {got}")
        self.next_epoch = int(state["next_epoch"])
        self.operations = state.get("operations")
        self.reference = Reference.from_state_dict(state["thinning"])
        self.sparsifier.load_state_dict(state["thinning"])
        for layer_state, entry in zip(self._states, state["layers"], strict=True):
            layer_state.load_state_dict(entry)
        if "trend" in state:
            self.trend.load_state_dict(state["trend"])
        for meter, saved in zip(self.meters, state.get("meters", ()), strict=False):
            meter.load_state_dict(saved)
        self._begin_epoch()
        if "begun" in state:
            self._gradients.load_state_dict(state["begun"])
