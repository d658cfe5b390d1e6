"""A run from its configuration to its result: epochs, checkpoints, history, logs, and the test split at the end."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, final

from sdsnn_core.files import write_json, write_text

from ..slayer.evaluate import Evaluation, evaluate
from .build import group_of, trainer_for
from .checkpoint import check_config, load_checkpoint, load_newest, previous, save_checkpoint
from .config import RunConfig
from .logs import Logs
from .processes import ProcessGroup
from .run_folder import RunFolder
from .trained import SplitFigures, record_test
from .trainer import Callback, NoProgress, Progress, Trainer


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
    group = group or group_of(config)
    with ExitStack() as lock:
        group.from_rank_0(lambda: lock.enter_context(folder.locked()))
        return _train(config, folder, resume, progress or NoProgress(), group)


def _train(config: RunConfig, folder: RunFolder, resume: bool, progress: Progress, group: ProcessGroup) -> TrainResult:
    """Train in a folder that this process holds."""
    trainer = trainer_for(config, group)

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
            group.from_rank_0(functools.partial(_keep, trainer, config, folder, line, better, [logs]))
            progress.epoch(line)
    state = group.from_rank_0(lambda: load_checkpoint(folder.best_file))
    check_config(state, config)
    trainer.load_state(state)
    test = evaluate(trainer.model, trainer.data.test, trainer.loss, group=group)
    trainer.model.to("cpu")  # where lowering and export take it
    epoch = int(state["best"]["epoch"])
    group.from_rank_0(lambda: record_test(folder, epoch, SplitFigures.of(test)))
    return TrainResult(trainer, folder, epoch, float(state["best"]["score"][1]), test)


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
