"""The `data` table of the configuration."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from ..section import Section

NAMES: Final = (
    "digits", "mnist", "mnist_saccades", "fashion_mnist", "cifar10", "nmnist", "dvs_gesture", "shd", "ssc",
    "cifar10_dvs", "ev_objects", "ev_containers", "braille", "fsdd", "ecg_qtdb", "uea", "folder",
)  # fmt: skip


def _check_name(name: str) -> str:
    """Return `name` if it can name a data set."""
    if name not in NAMES and ":" not in name:
        raise ValueError(f"expected one of {', '.join(NAMES)} or package.module:function, got {name!r}")
    return name


class DataConfig(Section):
    """What to train on, and how it becomes spikes. Which keys a set reads: docs/data.md."""

    name: Annotated[str, AfterValidator(_check_name)] = "digits"
    directory: str | None = Field(None, description="where the files are; None: a folder of $SDSNN_DATA")
    n_steps: int = Field(16, ge=1, le=10_000, description="time steps that carry input")
    coding: Literal["rate", "latency", "direct", "delta"] = Field(
        "rate", description="images, signals: values to spikes; no latency of signals, no delta of images"
    )
    delta: float = Field(0.1, gt=0, le=1, description="delta coding: change that gives a spike, as share of the range")
    levels: int = Field(15, ge=1, le=255, description="direct coding: largest graded spike")
    images: tuple[int, int] | None = Field(
        None, description="training images that are used, of a set of images with a test split: from, up to"
    )
    contrast: float = Field(
        0.125, ge=0.05, le=10, description="mnist_saccades: change of the logarithm of light that gives an event"
    )
    noise: float = Field(0.0, ge=0, description="training only: standard deviation of pixel noise, in grey levels")
    shift: int = Field(0, ge=0, le=64, description="training only: largest random move of the picture, in pixels")
    rotate: float = Field(0.0, ge=0, le=180, description="training only: largest random turn, in degrees")
    zoom: float = Field(0.0, ge=0, lt=1, description="training only: largest random change of height and of width")
    elastic: float = Field(0.0, ge=0, description="training only: random smooth bending, root mean square in pixels")
    step_us: float = Field(1000.0, gt=0, description="events: duration of a time step in microseconds")
    downsample: int = Field(1, ge=1, le=64, description="events: pixels (or channels) that become one, per axis")
    denoise_us: float = Field(0.0, ge=0, description="events: those without a neighbour this recent go; 0 keeps all")
    time_unit: Literal["us", "ms", "s"] = Field("us", description="folder: unit of the times of events in arrays")
    axes: Literal["time-first", "time-last"] = Field(
        "time-first", description="folder: where the time axis of an array of one sample is"
    )
    sensor: tuple[int, int, int] | None = Field(None, description="folder of events: width, height, polarities")
    bands: int = Field(32, ge=1, le=256, description="fsdd: mel bands")
    held_out: tuple[str, ...] = Field((), description="fsdd: speakers of the test split; none: repetitions 0 to 4")
    series: str | None = Field(None, description="uea: name of the set, as in GunPoint")
    forecast: int = Field(0, ge=0, description="uea: last frames that are the targets instead of the class")
    validation_fraction: float = Field(0.15, gt=0, lt=0.5)
    test_fraction: float = Field(0.2, gt=0, lt=0.5, description="of sets that have no test split of their own")
    folds: int = Field(0, ge=0, description="cross-validation: parts into which train and test samples are cut; 0: off")
    fold: int = Field(0, ge=0, description="cross-validation: the part that is the test split, 0 to folds - 1")
    cache: str | None = Field(None, description="where binned events are kept; None: $SDSNN_CACHE or ~/.cache/sdsnn")
    workers: int = Field(1, ge=0, le=64, description="threads that prepare batches ahead; 0 prepares them in line")

    @model_validator(mode="after")
    def _check_images(self) -> DataConfig:
        if self.images is not None and not 0 <= self.images[0] < self.images[1]:
            raise ValueError(f"expected images from 0 on up to a larger number, got {self.images[0]}, {self.images[1]}")
        return self

    @model_validator(mode="after")
    def _check_folds(self) -> DataConfig:
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            least = (
                f"fold of at most {self.folds - 1}" if self.folds > 1 else "at least two folds, and fold 0 without them"
            )
            raise ValueError(f"expected {least}, got fold {self.fold} of {self.folds}")
        if self.folds and self.held_out:
            raise ValueError("expected held_out or folds, got both")
        return self
