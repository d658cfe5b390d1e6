"""Training: epochs of gradient descent, each followed by one step of structural development."""

import hashlib
import math
import time
from typing import Any, Protocol

import numpy as np
import torch

from sdsnn_core.errors import FileError
from sdsnn_core.tasks.task import LABEL

from ..data.load import DataSet, Split
from ..data.prefetch import Prefetcher
from ..development.developer import Developer
from ..slayer.evaluate import Evaluation, as_targets, evaluate, to_slayer
from ..slayer.operations import synaptic_operations
from .checkpoint import restore
from .parts.loop import Loop, Scheduler
from .processes import ProcessGroup
from .step import Goal, Part, Stepper


class Progress(Protocol):
    """What a training loop reports to."""

    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
        """Report a finished batch."""
        return None

    def epoch(self, line: dict[str, Any]) -> None:
        """Report a finished epoch; `line` is its line of the history."""
        return None


class Callback(Protocol):
    """What a run calls in its rank 0."""

    def on_epoch_end(self, line: dict[str, Any]) -> None:
        """Take the history line of a finished epoch, after its checkpoint is written."""
        ...


class NoProgress(Progress):
    """A progress that shows nothing."""


STATES = ("spike_state", "current_state", "voltage_state")  # buffers of SLAYER's blocks


