"""The model of a run, its task and its loss, as its configuration describes them or as the user brings them."""

import torch

from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Network
from sdsnn_core.tasks.task import LABEL, Task

from ...data.datasets import import_object
from ...data.load import SampleFormat
from ...slayer.losses import Loss, build_loss, of_classes
from ...slayer.models import build_model
from ..config import RunConfig
from .own import NO_PARTS, Parts, checked_loss
from .warm_start import raised


def build_network(config: RunConfig, samples: SampleFormat, initial: Network | None = None) -> torch.nn.Module:
    """Build the network of a configuration for samples of a format, fused if the configuration says so.

    initial: the network that the model begins as, where the configuration names one.
    """
    if initial is not None:
        model = raised(initial, samples, config.model.outputs_per_class)
    elif config.model.network is not None:
        raise ConfigError([f"model.network: expected the network of {config.model.network} with --init, got none"])
    else:
        model = build_model(config.model, samples.shape, samples.n_classes)
    if config.optimiser.fused:
        from ...fused import fuse

        fuse(model)
    return model


def task_of(config: RunConfig, samples: SampleFormat, parts: Parts = NO_PARTS) -> Task:
    """Return the task of a data set, with the settings of a configuration."""
    settings = config.task
    if settings.kind not in (None, samples.task):
        raise ConfigError([f"task.kind: expected {samples.task}, as the data have, got {settings.kind}"])
    metric = parts.metric
    if metric is None and settings.metric is not None:
        metric = import_object(settings.metric, "task.metric")
    return Task(samples.task, settings.window, settings.level, settings.tau, metric, config.model.outputs_per_class)


def loss_of(config: RunConfig, task: Task = LABEL, device: torch.device | str = "cpu", parts: Parts = NO_PARTS) -> Loss:
    """Return the loss of a run: the user's own, or what the configuration names."""
    settings = config.optimiser
    if parts.loss is None and ":" in settings.loss:
        parts = Parts(loss=import_object(settings.loss, "optimiser.loss"))
    loss = checked_loss(parts) or build_loss(
        settings.loss,
        task,
        gain=settings.gain,
        true_rate=settings.true_rate,
        false_rate=settings.false_rate,
        device=device,
    )
    return of_classes(loss, task.outputs_per_class)
