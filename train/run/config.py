"""The configuration of a run: a TOML file, overrides from the command line, and all mistakes reported together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.errors import ConfigError, FileError

from ..data.datasets import DATA_SETS, locate
from ..data.settings import DataConfig
from ..section import Fraction, Section, explain, read_toml, toml_tables, toml_value
from .config_training import HardwareConfig, LogConfig, OptimiserConfig, TaskConfig

RECIPES = Path(__file__).parents[1] / "recipes"


class NeuronConfig(Section):
    """CUBA neuron, in SLAYER's float units."""

    threshold: float = Field(1.25, gt=0, le=2047)
    current_decay: Fraction = 0.25
    voltage_decay: Fraction = 0.03
    tau_grad: float = Field(0.01, gt=0, description="surrogate gradient: its width, in hundreds of thresholds")
    scale_grad: float = Field(10.0, gt=0, description="surrogate gradient: its integral, in tenths")


class NeuronChanges(Section):
    """Keys of `model.neuron` that one layer changes."""

    threshold: float | None = Field(None, gt=0, le=2047)
    current_decay: Fraction | None = None
    voltage_decay: Fraction | None = None
    tau_grad: float | None = Field(None, gt=0)
    scale_grad: float | None = Field(None, gt=0)


_LAYER_NEEDS = {"dense": ("out",), "recurrent": ("out",), "conv": ("out", "kernel"), "pool": ("kernel",), "flatten": ()}
_LAYER_MAY = {
    "dense": ("weight_scale", "weight_norm", "weight_bits", "delay", "skip", "neuron"),
    "recurrent": ("weight_scale", "weight_norm", "weight_bits", "delay", "skip", "neuron"),
    "conv": ("stride", "padding", "groups", "weight_scale", "weight_norm", "weight_bits", "delay", "skip", "neuron"),
    "pool": ("weight_scale", "delay", "skip", "neuron"),
    "flatten": (),
}


