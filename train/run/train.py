"""A run from its configuration to its result: epochs, checkpoints, history, logs, and the test split at the end."""

import functools
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from sdsnn_core.files import write_json, write_text

from ..slayer.evaluate import Evaluation
from .checkpoint import best_of, check_config, load_checkpoint, load_newest, previous, save_checkpoint
from .config import RunConfig
from .logs import Logs
from .parts.build import group_of, trainer_for
from .parts.own import NOTHING, Own
from .parts.warm_start import Init
from .processes import ProcessGroup
from .run_folder import RunFolder
from .trained import SplitFigures, record_test
from .trainer import Callback, NoProgress, Progress, Trainer, like_accuracy


class Initial(NamedTuple):
    """How the weights that a run began with do, before its first epoch.

    Attributes:
        source: where they come from.
        validation: main metric on validation, from which `max_accuracy_drop` counts.
        test: main metric on the test split.
    """

    source: str
    validation: float
    test: float


@final
@dataclass(frozen=True, eq=False)
class TrainResult:
    """The chosen epoch and the evaluation of its model on the test split, which no earlier step reads.

    Attributes:
        trainer: of the run, with the chosen model.
        folder: of the run.
        best_epoch: the chosen epoch, from 0.
        validation: its main metric on validation.
        test: its evaluation on the test split.
        initial: how the weights of --init do; None for a run with random ones.
    """

    trainer: Trainer
    folder: RunFolder
    best_epoch: int
    validation: float
    test: Evaluation
    initial: Initial | None = None

    @property
    def validation_accuracy(self) -> float:
        """The main metric of the chosen epoch on validation."""
        return self.validation


def train(
    config: RunConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    group: ProcessGroup | None = None,
    own: Own = NOTHING,
) -> TrainResult:
    """Train to the end and return the checkpoint that validation chose, evaluated on the test split.

    After every epoch the history grows by a line and checkpoint.pt is replaced; interrupted at any moment, the run
    goes on with resume=True from its last complete epoch to the same result. group: from `init_process_group`, which is
    called if there is none; its rank 0 alone reads and writes the folder. own: what the caller brings; a resumed run
    needs the same parts again.

    Raises:
        UnsupportedNode: lowering would refuse the model, and `own.train_only` is not set; no epoch has run then.
    """
    group = group or group_of(config)
    with ExitStack() as lock:
        group.from_rank_0(lambda: lock.enter_context(folder.locked()))
        return _train(config, folder, resume, progress or NoProgress(), group, own)


def _train(
    config: RunConfig, folder: RunFolder, resume: bool, progress: Progress, group: ProcessGroup, own: Own
) -> TrainResult:
    """Train in a folder that this process holds."""
    init = own.init
    if resume and (network := group.from_rank_0(folder.initial_network)) is not None:
        init = Init(str(folder.path), network=network)
    trainer = trainer_for(config, group, own.parts, init, lowers=not own.train_only, chip_cost=own.chip_cost)

    def begin() -> dict[str, Any] | None:
        if resume:
            folder.remove_leftovers()
            if folder.checkpoint_file.exists() or previous(folder.checkpoint_file).exists():
                return load_newest(folder.checkpoint_file)
        else:
            write_text(folder.config_file, config.to_toml())  # another process may have written its own
        write_json(folder.data_file, trainer.data.format._asdict())
        save_checkpoint(folder.checkpoint_file, snapshot(trainer, config))
        return None

    if own.init is not None and not resume:
        measure_initial(trainer, folder, own.init)
    state = group.from_rank_0(begin)
    if state is not None:
        check_config(state, config)
        trainer.load_state(state)
        group.from_rank_0(lambda: folder.cut_history(trainer.epochs_done))
        for line in group.from_rank_0(folder.history):
            progress.epoch(line)
    with closing(Logs(folder, trainer.epochs_done, **config.log.model_dump(), writes=group.rank == 0)) as logs:
        while not trainer.stops():
            line = trainer.run_epoch(progress)
            score = trainer.score(line)
            better = not trainer.best or score >= trainer.best["score"]
            if better:
                trainer.best = {"epoch": line["epoch"], "score": score}
            group.from_rank_0(functools.partial(_keep, trainer, config, folder, line, better, [logs, *own.callbacks]))
            progress.epoch(line)
    state = group.from_rank_0(lambda: load_checkpoint(folder.best_file))
    check_config(state, config)
    trainer.load_state(state)
    test = trainer.evaluate(trainer.data.test)
    trainer.model.to("cpu")  # where lowering and export take it
    epoch, chosen = best_of(state)
    group.from_rank_0(lambda: record_test(folder, epoch, SplitFigures.of(test)))
    initial = group.from_rank_0(lambda: folder.read_json(folder.init_file))
    validation = trainer.task.signed(chosen)
    return TrainResult(trainer, folder, epoch, validation, test, None if initial is None else Initial(**initial))


def measure_initial(trainer: Trainer, folder: RunFolder, init: Init) -> None:
    """Evaluate the weights that a run begins with, write the figures, and let accuracy count from them."""
    validation = trainer.evaluate(trainer.data.validation)
    initial = Initial(init.source, validation.main, trainer.evaluate(trainer.data.test).main)
    trainer.accuracy = like_accuracy(validation)
    trainer.developer.begin_trained(trainer.accuracy or 0.0)

    def keep() -> None:
        write_json(folder.init_file, initial._asdict())
        if init.network is not None:
            folder.keep_initial_network(init.network)

    trainer.group.from_rank_0(keep)


def snapshot(trainer: Trainer, config: RunConfig) -> dict[str, Any]:
    """Return the content of a checkpoint: the state of a trainer and its configuration."""
    return {**trainer.state(), "config": config.to_toml()}


def _keep(
    trainer: Trainer,
    config: RunConfig,
    folder: RunFolder,
    line: dict[str, Any],
    better: bool,
    callbacks: Sequence[Callback],
) -> None:
    """Write checkpoints and history of an epoch, then call the callbacks."""
    state = snapshot(trainer, config)
    if better:
        save_checkpoint(folder.best_file, state)
    folder.append_history(line)
    save_checkpoint(folder.checkpoint_file, state)
    for callback in callbacks:
        callback.on_epoch_end(line)
