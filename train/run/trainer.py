"""Training: epochs of gradient descent, each followed by one step of structural development."""

from __future__ import annotations

import functools
import hashlib
import math
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import torch

from sdsnn_core.files import write_json, write_text

from ..data.load import DataSet, load_data
from ..data.prefetch import Prefetcher
from ..development.literal import developer_for
from ..slayer.evaluate import Evaluation, evaluate, to_slayer
from ..slayer.losses import Loss, build_loss
from ..slayer.models import cast_before_neurons
from ..slayer.operations import synaptic_operations
from .checkpoint import load_checkpoint, load_newest, previous, restore, save_checkpoint
from .config import RunConfig
from .logs import Logs
from .optimiser import adam
from .processes import ProcessGroup, init_process_group
from .run_folder import RunFolder
from .step import Part, Stepper
from .trained import SplitFigures, build_network, record_test


class Progress(Protocol):
    """What a training loop reports to."""

    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
        """Report a finished batch."""
        return None

    def epoch(self, line: dict[str, Any]) -> None:
        """Report a finished epoch; `line` is its line of the history."""
        return None


class NoProgress(Progress):
    """A progress that shows nothing."""


STATES = ("spike_state", "current_state", "voltage_state")  # buffers of SLAYER's blocks


class Trainer:
    """One run: model, optimiser, development and the number of epochs done; one object per process of a group."""

    def __init__(self, config: RunConfig, group: ProcessGroup | None = None) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.group = group or ProcessGroup()
        self.data: DataSet = self.group.local_rank_0_first(lambda: load_data(config.data, config.seed))
        torch.manual_seed(config.seed)
        self.model = build_network(config, self.data.format)
        settings = config.optimiser
        if config.hardware.precision != "32-true":
            cast_before_neurons(self.model)
        self.model.to(self.group.device)
        self.optimiser = adam(self.model.parameters(), settings)
        self.loss: Loss = build_loss(settings, self.group.device)
        sample = torch.zeros(1, *self.data.shape, 1, device=self.group.device)
        self.developer = developer_for(self.model, sample, settings.epochs, config.development)
        self.stepper = Stepper(self.model, self.optimiser, self.loss, self.developer, config, self.group)
        self.accuracy: float | None = None  # on validation, of the newest epoch
        self.epochs_done = 0
        self.best: dict[str, Any] = {}

    def learning_rate(self, epoch: int) -> float:
        """Return the schedule's value in `epoch`: a linear rise over the warm-up, then half a cosine."""
        settings = self.config.optimiser
        if epoch < settings.warmup_epochs:
            return settings.learning_rate * (epoch + 1) / (settings.warmup_epochs + 1)
        left = max(settings.epochs - settings.warmup_epochs, 1)
        phase = (1 + math.cos(math.pi * (epoch - settings.warmup_epochs) / left)) / 2
        return settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * phase

    def run_epoch(self, progress: Progress) -> dict[str, Any]:
        """Train one epoch, develop the structure, evaluate on the validation split; return the history line."""
        epoch, started = self.epochs_done, time.perf_counter()
        size = self.config.optimiser.batch_size
        # Everything random in an epoch depends on (seed, epoch) alone, so that a resumed run repeats it exactly.
        rng = np.random.default_rng([self.config.seed, epoch])
        order = rng.permutation(len(self.data.train))
        rate = self.learning_rate(epoch)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        self.model.train()
        n_batches = math.ceil(len(order) / size)
        batches = [np.sort(order[batch * size : (batch + 1) * size]) for batch in range(n_batches)]
        sums = torch.zeros(2, n_batches, dtype=torch.float64)  # loss and right answers of every batch

        def prepare(batch: int) -> tuple[list[Part], list[list[int]]]:
            parts, seeds = [], []
            for number, samples in self.stepper.own_parts(len(batches[batch])):
                chosen = batches[batch][samples]
                seed = [self.config.seed, epoch, batch, *([number] if number else [])]
                spikes = to_slayer(self.data.training_spikes(chosen, np.random.default_rng(seed)))
                parts.append((spikes, torch.from_numpy(self.data.train.labels[chosen])))
                seeds.append(seed)
            return parts, seeds

        prepared = Prefetcher(prepare, n_batches, self.config.data.workers)
        for batch, (parts, seeds) in enumerate(prepared):
            sums[0, batch], sums[1, batch] = self.stepper.step(parts, len(batches[batch]), seeds)
            n_samples = sum(len(labels) for _, labels in parts)  # on this rank
            progress.batch(epoch, batch, n_batches, float(sums[0, batch]) / max(n_samples, 1))
        self.group.all_reduce([sums])
        total, right = sum(sums[0].tolist()), int(sums[1].sum())
        trained = time.perf_counter() - started
        layers = self.developer.epoch_end(self.optimiser, self.accuracy)
        self.epochs_done = epoch + 1
        self.group.check_equal(self.digest(), f"weights and structure in epoch {epoch}")
        result = evaluate(self.model, self.data.validation, self.loss, group=self.group)
        self.accuracy = result.accuracy
        operations = synaptic_operations(list(self.model.blocks), self.developer.layers, result.sent)
        self.developer.operations = sum(operations)
        metrics = self.developer.metrics()
        return {
            "epoch": epoch,
            "loss": total / len(order),
            "train_accuracy": right / len(order),
            "validation_loss": result.loss,
            "validation_accuracy": result.accuracy,
            "spike_rates": result.rates,
            "learning_rate": rate,
            "synaptic_operations": operations,
            "connection_sparsity": metrics.sparsity,
            "synapse_memory": metrics.memory,
            "held": self.developer.held,
            "settled": self.developer.settled(epoch),
            "layers": layers,
            "seconds": time.perf_counter() - started,
            "waiting": prepared.waited / max(trained, 1e-9),
        }

    def digest(self) -> str:
        """Return a hash of weights, masks and running means; empty in a group of one."""
        if self.group.world_size == 1:
            return ""
        digest = hashlib.sha256()
        for name, value in _without_state(self.model.state_dict()).items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def stops(self) -> bool:
        """Return True once all epochs are done, or `patience` of them without a better one."""
        settings, last = self.config.optimiser, self.epochs_done - 1
        if self.epochs_done >= settings.epochs:
            return True
        if settings.patience is None or last < 0 or not self.developer.settled(last):
            return False
        return bool(last - self.best["epoch"] >= settings.patience)

    def score(self, line: dict[str, Any]) -> list[float]:
        """Return what validation compares, the most important first: a settled structure, accuracy, loss."""
        return [int(line["settled"]), line["validation_accuracy"], -line["validation_loss"]]

    def state(self) -> dict[str, Any]:
        """Return all that the remaining epochs depend on, as tensors and plain values."""
        return {
            "format": 1,
            "epochs_done": self.epochs_done,
            "config": self.config.to_toml(),
            "model": _without_state(self.model.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "developer": self.developer.state_dict(),
            "accuracy": self.accuracy,
            "best": self.best,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a saved state. Raises ConfigError if it belongs to another configuration."""
        for module in self.model.modules():  # a recurrent block keeps the last batch; a checkpoint holds one sample
            for name in STATES:
                if isinstance(kept := getattr(module, name, None), torch.Tensor):
                    setattr(module, name, torch.zeros_like(kept[:1]))
        restore(state, self.config, model=self.model, optimiser=self.optimiser, developer=self.developer)
        self.accuracy = state["accuracy"]
        self.epochs_done = int(state["epochs_done"])
        self.best = dict(state["best"])


def _without_state(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return a state_dict with the neurons at rest and for one sample, as in a model that is newly built.

    Recurrent blocks keep the last batch in buffers; it is put to rest before every batch and belongs to no result.
    """
    return {
        name: torch.zeros_like(value[:1]) if name.rpartition(".")[2] in STATES else value
        for name, value in tensors.items()
    }


@final
@dataclass(frozen=True, eq=False)
class TrainResult:
    """The chosen epoch and the evaluation of its model on the test split, which no earlier step reads."""

    trainer: Trainer
    folder: RunFolder
    best_epoch: int
    validation_accuracy: float
    test: Evaluation


def train(
    config: RunConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    group: ProcessGroup | None = None,
) -> TrainResult:
    """Train to the end and return the checkpoint that validation chose, evaluated on the test split.

    After every epoch the history grows by a line and checkpoint.pt is replaced; interrupted at any moment, the run
    goes on with resume=True from its last complete epoch to the same result. group: from `init_process_group`, which is
    called if there is none; its rank 0 alone reads and writes the folder.
    """
    group = group or init_process_group(config.hardware)
    with ExitStack() as lock:
        group.from_rank_0(lambda: lock.enter_context(folder.locked()))
        return _train(config, folder, resume, progress or NoProgress(), group)


def _train(config: RunConfig, folder: RunFolder, resume: bool, progress: Progress, group: ProcessGroup) -> TrainResult:
    """Train in a folder that this process holds."""
    trainer = Trainer(config, group)

    def begin() -> dict[str, Any] | None:
        if resume:
            folder.remove_leftovers()
            if folder.checkpoint_file.exists() or previous(folder.checkpoint_file).exists():
                return load_newest(folder.checkpoint_file)
        else:
            write_text(folder.config_file, config.to_toml())  # another process may have written its own
        write_json(folder.data_file, trainer.data.format._asdict())
        save_checkpoint(folder.checkpoint_file, trainer.state())
        return None

    state = group.from_rank_0(begin)
    if state is not None:
        trainer.load_state(state)
        group.from_rank_0(lambda: folder.cut_history(trainer.epochs_done))
        for line in group.from_rank_0(folder.history):
            progress.epoch(line)
    with closing(Logs(config.log, folder, trainer.epochs_done, writes=group.rank == 0)) as logs:
        while not trainer.stops():
            line = trainer.run_epoch(progress)
            score = trainer.score(line)
            better = not trainer.best or score >= trainer.best["score"]
            if better:
                trainer.best = {"epoch": line["epoch"], "score": score}
            group.from_rank_0(functools.partial(_keep, trainer, folder, line, better, logs))
            progress.epoch(line)
    state = group.from_rank_0(lambda: load_checkpoint(folder.best_file))
    trainer.load_state(state)
    test = evaluate(trainer.model, trainer.data.test, trainer.loss, group=group)
    trainer.model.to("cpu")  # where lowering and export take it
    epoch = int(state["best"]["epoch"])
    group.from_rank_0(lambda: record_test(folder, epoch, SplitFigures.of(test)))
    return TrainResult(trainer, folder, epoch, float(state["best"]["score"][1]), test)


def _keep(trainer: Trainer, folder: RunFolder, line: dict[str, Any], better: bool, logs: Logs) -> None:
    """Write checkpoints, history and logs of an epoch."""
    if better:
        save_checkpoint(folder.best_file, trainer.state())
    folder.append_history(line)
    save_checkpoint(folder.checkpoint_file, trainer.state())
    logs.epoch(line)