class Trainer:
    """One run: model, optimiser, development and the number of epochs done; one object per process of a group.

    Args:
        model: the network, on the device of the group.
        data: what it learns, in three splits.
        loop: length and portions of the run.
        goal: what is minimised, and what the output is read as.
        optimiser: of the model's parameters.
        scheduler: sets the learning rates before each epoch; None leaves them.
        developer: of the model.
        group: the processes that train together; None for this one alone.

    Attributes:
        accuracy: on validation, of the newest epoch.
        epochs_done: number of epochs that have ended.
        best: epoch and score that validation chose so far; empty before the first epoch.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: DataSet,
        loop: Loop,
        *,
        goal: Goal,
        optimiser: torch.optim.Optimizer,
        developer: Developer,
        scheduler: Scheduler | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.model, self.data, self.loop = model, data, loop
        self.loss, self.task, self.teacher = goal
        self.optimiser, self.scheduler = optimiser, scheduler
        self.developer = developer
        self.group = group or ProcessGroup()
        self.stepper = Stepper(
            model, optimiser, goal, developer, self.group, accumulate=loop.accumulate, clip=loop.clip
        )
        self.accuracy: float | None = None
        self.epochs_done = 0
        self.best: dict[str, Any] = {}

    def run_epoch(self, progress: Progress) -> dict[str, Any]:
        """Train one epoch, develop the structure, evaluate on the validation split; return the history line."""
        epoch, started = self.epochs_done, time.perf_counter()
        size, seed = self.loop.batch_size, self.loop.seed
        # Everything random in an epoch depends on (seed, epoch) alone, so that a resumed run repeats it exactly.
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self.data.train))
        if self.scheduler is not None:
            self.scheduler.begin_epoch(epoch)
        rate = self.optimiser.param_groups[0]["lr"]
        self.model.train()
        n_batches = math.ceil(len(order) / size)
        batches = [np.sort(order[batch * size : (batch + 1) * size]) for batch in range(n_batches)]
        sums = torch.zeros(3, n_batches, dtype=torch.float64)  # loss, right answers and all answers of every batch

        def prepare(batch: int) -> tuple[list[Part], list[list[int]]]:
            parts, seeds = [], []
            for number, samples in self.stepper.own_parts(len(batches[batch])):
                chosen = batches[batch][samples]
                own_seed = [seed, epoch, batch, *([number] if number else [])]
                spikes = to_slayer(self.data.training_spikes(chosen, np.random.default_rng(own_seed)))
                parts.append((spikes, as_targets(self.data.train.labels[chosen])))
                seeds.append(own_seed)
            return parts, seeds

        prepared = Prefetcher(prepare, n_batches, self.loop.workers)
        for batch, (parts, seeds) in enumerate(prepared):
            sums[:, batch] = torch.tensor(self.stepper.step(parts, len(batches[batch]), seeds), dtype=torch.float64)
            n_samples = sum(len(labels) for _, labels in parts)  # on this rank
            progress.batch(epoch, batch, n_batches, float(sums[0, batch]) / max(n_samples, 1))
        self.group.all_reduce([sums])
        total, right, answers = sum(sums[0].tolist()), int(sums[1].sum()), int(sums[2].sum())
        trained = time.perf_counter() - started
        self.group.all_reduce([meter.sums for meter in self.developer.meters])
        layers = self.developer.epoch_end(self.optimiser, self.accuracy)
        self.epochs_done = epoch + 1
        self.group.check_equal(self.digest(), f"weights and structure in epoch {epoch}")
        result = self.evaluate(self.data.validation)
        self.accuracy = like_accuracy(result)
        operations = synaptic_operations(result.graph, self.developer.layers, result.sent)
        self.developer.operations = sum(operations)
        self.developer.trend.loss = result.loss
        metrics = self.developer.metrics()
        return {
            "epoch": epoch,
            "loss": total / len(order),
            **({"train_accuracy": right / answers} if answers else {}),
            "validation_loss": result.loss,
            **({"validation_accuracy": result.accuracy} if self.task.classifies else {}),
            **({} if self.task == LABEL else {"task": self.task.kind, "validation": result.scores}),
            "silent": result.silent,
            "spike_rates": result.rates,
            "learning_rate": rate,
            "synaptic_operations": operations,
            "connection_sparsity": metrics.sparsity,
            "synapse_memory": metrics.memory,
            **({} if metrics.chip is None else {"chip": metrics.chip.as_dict()}),
            "held": self.developer.held,
            "settled": self.developer.settled(epoch),
            "layers": layers,
            "seconds": time.perf_counter() - started,
            "waiting": prepared.waited / max(trained, 1e-9),
        }

    def evaluate(self, split: Split) -> Evaluation:
        """Evaluate the model on a split, shared by all processes."""
        return evaluate(self.model, split, self.loss, group=self.group, task=self.task)

    def digest(self) -> str:
        """Return a hash of weights, masks and running means; empty in a group of one."""
        return "" if self.group.world_size == 1 else weights_digest(self.model)

    def stops(self) -> bool:
        """Return True once all epochs are done, or `patience` of them without a better one."""
        last, patience = self.epochs_done - 1, self.loop.patience
        if self.epochs_done >= self.loop.epochs:
            return True
        if patience is None or last < 0 or not self.developer.settled(last):
            return False
        return bool(last - self.best["epoch"] >= patience)

    def score(self, line: dict[str, Any]) -> list[float]:
        """Return what validation compares, the most important first: a settled structure, the main metric, loss."""
        main = line["validation_accuracy"] if self.task == LABEL else next(iter(line["validation"].values()))
        return [int(line["settled"]), self.task.signed(main), -line["validation_loss"]]

    def state(self) -> dict[str, Any]:
        """Return all that the remaining epochs depend on, as tensors and plain values."""
        own_scheduler = {} if self.scheduler is None else self.scheduler.state_dict()
        return {
            "format": 1,
            "epochs_done": self.epochs_done,
            "model": _without_state(self.model.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "developer": self.developer.state_dict(),
            "accuracy": self.accuracy,
            "best": self.best,
            **({"scheduler": own_scheduler} if own_scheduler else {}),
            **({"teacher": self.teacher.digest} if self.teacher is not None else {}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a saved state. Raises FileError if it does not fit the parts of this run."""
        if state.get("teacher") != (None if self.teacher is None else self.teacher.digest):
            raise FileError("optimiser.teacher: expected the weights that this run began with, got others")
        for module in self.model.modules():  # a recurrent block keeps the last batch; a checkpoint holds one sample
            for name in STATES:
                if isinstance(kept := getattr(module, name, None), torch.Tensor):
                    setattr(module, name, torch.zeros_like(kept[:1]))
        parts: dict[str, Any] = {"model": self.model, "optimiser": self.optimiser, "developer": self.developer}
        if "scheduler" in state and self.scheduler is not None:
            parts["scheduler"] = self.scheduler
        restore(state, **parts)
        self.accuracy = state["accuracy"]
        self.epochs_done = int(state["epochs_done"])
        self.best = dict(state["best"])


def like_accuracy(result: Evaluation) -> float | None:
    """Return the main metric where 1 is best, as `max_accuracy_drop` compares it; R2 for task values."""
    if result.task.higher_is_better:
        return result.main
    return result.scores.get("r2")


def weights_digest(model: torch.nn.Module) -> str:
    """Return a SHA-256 of the weights, masks and running means of a model."""
    digest = hashlib.sha256()
    for name, value in _without_state(model.state_dict()).items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def _without_state(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return a state_dict with the neurons at rest and for one sample, as in a model that is newly built.

    Recurrent blocks keep the last batch in buffers; it is put to rest before every batch and belongs to no result.
    """
    return {
        name: torch.zeros_like(value[:1]) if name.rpartition(".")[2] in STATES else value
        for name, value in tensors.items()
    }
