"""Sections of the configuration on how a run trains: optimiser, hardware, logs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from sdsnn_core.tasks.task import Kind

from ..section import Fraction, Section

LOSS_NAMES: Final = ("cross_entropy", "spike_rate", "spike_max", "spike_moid", "spike_time", "mse")


def named_or_own(*names: str) -> AfterValidator:
    """Return a check for keys that take one of some names, or package.module:function."""

    def check(value: str) -> str:
        if value not in names and ":" not in value:
            raise ValueError(f"expected one of {', '.join(names)} or package.module:function, got {value}")
        return value

    return AfterValidator(check)


class TaskConfig(Section):
    """What the output is read as; the targets of the data set must fit."""

    kind: Kind | None = Field(
        None, description="label, step_labels, several_labels, values, spike_trains; None: data's"
    )
    window: int = Field(1, ge=1, description="step_labels, values: steps that are counted or averaged")
    level: float = Field(0.5, description="several_labels: spikes per step (or voltage) from which a class is present")
    tau: float = Field(5.0, gt=0, description="spike_trains: time constant of the van Rossum distance, in steps")
    metric: Annotated[str | None, Field(description="package.module:function, (predictions, targets) -> value")] = None


class OptimiserConfig(Section):
    """How a run minimises its loss.

    algorithm: adamw, or package.module:function (parameters, lr, weight_decay) -> torch.optim.Optimizer.
    scheduler: cosine, constant, or package.module:function (optimiser) -> a scheduler of torch, a step per epoch.
    loss: a name, or package.module:function (output, targets) -> mean over the batch.
    """

    algorithm: Annotated[str, named_or_own("adamw")] = "adamw"
    scheduler: Annotated[str, named_or_own("cosine", "constant")] = "cosine"

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_epochs: int = Field(0, ge=0, description="the learning rate rises linearly over these")
    accumulate: int = Field(1, ge=1, description="parts that a batch is computed in, one after another: less memory")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation")
    final_learning_rate: float = Field(1e-5, ge=0, description="where the cosine schedule ends")
    weight_decay: float = Field(0.0, ge=0)
    loss: Annotated[str, named_or_own(*LOSS_NAMES)] = "cross_entropy"
    gain: float = Field(0.7, gt=0, description="cross_entropy: logit per output spike; spike_moid: per spike rate")
    true_rate: Fraction = Field(0.9, description="spike_rate, spike_time: spikes per step wanted of the right class")
    false_rate: Fraction = Field(0.02, description="spike_rate, spike_time: and of the others; spike_moid: the bias")
    teacher: str | None = Field(
        None, description="distillation: run folder of a trained network, whose answers are learnt beside the labels"
    )
    teacher_weight: float = Field(1.0, ge=0, description="distillation: factor on the divergence from the teacher")
    teacher_temperature: float = Field(1.0, gt=0, description="distillation: divides the logits of both networks")
    fused: bool = Field(True, description="sdsnn's fused neurons instead of SLAYER's own: the same spikes, faster")


class HardwareConfig(Section):
    """What a run computes on. Anything but one process on the CPU in 32 bits needs Lightning Fabric.

    The global batch is `optimiser.batch_size` on any number of devices. torchrun's own numbers go before these.
    """

    accelerator: Literal["cpu", "cuda", "auto"] = Field("cpu", description="auto: GPUs if torch sees any, else CPU")
    devices: int = Field(1, ge=1, le=1024, description="processes on each machine, one per GPU")
    num_nodes: int = Field(1, ge=1, le=1024, description="machines")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="of the synapses while training")


class LogConfig(Section):
    """What is written beside history.jsonl, after every epoch."""

    csv: bool = Field(True, description="history.csv, a row per epoch")
    tensorboard: bool = Field(False, description="event files in tensorboard/; needs the package tensorboard")
