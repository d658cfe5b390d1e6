"""The parts of a run, as its configuration describes them or as the user brings them."""

from collections.abc import Callable
from typing import Any

import torch

from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.errors import ConfigError, UnsupportedNode
from sdsnn_core.network import Network
from sdsnn_core.tasks.task import LABEL, Task

from ...data.datasets import import_object
from ...data.load import DataSet, SampleFormat, load_data
from ...development.literal import developer_for
from ...slayer.losses import Loss, build_loss
from ...slayer.lowering import lowering_problems
from ...slayer.models import build_model, cast_before_neurons
from ...slayer.tracing import random_example
from ..config import RunConfig
from ..processes import ProcessGroup, init_process_group
from ..trainer import Goal, Trainer
from .chip import chip_target
from .loop import Cosine, Loop, Scheduler
from .optimiser import adam
from .own import NO_PARTS, Parts, build_optimiser, build_scheduler, checked_loss, import_parts
from .warm_start import Init, load_weights, raised


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
        goal=Goal(checked_loss(parts) or loss_of(config, task, group.device), task),
        optimiser=optimiser,
        developer=developer,
        scheduler=scheduler_of(config, optimiser, parts),
        group=group,
    )


def build_network(config: RunConfig, samples: SampleFormat, initial: Network | None = None) -> torch.nn.Module:
    """Build the network of a configuration for samples of a format, fused if the configuration says so.

    initial: the network that the model begins as, where the configuration names one.
    """
    if initial is not None:
        model = raised(initial, samples)
    elif config.model.network is not None:
        raise ConfigError([f"model.network: expected the network of {config.model.network} with --init, got none"])
    else:
        model = build_model(config.model, samples.shape, samples.n_classes)
    if config.optimiser.fused:
        from ...fused import fuse

        fuse(model)
    return model


def check_lowering(model: torch.nn.Module, data: DataSet, device: torch.device) -> None:
    """Raise UnsupportedNode with all that lowering would refuse of a fresh model."""
    problems = lowering_problems(model, example=random_example(data.shape, device), input_max=data.input_max)
    if problems:
        raise UnsupportedNode(f"{'; '.join(problems)} (--train-only trains it all the same)")


def task_of(config: RunConfig, samples: SampleFormat, parts: Parts = NO_PARTS) -> Task:
    """Return the task of a data set, with the settings of a configuration."""
    settings = config.task
    if settings.kind not in (None, samples.task):
        raise ConfigError([f"task.kind: expected {samples.task}, as the data have, got {settings.kind}"])
    metric = parts.metric
    if metric is None and settings.metric is not None:
        metric = import_object(settings.metric, "task.metric")
    return Task(samples.task, settings.window, settings.level, settings.tau, metric)


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


def loss_of(config: RunConfig, task: Task = LABEL, device: torch.device | str = "cpu") -> Loss:
    """Return the loss that a configuration names."""
    settings = config.optimiser
    if ":" in settings.loss:
        own = checked_loss(Parts(loss=import_object(settings.loss, "optimiser.loss")))
        assert own is not None
        return own
    return build_loss(
        settings.loss,
        task,
        gain=settings.gain,
        true_rate=settings.true_rate,
        false_rate=settings.false_rate,
        device=device,
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
