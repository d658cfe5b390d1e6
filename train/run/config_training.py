"""Sections of the configuration on how a run trains: optimiser, hardware, logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..section import Fraction, Section


class OptimiserConfig(Section):
    """Adam and what it minimises."""

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_epochs: int = Field(0, ge=0, description="the learning rate rises linearly over these")
    accumulate: int = Field(1, ge=1, description="parts that a batch is computed in, one after another: less memory")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation")
    final_learning_rate: float = Field(1e-5, ge=0, description="where the cosine schedule ends")
    weight_decay: float = Field(0.0, ge=0)
    loss: Literal["cross_entropy", "spike_rate", "spike_max", "spike_moid", "spike_time"] = "cross_entropy"
    gain: float = Field(0.7, gt=0, description="cross_entropy: logit per output spike; spike_moid: per spike rate")
    true_rate: Fraction = Field(0.9, description="spike_rate, spike_time: spikes per step wanted of the right class")
    false_rate: Fraction = Field(0.02, description="spike_rate, spike_time: and of the others; spike_moid: the bias")
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
