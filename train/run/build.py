"""The parts of a run, as its configuration describes them."""

from __future__ import annotations

import torch

from ..data.load import DataSet, SampleFormat, load_data
from ..development.literal import developer_for
from ..slayer.losses import Loss, build_loss
from ..slayer.models import build_model, cast_before_neurons
from .config import RunConfig
from .loop import Cosine, Loop
from .optimiser import adam
from .processes import ProcessGroup, init_process_group
from .trainer import Trainer


def trainer_for(config: RunConfig, group: ProcessGroup | None = None) -> Trainer:
    """Load the data of a run and build its trainer; the weights come from the run's seed."""
    if config.threads:
        torch.set_num_threads(config.threads)
    group = group or ProcessGroup()
    data: DataSet = group.local_rank_0_first(lambda: load_data(config.data, config.seed))
    torch.manual_seed(config.seed)
    model = build_network(config, data.format)
    settings = config.optimiser
    if config.hardware.precision != "32-true":
        cast_before_neurons(model)
    model.to(group.device)
    optimiser = adam(model.parameters(), settings.learning_rate, settings.weight_decay)
    sample = torch.zeros(1, *data.shape, 1, device=group.device)
    return Trainer(
        model,
        data,
        loop_of(config),
        loss=loss_of(config, group.device),
        optimiser=optimiser,
        developer=developer_for(model, sample, settings.epochs, config.development),
        scheduler=Cosine(
            optimiser, settings.epochs, settings.learning_rate, settings.final_learning_rate, settings.warmup_epochs
        ),
        group=group,
    )


def build_network(config: RunConfig, samples: SampleFormat) -> torch.nn.Module:
    """Build the network of a configuration for samples of a format, fused if the configuration says so."""
    model = build_model(config.model, samples.shape, samples.n_classes)
    if config.optimiser.fused:
        from ..fused import fuse

        fuse(model)
    return model


def loss_of(config: RunConfig, device: torch.device | str = "cpu") -> Loss:
    """Return the loss of a configuration."""
    settings = config.optimiser
    return build_loss(
        settings.loss, gain=settings.gain, true_rate=settings.true_rate, false_rate=settings.false_rate, device=device
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
