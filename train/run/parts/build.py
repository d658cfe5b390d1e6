"""The parts of a run, as its configuration describes them or as the user brings them."""

from collections.abc import Callable
from typing import Any

import torch

from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Network

from ...data.load import DataSet, load_data
from ...development.literal import developer_for
from ...slayer.lowering import lowering_problems
from ...slayer.models import cast_before_neurons
from ...slayer.tracing import random_example
from ..config import RunConfig
from ..processes import ProcessGroup, init_process_group
from ..step import Goal
from ..trainer import Trainer
from .chip import chip_target
from .loop import Cosine, Loop, Scheduler
from .model import build_network, loss_of, task_of
from .optimiser import adam
from .own import NO_PARTS, Parts, build_optimiser, build_scheduler, import_parts
from .teacher import read_teacher
from .warm_start import Init, load_weights


def trainer_for(
    config: RunConfig,
    group: ProcessGroup | None = None,
    parts: Parts = NO_PARTS,
    init: Init | None = None,
    *,
    lowers: bool = False,
    chip_cost: Callable[[Network, str, Any], ChipCost] | None = None,
) -> Trainer:
    """Load the data of a run and build its trainer; the weights come from the run's seed, or from `init`.

    lowers: refuse a model that cannot be lowered. chip_cost: see `Own`.

    Raises:
        ConfigError: a part does not fit.
        FileError: data or weights cannot be read or do not fit.
        UnsupportedNode: `lowers` is set, and lowering would refuse the model.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    group = group or ProcessGroup()
    settings = config.optimiser
    names = Parts(settings.loss, config.task.metric, settings.algorithm, settings.scheduler)  # type: ignore[arg-type]
    keys = Parts("optimiser.loss", "task.metric", "optimiser.algorithm", "optimiser.scheduler")  # type: ignore[arg-type]
    parts = import_parts(parts, keys, names)
    data: DataSet = group.local_rank_0_first(lambda: load_data(config.data, config.seed))
    task = task_of(config, data.format, parts)
    teacher = read_teacher(config, data.format, task, group.device)
    torch.manual_seed(config.seed)
    model = build_network(config, data.format, None if init is None else init.network)
    if init is not None and init.weights is not None:
        load_weights(model, init)
    if config.hardware.precision != "32-true":
        cast_before_neurons(model)
    model.to(group.device)
    if lowers:  # before masks wrap the synapses, so that what is named is the user's
        check_lowering(model, data, group.device)
    if parts.optimiser is not None:
        optimiser = build_optimiser(parts.optimiser, model.parameters(), settings.learning_rate, settings.weight_decay)
    else:
        optimiser = adam(model.parameters(), settings.learning_rate, settings.weight_decay)
    sample = torch.zeros(1, *data.shape, 1, device=group.device)
    developer = developer_for(model, sample, settings.epochs, config.development)
    if config.development.chip is not None:
        developer.sparsifier.fit = chip_target(model, developer.layers, data, config, chip_cost)
    return Trainer(
        model,
        data,
        loop_of(config),
        goal=Goal(loss_of(config, task, group.device, parts), task, teacher),
        optimiser=optimiser,
        developer=developer,
        scheduler=scheduler_of(config, optimiser, parts),
        group=group,
    )


def check_lowering(model: torch.nn.Module, data: DataSet, device: torch.device) -> None:
    """Raise UnsupportedNode with all that lowering would refuse of a fresh model."""
    problems = lowering_problems(model, example=random_example(data.shape, device), input_max=data.input_max)
    if problems:
        raise UnsupportedNode(f"{'; '.join(problems)} (--train-only trains it all the same)")


def scheduler_of(config: RunConfig, optimiser: torch.optim.Optimizer, parts: Parts) -> Scheduler | None:
    """Return the scheduler of a run."""
    settings = config.optimiser
    if parts.scheduler is not None:
        return build_scheduler(parts.scheduler, optimiser)
    if settings.scheduler == "constant":
        return None
    return Cosine(
        optimiser, settings.epochs, settings.learning_rate, settings.final_learning_rate, settings.warmup_epochs
    )


def loop_of(config: RunConfig) -> Loop:
    """Return length and portions of a run."""
    settings = config.optimiser
    return Loop(
        settings.epochs,
        settings.batch_size,
        settings.accumulate,
        settings.clip,
        settings.patience,
        config.seed,
        config.data.workers,
    )


def group_of(config: RunConfig) -> ProcessGroup:
    """Start the processes of a configuration, or find those that run already."""
    return init_process_group(**config.hardware.model_dump())
