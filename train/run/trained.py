"""A trained model: what stands between training and lowering, checking, verifying and exporting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch

from sdsnn_core.files import write_json
from sdsnn_core.network import Shape
from sdsnn_core.tasks.task import LABEL, Task, task_settings

from ..data.load import SampleFormat, Split, load_data
from ..development.masks import attach_masks
from ..slayer.evaluate import Evaluation, evaluate
from ..slayer.lowering import STEP_S
from ..slayer.tracing import blocks_of
from .checkpoint import best_of, check_config, load_checkpoint, restore
from .config import RunConfig
from .parts.model import build_network, loss_of, task_of
from .run_folder import RunFolder


@final
@dataclass(frozen=True)
class SplitFigures:
    """How a model does on a split.

    Attributes:
        loss: mean over samples.
        accuracy: share of right classes; None for a task without classes.
        samples: number of samples.
        scores: metrics of the task, the main one first.
    """

    loss: float
    accuracy: float | None
    samples: int
    scores: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Evaluation) -> SplitFigures:
        """Return the figures of an evaluation."""
        return cls(evaluation.loss, evaluation.accuracy, len(evaluation.labels), evaluation.scores)


@final
@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The model of the epoch that validation chose, on the CPU, masks attached.

    Attributes:
        name: name of the run folder.
        config: the configuration it was trained with.
        model: the network; its blocks are masked, and fused if the configuration says so.
        input_shape: (channels,) or (channels, height, width) of an input bin.
        input_max: largest value of an input bin; 1 means plain spikes.
        dt_s: seconds of a time step: the bin width of recordings, STEP_S of images.
        epoch: the chosen epoch, from 0.
        validation_accuracy: of that epoch; None for a task without classes.
        task: what the output is read as.
        test: figures on the test split as training recorded them; None where it did not (an unfinished or old run).
    """

    name: str
    config: RunConfig
    model: torch.nn.Module
    input_shape: Shape
    input_max: int
    dt_s: float
    epoch: int
    validation_accuracy: float | None
    test: SplitFigures | None
    task: Task = LABEL

    @property
    def blocks(self) -> list[torch.nn.Module]:
        """SLAYER blocks, in the order in which the model lists them."""
        return blocks_of(self.model)

    def provenance(self) -> dict[str, Any]:
        """Return where the model comes from, as network files carry it."""
        task = {} if self.task == LABEL else {"task": task_settings(self.task)}
        return {"run": self.name, "seed": self.config.seed, "epoch": self.epoch, **task}

    def figures(self, split: Split) -> SplitFigures:
        """Evaluate the model on a split."""
        return SplitFigures.of(evaluate(self.model, split, loss_of(self.config, self.task), task=self.task))


def load_trained(folder: RunFolder) -> TrainedModel:
    """Load the model of the epoch that validation chose; neither data nor an evaluation are needed.

    Only runs made before sdsnn recorded the format of their samples (data.json) load their data set for it.

    Args:
        folder: of a run with at least one complete epoch.

    Raises:
        FileError: best.pt is missing, corrupt, or does not fit its configuration.
        ConfigError: best.pt belongs to another configuration than config.toml.
    """
    config = folder.config()
    state = load_checkpoint(folder.best_file)
    recorded = folder.read_json(folder.data_file)
    if recorded is None:
        samples = load_data(config.data, config.seed).format
    else:
        samples = SampleFormat(**{**recorded, "shape": tuple(recorded["shape"])})
    model = build_network(config, samples, folder.initial_network())
    task = task_of(config, samples)
    attach_masks(model)
    check_config(state, config)
    restore(state, model=model)
    test = folder.read_json(folder.test_file)
    epoch, accuracy = best_of(state)
    dt_s = STEP_S if samples.step_s is None else samples.step_s
    return TrainedModel(
        folder.path.name,
        config,
        model,
        samples.shape,
        samples.input_max,
        dt_s,
        epoch,
        validation_accuracy=accuracy if task.main == "accuracy" else None,
        test=SplitFigures(**test) if test is not None and test.pop("epoch") == epoch else None,
        task=task,
    )


def record_test(folder: RunFolder, epoch: int, figures: SplitFigures) -> None:
    """Write the test figures of the chosen epoch into the run folder."""
    write_json(folder.test_file, {"epoch": epoch, **figures.__dict__})
