"""The development of a model's structure, epoch by epoch: the rules of sdsnn_core.development bound to its masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.compaction import synapse_memory
from sdsnn_core.development import pruning, ranges, regeneration
from sdsnn_core.development import stop_criteria as goals
from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.development.schedule import Schedule
from sdsnn_core.errors import FileError

from .absent_gradients import Hearing
from .layer_graph import LayerGraph, trace_graph
from .layer_state import Memory
from .masks import MaskedLayer, attach_masks
from .records import range_quantiles, structure_of
from .sparsify import Thinning


@final
class Developer:
    """Follows a model through training and changes its structure after each epoch.

    layers: the masked layers. graph: who feeds whom. Neighbours, the first layers (fed by no other) and readouts
    (whose spikes leave the model) come from it alone.
    """

    def __init__(
        self, layers: Sequence[MaskedLayer], graph: LayerGraph, config: DevelopmentConfig, n_epochs: int
    ) -> None:
        assert len(graph.successors) == len(layers), (len(graph.successors), len(layers))
        self.layers = list(layers)
        self.graph = graph
        self.config = config
        self.schedule = Schedule(config, n_epochs)
        self.next_epoch = 0
        self.operations: float | None = None  # per inference, as the newest evaluation counted them
        self.thinning = Thinning(self.layers, graph, config, self.schedule)
        self.held = False  # whether the newest epoch's end removed nothing: enough is gone, or accuracy too low
        self._hearing = Hearing(self.layers, config.listen_every)
        self._memory = [Memory(layer, self.schedule.initial_percent(layer.kind)) for layer in self.layers]
        if config.has("B6") and any(s.normalised for layer in self.layers for s in layer.synapses):
            raise FileError("defect B6 (part of mode literal) lets absent weights learn; needs weight_norm = false")
        for layer in self.layers:
            layer.gates_close = not config.has("B7")
            for synapse in layer.synapses:
                synapse.hook.soft = config.has("B6")
        self._listen()

    @classmethod
    def of_chain(cls, blocks: Iterable[torch.nn.Module], config: DevelopmentConfig, n_epochs: int) -> Developer:
        """Attach masks to blocks that feed one another in the given order."""
        layers = attach_masks(blocks)
        return cls(layers, LayerGraph.of_chain(len(layers)), config, n_epochs)

    @classmethod
    def of_model(cls, model: torch.nn.Module, sample: Tensor, config: DevelopmentConfig, n_epochs: int) -> Developer:
        """Attach masks to a model of any shape; `sample` (batch, *shape, steps) shows which layer feeds which."""
        layers = attach_masks(model)
        return cls(layers, trace_graph(model, layers, sample), config, n_epochs)

    def develops(self, index: int) -> bool:
        """Return whether ranges, unit pruning and regeneration act on a layer."""
        first = not self.graph.predecessors[index]
        last = index in self.graph.outputs
        protected = (first and self.config.first_protected) or (last and self.config.protect_last)
        return self.layers[index].spikes and not protected

    def settled(self, epoch: int) -> bool:
        """Return whether the structure hardly changes any more after `epoch`."""
        return epoch >= self.schedule.settled_from

    def after_step(self) -> None:
        """Let absent synapses hear the next batch if it is one they listen to; masks hold in the forward pass."""
        self._hearing.after_batch()

    def after_epoch(
        self, epoch: int, optimiser: torch.optim.Optimizer | None = None, accuracy: float | None = None
    ) -> list[dict[str, Any]]:
        """Develop after training `epoch` (from 0) and before evaluating it; return one record per layer.

        optimiser: its moments of pruned and regrown synapses are zeroed; None where there are none. accuracy: the
        newest validation accuracy, for max_accuracy_drop. Order: ranges, clamp, regeneration, unit pruning, gates and
        moments, rate, then the synapse stage. Where a stop criterion holds or accuracy is too low, nothing is removed
        and rates stay.
        """
        counts = [{"pruned": 0, "regrown": 0} for _ in self.layers]
        enough = goals.any_set(self.config) and goals.met(self.config, self.measures())
        self.held = enough or goals.too_inaccurate(self.config, accuracy, self.thinning.best_accuracy)
        with torch.no_grad():
            for index in range(len(self.layers)):
                if self.develops(index):
                    self._follow_ranges(index, epoch)
            if self.schedule.prunes(epoch):
                for index in range(len(self.layers)):
                    if self.develops(index):
                        counts[index]["regrown"] = self._regenerate(index, epoch, optimiser)
                        if not self.held:
                            counts[index]["pruned"] = self._prune(index, optimiser)
                        if self.config.has("B6"):  # what absent weights learned goes, epoch by epoch
                            self.layers[index].set_masks([s.mask for s in self.layers[index].synapses], optimiser)
                if not self.held:
                    self._advance_rates(epoch)
            if self.schedule.synapse_phase(epoch) is not None:
                for count, (silent, grown) in zip(counts, self.thinning.step(optimiser, self.held), strict=True):
                    count["pruned"] += silent
                    count["regrown"] += grown
                for layer, memory in zip(self.layers, self._memory, strict=True):
                    memory.history |= ~layer.unit_gate
            self.thinning.note(accuracy)
            for layer in self.layers:
                for synapse in layer.synapses:
                    synapse.hook.absent_gradient.zero_()
            self.next_epoch = epoch + 1
            self._listen()
            return [self._record(index, epoch, counts[index]) for index in range(len(self.layers))]

    def connection_sparsity(self) -> float:
        """Return the share of synapses that are absent, by mask or by quantising to zero, over all layers."""
        return self.measures().sparsity

    def measures(self) -> goals.Measures:
        """Return what the network costs now; operations are those of the newest evaluation."""
        synapses = [synapse for layer in self.layers for synapse in layer.synapses]
        present = [int(synapse.present.sum()) for synapse in synapses]
        total = [synapse.mask.numel() for synapse in synapses]
        return goals.Measures(1 - sum(present) / sum(total), synapse_memory(present, total), self.operations)

    # -- the steps of an epoch ----------------------------------------------------------------------------------------

    def _follow_ranges(self, index: int, epoch: int) -> None:
        layer, memory = self.layers[index], self._memory[index]
        if not memory.ranges:
            memory.ranges = [
                ranges.init_ranges(s.weight * s.mask, quantile=self.config.range_quantile, signed=self.config.has("B2"))
                for s in layer.synapses
            ]
        elif not self.config.has("B1") or index == self._last_developing():
            # A learning rate near its end lets weights creep one way for many epochs: habits, but not of a useful size.
            fade = 0.0 if self.config.mode == "literal" else self.config.fade
            rule = {"shrink": self.config.shrink, "fade": fade}
            memory.ranges = [
                ranges.update_ranges(state, synapse.weight * synapse.mask, self.schedule.persistence, **rule)
                for state, synapse in zip(memory.ranges, layer.synapses, strict=True)
            ]
        if self.config.constraint and self.schedule.clamps(epoch):
            for state, synapse in zip(memory.ranges, layer.synapses, strict=True):
                synapse.set_weight(ranges.clamp(synapse.weight, state))

    def _last_developing(self) -> int:
        """Return the layer whose ranges move in the released code: the last prunable one (B1)."""
        return max(index for index in range(len(self.layers)) if self.develops(index))

    def _regenerate(self, index: int, epoch: int, optimiser: torch.optim.Optimizer | None) -> int:
        if not self._regenerates(index, epoch):
            return 0
        layer, memory, config = self.layers[index], self._memory[index], self.config
        percent = self.schedule.regeneration_percent(epoch, layer.kind)
        # B12: the released code asks for more than T counts here and for T in the range rule.
        persistence = self.schedule.persistence + int(config.has("B12"))
        masks = []
        for place, synapse in enumerate(layer.synapses):
            value = synapse.hook.absent_gradient
            if config.has("B5"):
                value = synapse.weight if config.has("B4") else synapse.weight.abs()
            value = regeneration.grouped(value, synapse.kernelwise)
            absent = regeneration.absent_groups(synapse.mask, synapse.kernelwise)
            if config.has("B11") or config.has("B5"):
                hits = regeneration.percentile_hits(value, absent, percent, among_absent=not config.has("B11"))
            else:
                hits = regeneration.gradient_hits(value, absent, percent)
            state = regeneration.update_persistence(memory.regeneration[place], hits)
            budget = None if config.has("B11") else max(1, int(config.regeneration_cap * absent.numel()))
            chosen = regeneration.choose_groups(state, value, persistence, budget)
            memory.regeneration[place] = regeneration.forget(state, chosen)
            masks.append(synapse.mask | chosen.expand_as(synapse.mask))
        regrown = sum(int((m & ~s.mask).sum()) for m, s in zip(masks, layer.synapses, strict=True))
        if regrown:
            layer.set_masks(masks, optimiser)
        return regrown

    def _regenerates(self, index: int, epoch: int) -> bool:
        """Return whether regeneration acts after `epoch`; once the synapse stage has begun, its budget decides."""
        staged = self.config.synapse_stage and epoch >= self.schedule.synapse_first
        return self.config.regeneration and not staged and self.develops(index) and self.schedule.prunes(epoch)

    def _prune(self, index: int, optimiser: torch.optim.Optimizer | None) -> int:
        layer, memory, config = self.layers[index], self._memory[index], self.config
        if not config.pruning:
            return 0
        sizes = [ranges.spine_size(state) for state in memory.ranges]
        masks = [synapse.mask for synapse in layer.synapses]
        weights = [synapse.weight for synapse in layer.synapses]
        ties = None if config.has("B1") else pruning.unit_magnitudes(weights, masks)
        order = pruning.pruning_order(pruning.unit_scores(sizes, masks), ties)
        careful = not config.has("B9")
        chosen = pruning.choose_units(
            order,
            memory.history,
            self.alive(index),
            memory.percent,
            max_step=config.max_step if careful else 1.0,
            min_kept=config.min_kept if careful else 0.0,
        )
        memory.history |= chosen
        if bool(chosen.any()):
            layer.set_masks([pruning.remove_units(mask, chosen) for mask in masks], optimiser)
        return int(chosen.sum())

    def _advance_rates(self, epoch: int) -> None:
        alive = [int(self.alive(index).sum()) for index in range(len(self.layers))]
        for index, layer in enumerate(self.layers):
            if not (self.config.pruning and self.develops(index)):
                continue
            memory, rate = self._memory[index], self.schedule.rate(epoch, layer.kind)
            behind = sum(alive[target] for target in self.graph.successors[index])
            here = alive[index]
            if self.config.has("B9") and layer.kind == "conv":  # by the test of this layer's rule, not of their own
                behind = sum(int(self.alive(target, 20).sum()) for target in self.graph.successors[index])
            if self.config.has("B9") and layer.kind == "dense":
                here, behind = 512 - (layer.n_units - here), 10  # the script's widths
            if not self.config.adaptive_pruning_rate:
                here = behind = 1
            memory.percent = pruning.next_percent(memory.percent, rate, here, behind)

    def alive(self, index: int, least: int | None = None) -> Tensor:
        """Return (units,) bool: units with enough incoming synapses left; `least` under B9 (None: by the layer)."""
        layer, config = self.layers[index], self.config
        conv = layer.kind == "conv"
        if config.has("B9"):
            masks = [synapse.mask for synapse in layer.synapses]
            return pruning.alive_units(masks, 0.0, least=least or (20 if conv else 50))
        fraction = config.alive_fraction_conv if conv else config.alive_fraction_dense
        return pruning.alive_units([s.present for s in layer.synapses], fraction)

    # -- records and state --------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Let absent synapses be listened to where the coming epoch's end will ask for their gradients."""
        phase = self.schedule.synapse_phase(self.next_epoch)
        staged = phase is not None and self.config.synapse_turnover > 0
        grows = [
            staged or (self._regenerates(index, self.next_epoch) and not self.config.has("B5"))
            for index in range(len(self.layers))
        ]
        self._hearing.begin([layer for layer, may in zip(self.layers, grows, strict=True) if may])

    def _record(self, index: int, epoch: int, counts: Mapping[str, int]) -> dict[str, Any]:
        layer, memory = self.layers[index], self._memory[index]
        record = {**structure_of(layer, self.alive(index)), **counts}
        if self.develops(index):
            record["pruning_percent"] = memory.percent
            if self._regenerates(index, epoch):
                record["regeneration_percent"] = self.schedule.regeneration_percent(epoch, layer.kind)
            record["range_quantiles"] = range_quantiles(memory.ranges)
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return everything but masks and gates, which the model's state_dict holds: tensors and plain values."""
        return {
            "next_epoch": self.next_epoch,
            "operations": self.operations,
            "thinning": self.thinning.state_dict(),
            "layers": [memory.state_dict() for memory in self._memory],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a saved state; load the model's state first. Raises FileError for that of another model."""
        names = [layer.name for layer in self.layers]
        saved = [entry["name"] for entry in state["layers"]]
        shapes = [tuple(entry["history"].shape) for entry in state["layers"]]
        if saved != names or shapes != [(layer.n_units,) for layer in self.layers]:
            raise FileError(f"development state: is of layers {', '.join(saved)}, the model has {', '.join(names)}")
        self.next_epoch = int(state["next_epoch"])
        self.operations = state.get("operations")
        self.thinning.load_state_dict(state["thinning"])
        for layer, memory, entry in zip(self.layers, self._memory, state["layers"], strict=True):
            memory.load_state_dict(entry)
            for synapse in layer.synapses:
                synapse.hook.absent_gradient.zero_()
        self._listen()