class LayerConfig(Section):
    """One SLAYER block. Other keys are as in `model`; a Flatten before dense layers is added where one is missing."""

    kind: Literal["dense", "conv", "pool", "flatten", "recurrent"]
    out: int | None = Field(None, ge=1, description="neurons, or channels of a convolution")
    kernel: int | None = Field(None, ge=1)
    stride: int | None = Field(None, ge=1)
    padding: int | None = Field(None, ge=0)
    groups: int | None = Field(None, ge=1)
    weight_scale: float | None = Field(None, gt=0)
    weight_norm: bool | None = None
    weight_bits: int | None = Field(None, ge=2, le=8)
    delay: bool | None = None
    skip: int | None = Field(None, ge=1, description="layers that a second path to its input leaves out; spikes add up")
    neuron: NeuronChanges | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> LayerConfig:
        needed, allowed = _LAYER_NEEDS[self.kind], _LAYER_MAY[self.kind]
        present = [name for name in type(self).model_fields if name != "kind" and getattr(self, name) is not None]
        problems = [f"expected {name} of a {self.kind} layer, got none" for name in needed if name not in present]
        extra = [name for name in present if name not in (*needed, *allowed)]
        if extra:
            expected = ", ".join((*needed, *allowed)) or "no key"
            problems.append(f"expected {expected} of a {self.kind} layer, got {', '.join(extra)}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class ModelConfig(Section):
    """A feed-forward chain of blocks behind the input, and a dense readout.

    hidden: sizes of dense layers. layers: blocks of any kind instead. factory: `package.module:function` that makes
    the network, (input shape, number of outputs) -> module of SLAYER blocks; of the other keys only outputs_per_class
    is then read. network: the file whose network the run began as (--init); likewise.
    """

    factory: str | None = None
    network: str | None = None

    neurons: Literal["cuba", "sigma_delta"] = Field(
        "cuba", description="neurons of all layers; sigma_delta: rectified sums whose changes are sent, no decays"
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    layers: tuple[LayerConfig, ...] = ()
    neuron: NeuronConfig = NeuronConfig()
    weight_scale: float = Field(1.0, gt=0, description="factor on the initial weights")
    weight_norm: bool = False
    weight_bits: int = Field(8, ge=2, le=8, description="bits of a weight; the step is 2/64 times a power of two")
    norm: Literal["none", "mean_only", "weight_scale"] = Field(
        "none",
        description="SLAYER's MeanOnlyBatchNorm (a bias of the neurons) or WgtScaleBatchNorm (and a power of two)",
    )
    delay: bool = Field(False, description="trainable axonal delays on hidden layers")
    outputs_per_class: int = Field(
        1, ge=1, description="neurons of the output for each class; their spikes are added, losses take their mean"
    )
    readout: Literal["spikes", "voltage"] = Field(
        "spikes", description="output: a Dense block's spikes, or the voltage of an Affine block"
    )

    @model_validator(mode="before")
    @classmethod
    def _layers_or_hidden(cls, tables: Any) -> Any:
        if (
            isinstance(tables, Mapping)
            and tables.get("neurons") == "sigma_delta"
            and tables.get("norm", "none") != "none"
        ):
            raise ValueError("expected norm none of sigma_delta neurons, whose biases would act before the input")
        if isinstance(tables, Mapping) and tables.get("layers"):
            if tables.get("hidden"):
                raise ValueError("expected hidden or layers, got both")
            return {**tables, "hidden": ()}
        return tables


class RunConfig(Section):
    """Everything that decides a run, apart from the versions of what it runs on."""

    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0, description="CPU threads for torch; 0 leaves its own choice")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    task: TaskConfig = TaskConfig()
    development: DevelopmentConfig = Field(default_factory=DevelopmentConfig)
    hardware: HardwareConfig = HardwareConfig()
    log: LogConfig = LogConfig()

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as plain tables, without keys whose value is None (TOML has no null)."""

        def plain(value: Any) -> Any:
            if isinstance(value, BaseModel):
                value = {name: getattr(value, name) for name in type(value).model_fields}
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = {spec.name: getattr(value, spec.name) for spec in dataclasses.fields(value)}
            if isinstance(value, Mapping):
                return {key: plain(item) for key, item in value.items() if item is not None}
            return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value

        result: dict[str, Any] = plain(self)
        return result

    def to_toml(self) -> str:
        """Return the configuration as TOML that `load_config` reads back to an equal one."""
        return tomli_w.dumps(self.as_dict())


def parse_toml(text: str) -> RunConfig:
    """Return the configuration that `to_toml` wrote; keys that came later take their defaults."""
    return parse_config(toml_tables(text, "config"))


def deciding(config: RunConfig) -> RunConfig:
    """Return the configuration without the keys that change no result, or its rounding only.

    These are places of files, threads, logs, devices and parts of a batch. A resumed run may change them. A checkpoint
    knows its teacher by the weights, so the folder of the teacher may have moved.
    """
    data = config.data.model_copy(update={"directory": None, "cache": None, "workers": 1})
    optimiser = config.optimiser.model_copy(update={"accumulate": 1, "teacher": None})
    hardware = HardwareConfig(precision=config.hardware.precision)
    changes = {"data": data, "optimiser": optimiser, "hardware": hardware, "threads": 0, "log": LogConfig()}
    return config.model_copy(update=changes)


def with_directory(config: RunConfig) -> RunConfig:
    """Return the configuration with the full paths of its data and its teacher, where they exist."""
    teacher = config.optimiser.teacher
    if teacher is not None and Path(teacher).expanduser().is_dir():
        path = Path(teacher).expanduser().resolve()
        config = config.model_copy(update={"optimiser": config.optimiser.model_copy(update={"teacher": str(path)})})
    data = config.data
    if data.directory is not None or data.name not in DATA_SETS or not DATA_SETS[data.name].folders:
        return config
    path = locate(data)
    if not path.is_dir():
        return config
    return config.model_copy(update={"data": data.model_copy(update={"directory": str(path.resolve())})})


def recipe_path(name: str) -> Path:
    """Return the path of a shipped recipe. Raises FileError naming those that exist."""
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        raise FileError(f"recipe: expected one of {', '.join(shipped_recipes())}, got {name!r}")
    return path


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with sdsnn."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, or a shipped recipe by its name, and apply `key=value` overrides.

    Keys are dotted (`optimiser.epochs=60`), values are TOML (a bare word is a string). Raises FileError where the
    file cannot be read, and ConfigError with every unknown key and bad value in one message.
    """
    path = Path(source)
    if not path.is_file():  # a folder may have the name of a recipe
        if path.suffix:
            recipes = ", ".join(shipped_recipes())
            raise FileError(f"config {path}: no such file; give a TOML file or one of {recipes}")
        path = recipe_path(str(source))
    tables = read_toml(path, f"config {path}")
    problems = []
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not all(key.strip().split(".")):
            problems.append(f"--set {item}: expected key=value, as in optimiser.epochs=60")
        else:
            problems += _set(tables, key.strip().split("."), toml_value(text.strip()))
    return parse_config(tables, problems)


def parse_config(tables: Mapping[str, Any], problems: Sequence[str] = ()) -> RunConfig:
    """Check plain tables and return the configuration. `problems`: what is known to be wrong already."""
    try:
        config = RunConfig.model_validate(tables)
    except ValidationError as error:
        raise ConfigError([*problems, *explain(error, RunConfig)]) from None
    if problems:
        raise ConfigError(list(problems))
    return config


def _set(tables: dict[str, Any], keys: list[str], value: Any) -> list[str]:
    table = tables
    for depth, key in enumerate(keys[:-1]):
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            return [f"--set {'.'.join(keys)}: expected a table at {'.'.join(keys[: depth + 1])}, got a value"]
        table = below
    table[keys[-1]] = value
    return []
