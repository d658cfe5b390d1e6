"""Distillation: a trained network whose soft answers another one learns beside the labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor

from sdsnn_core.errors import ConfigError, FileError, SdsnnError
from sdsnn_core.tasks.task import Task

from ...data.load import SampleFormat
from ...slayer.block_spikes import reset_state
from ...slayer.losses import class_means
from ...slayer.tracing import output_of
from ..config import RunConfig
from ..run_folder import RunFolder
from ..trained import TrainedModel, load_trained
from ..trainer import weights_digest


class Softening(NamedTuple):
    """How answers become probabilities: softmax(gain x output spikes / temperature); weight: of the divergence."""

    gain: float
    weight: float = 1.0
    temperature: float = 1.0


@final
class Distillation:
    """The Kullback-Leibler divergence of a network's answers from those of a trained one, its teacher.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (arXiv:1503.02531, 2015): both softened by
    a temperature, by whose square the divergence is multiplied.

    Args:
        teacher: the trained network; it is frozen, and set to evaluate.
        softening: of both.
        outputs_per_class: of the teacher and of the network that learns.

    Attributes:
        digest: SHA-256 of the teacher's weights.
    """

    def __init__(self, teacher: torch.nn.Module, softening: Softening, outputs_per_class: tuple[int, int]) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.softening, self.outputs_per_class = softening, outputs_per_class
        self.digest = weights_digest(teacher)

    def loss(self, output: Tensor, spikes: Tensor) -> Tensor:
        """Return the weighted divergence, summed over the batch.

        Args:
            output: (batch, neurons, steps) of the network that learns.
            spikes: (batch, *shape, steps) that it ran on.
        """
        reset_state(self.teacher)
        with torch.no_grad():
            answers = output_of(self.teacher(spikes))
        of_teacher, of_student = self.outputs_per_class
        wanted, got = self._log_shares(answers, of_teacher), self._log_shares(output, of_student)
        divergence = torch.nn.functional.kl_div(got, wanted, reduction="sum", log_target=True)
        return self.softening.weight * self.softening.temperature**2 * divergence

    def _log_shares(self, output: Tensor, outputs_per_class: int) -> Tensor:
        """Return the logarithms of the softened probabilities, (batch, classes)."""
        spikes = class_means(output, outputs_per_class).sum(-1)
        return torch.log_softmax(spikes * (self.softening.gain / self.softening.temperature), dim=1)


def read_teacher(config: RunConfig, samples: SampleFormat, task: Task, device: torch.device) -> Distillation | None:
    """Load the teacher that a configuration names; None where it names none.

    Raises:
        FileError: the run folder has no trained model.
        ConfigError: the teacher does not fit the data or the task.
    """
    settings = config.optimiser
    if settings.teacher is None:
        return None
    if task.kind != "label":
        raise ConfigError([f"optimiser.teacher: expected a task of one label per sample, got {task.kind}"])
    try:
        trained = load_trained(RunFolder.open(Path(settings.teacher).expanduser()))
    except SdsnnError as error:
        raise FileError(f"optimiser.teacher: {error}") from None
    if problems := _differences(trained, config, samples):
        raise ConfigError([f"optimiser.teacher: {problem}" for problem in problems])
    softening = Softening(settings.gain, settings.teacher_weight, settings.teacher_temperature)
    per_class = trained.task.outputs_per_class, task.outputs_per_class
    return Distillation(trained.model.to(device), softening, per_class)


def _differences(trained: TrainedModel, config: RunConfig, samples: SampleFormat) -> list[str]:
    """Return what differs between the samples of a teacher and those of a run."""
    if trained.task.kind != "label":
        return [f"expected a teacher of one label per sample, got {trained.task.kind}"]
    with torch.no_grad():
        size = output_of(trained.model.eval()(torch.zeros(1, *trained.input_shape, 1))).shape[1]
    theirs, ours = trained.config.data, config.data
    pairs = {
        "input of shape": (trained.input_shape, samples.shape),
        "bins up to": (trained.input_max, samples.input_max),
        "number of classes": (size // trained.task.outputs_per_class, samples.n_classes),
        "data.n_steps": (theirs.n_steps, ours.n_steps),
        "data.coding": (theirs.coding, ours.coding),
    }
    return [
        f"expected {name} {wanted}, as this run has, got {got}"
        for name, (got, wanted) in pairs.items()
        if got != wanted
    ]
