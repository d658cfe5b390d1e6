"""The configuration of a run: a TOML file, overrides from the command line, and every mistake told at once."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sdsnn_core.development.config import DevelopmentConfig
from sdsnn_core.errors import ConfigError, FileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """What to train on."""

    name: Literal["digits"] = "digits"
    n_steps: int = Field(16, ge=1, le=10_000, description="time steps that carry input")
    noise: float = Field(0.0, ge=0, description="training only: standard deviation of pixel noise, in grey levels")
    validation_fraction: float = Field(0.15, gt=0, lt=0.5)
    test_fraction: float = Field(0.2, gt=0, lt=0.5)


class NeuronConfig(_Section):
    """CUBA neuron, in SLAYER's float units."""

    threshold: float = Field(1.25, gt=0, le=2047)
    current_decay: Fraction = 0.25
    voltage_decay: Fraction = 0.03
    tau_grad: float = Field(0.1, gt=0, description="time constant of the surrogate gradient")
    scale_grad: float = Field(1.0, gt=0, description="scale of the surrogate gradient")


class ModelConfig(_Section):
    """A feed-forward chain of Dense CUBA blocks behind the input."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    neuron: NeuronConfig = NeuronConfig()
    weight_scale: float = Field(1.0, gt=0, description="factor on the initial weights")
    weight_norm: bool = False
    delay: bool = Field(False, description="trainable axonal delays on hidden layers")


class OptimiserConfig(_Section):
    """Adam and what it minimises."""

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0, description="where the cosine schedule ends")
    weight_decay: float = Field(0.0, ge=0)
    loss: Literal["cross_entropy", "spike_rate"] = "cross_entropy"
    gain: float = Field(0.7, gt=0, description="cross_entropy: logit per output spike")
    true_rate: Fraction = Field(0.9, description="spike_rate: spikes per step wanted of the right class")
    false_rate: Fraction = Field(0.02, description="spike_rate: and of the others")


class RunConfig(_Section):
    """Everything that decides a run, apart from the versions of what it runs on."""

    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0, description="CPU threads for torch; 0 leaves its own choice")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    development: DevelopmentConfig = Field(default_factory=DevelopmentConfig)

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


def recipe_path(name: str) -> Path:
    """Return the path of a shipped recipe. Raises FileError naming those that exist."""
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        raise FileError(f"recipe {name!r}: not shipped; shipped are {', '.join(shipped_recipes())}")
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
    if not path.suffix and not path.exists():
        path = recipe_path(str(source))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(
            f"config {path}: no such file; give a TOML file or one of {', '.join(shipped_recipes())}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"config {path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"config {path}: not TOML ({error})") from None
    problems = []
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not all(key.strip().split(".")):
            problems.append(f"--set {item}: expected key=value, as in optimiser.epochs=60")
        else:
            problems += _set(tables, key.strip().split("."), _value(text.strip()))
    return parse_config(tables, problems)


def parse_config(tables: Mapping[str, Any], problems: Sequence[str] = ()) -> RunConfig:
    """Check plain tables and return the configuration. `problems`: what is known to be wrong already."""
    found = list(problems)
    try:
        config = TypeAdapter(RunConfig).validate_python(tables)
    except ValidationError as error:
        found += [_explain(item) for item in error.errors()]
    if found:
        raise ConfigError(found)
    return config


def _set(tables: dict[str, Any], keys: list[str], value: Any) -> list[str]:
    table = tables
    for depth, key in enumerate(keys[:-1]):
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            return [f"--set {'.'.join(keys)}: {'.'.join(keys[: depth + 1])} is a value, not a table"]
        table = below
    table[keys[-1]] = value
    return []


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "value_error":  # a check of ours, which says what came by itself
        return f"{where}: {item['ctx']['error']}"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: unknown key; known there are {', '.join(_known(item['loc'][:-1]))}"
    try:
        given = json.dumps(item["input"], default=str)
    except ValueError:
        given = repr(item["input"])
    return f"{where}: got {given}, {item['msg'][0].lower()}{item['msg'][1:]}"


def _known(location: Sequence[Any]) -> list[str]:
    kind: Any = RunConfig
    for part in location:
        fields = kind.model_fields if hasattr(kind, "model_fields") else {}
        if part not in fields:
            break
        kind = fields[part].annotation
    if dataclasses.is_dataclass(kind):
        return sorted(spec.name for spec in dataclasses.fields(kind))
    return sorted(kind.model_fields)
