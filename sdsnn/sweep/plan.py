"""What a sweep runs: a TOML file, its points (settings) and its runs (a point with a seed)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from sdsnn.train.run.config import load_config
from sdsnn.train.section import Section, explain, read_toml
from sdsnn_core.errors import ConfigError

# Numbers of a run that a search may look at. Those of the test split are not among them.
Metric = Literal[
    "validation_accuracy", "connection_sparsity", "synapses_kept", "units_kept", "spikes_per_inference",
    "synaptic_operations_per_inference", "cores",
]  # fmt: skip


class RangeConfig(Section):
    """The values of one key in a search: low to high (integer: whole numbers, log: on a log scale), or choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> RangeConfig:
        bounds = self.low is not None and self.high is not None
        if bounds == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ValueError("expected low and high, or choices")
        if bounds and not float(self.low or 0) < float(self.high or 0):
            raise ValueError(f"expected low below high, got {self.low} and {self.high}")
        if self.log and bounds and float(self.low or 0) <= 0:
            raise ValueError(f"log: expected low above 0, got {self.low}")
        return self


class SearchConfig(Section):
    """An Optuna study instead of a grid. Several metrics give a front instead of a best point."""

    space: dict[str, RangeConfig]
    trials: int = Field(20, ge=1)
    sampler: Literal["tpe", "random", "nsga2", "qmc"] = "tpe"
    seed: int = Field(0, ge=0)
    maximise: tuple[Metric, ...] = ("validation_accuracy",)
    minimise: tuple[Metric, ...] = ()

    @model_validator(mode="after")
    def _has_a_goal(self) -> SearchConfig:
        if not (self.maximise or self.minimise):
            raise ValueError("expected a metric in maximise or minimise, got none")
        return self


class SweepConfig(Section):
    """A sweep file. config: a recipe or a TOML file. grid: key -> values; every combination is a point."""

    config: str
    out: str | None = None
    settings: tuple[str, ...] = ()
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    chip: str = "loihi2"
    samples: int = Field(16, ge=1, description="test samples that export compares")
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    search: SearchConfig | None = None

    @model_validator(mode="after")
    def _grid_or_search(self) -> SweepConfig:
        if bool(self.grid) == (self.search is not None):
            raise ValueError("expected [grid] or [search], got " + ("both" if self.grid else "neither"))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: expected different numbers, got one twice")
        return self


class Job(NamedTuple):
    """One run: its folder, and everything that a worker on another machine needs to make it."""

    name: str
    point: int
    folder: str
    config: str
    settings: tuple[str, ...]
    chip: str
    samples: int


def read_sweep(path: Path) -> SweepConfig:
    """Read a sweep file and check every point of its grid. Raises ConfigError for the first bad one."""
    tables = read_toml(path, f"sweep {path}")
    try:
        config = SweepConfig.model_validate(tables)
    except ValidationError as error:
        raise ConfigError([f"sweep {path}: {problem}" for problem in explain(error, SweepConfig)]) from None
    beside = path.parent / config.config
    config = config.model_copy(update={"config": str(beside) if beside.is_file() else config.config})
    points = grid_points(config) if config.grid else [example_point(config)]
    for point in points:
        try:
            load_config(config.config, settings_of(config, point, config.seeds[0]))
        except ConfigError as error:
            raise ConfigError([f"sweep {path}: {label(point)}: {error}"]) from None
    return config


def grid_points(config: SweepConfig) -> list[dict[str, Any]]:
    """Return every combination of the grid's values, the last key varying fastest."""
    return [dict(zip(config.grid, values, strict=True)) for values in itertools.product(*config.grid.values())]


def example_point(config: SweepConfig) -> dict[str, Any]:
    """Return one point of a search, for a check of its keys before the first run."""
    assert config.search is not None
    return {
        key: values.choices[0] if values.choices else int(values.low or 0) if values.integer else values.low
        for key, values in config.search.space.items()
    }


def settings_of(config: SweepConfig, point: Mapping[str, Any], seed: int) -> tuple[str, ...]:
    """Return the settings of a run, as `sdsnn train --set` takes them; JSON's values are TOML's."""
    return (*config.settings, *(f"{key}={json.dumps(value)}" for key, value in point.items()), f"seed={seed}")


def label(point: Mapping[str, Any]) -> str:
    """Return a point in words: 'development.target_sparsity=0.9, threads=1'."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in point.items())


def jobs_of(config: SweepConfig, out: Path, number: int, point: Mapping[str, Any]) -> list[Job]:
    """Return the runs of a point, one for each seed."""
    return [
        Job(
            f"{number:03d}-seed{seed}",
            number,
            str((out / f"{number:03d}-seed{seed}").resolve()),
            config.config,
            settings_of(config, point, seed),
            config.chip,
            config.samples,
        )
        for seed in config.seeds
    ]
