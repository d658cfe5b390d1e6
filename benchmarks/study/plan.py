"""What docs/results.md compares: studies (a data set and a recipe), their rows, and the seeds of each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

Keys = Mapping[str, str]
"""Keys of the configuration and their values; of [development] where no section is named."""


class Run(NamedTuple):
    """One training."""

    study: str
    row: str
    seed: int
    recipe: str
    overrides: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, int, tuple[str, ...]]:
        """What makes a finished run this one."""
        return self.study, self.row, self.seed, self.overrides


class Study(NamedTuple):
    """A recipe and what its rows change.

    Attributes:
        recipe: name of a shipped recipe.
        keys: what all rows change.
        rows: title -> keys.
        seeds: of every row.
    """

    recipe: str
    keys: Keys
    rows: Mapping[str, Keys]
    seeds: Sequence[int] = (0, 1, 2)


DENSE: Keys = {"constraint": "false", "pruning": "false", "regeneration": "false", "synapse_stage": "false"}


def stage(target: float, **keys: str) -> Keys:
    """Return keys of the magnitude stage alone, sparse early."""
    early = {"synapse_begin": "0.0", "synapse_end": "0.75", "synapse_exponent": "8.0"}
    return {**DENSE, "synapse_stage": "true", "synapse_target": str(target), **early, **keys}


PLAIN_IMAGES: Keys = {"data.elastic": "0.0", "data.rotate": "0.0", "data.zoom": "0.0"}
UNITS: Keys = {"constraint": "true", "pruning": "true", "regeneration": "false", "synapse_stage": "false"}
OVERPRUNED: Keys = {**UNITS, "pruning_gain": "15.0"}

STUDIES: dict[str, Study] = {
    "digits": Study(
        "digits", {},
        {
            "dense": DENSE,
            "magnitude stage, 90 %": stage(0.9),
            "units": UNITS,
            "units, over-pruned": OVERPRUNED,
            "units, over-pruned, synapses regenerate": {**OVERPRUNED, "regeneration": "true"},
        },
    ),
    "mnist_fc": Study(
        "mnist_mlp",
        {"model.hidden": "[800]", "optimiser.epochs": "8", **PLAIN_IMAGES, "threads": "1"},
        {
            "dense": DENSE,
            "small dense, 14,000": {**DENSE, "model.hidden": "[18]"},
            "small dense, 50,000": {**DENSE, "model.hidden": "[64]"},
            "small dense, 150,000": {**DENSE, "model.hidden": "[190]"},
            "magnitude stage, 14,000": stage(0.9777),
            "magnitude stage, 50,000": stage(0.9204),
            "magnitude stage, 150,000": stage(0.7622),
        },
    ),
}  # fmt: skip


def planned() -> Iterator[Run]:
    """Yield every run, all seeds of a study before the next study."""
    for name, study in STUDIES.items():
        for seed in study.seeds:
            for row, keys in study.rows.items():
                items = {**study.keys, **keys, "seed": str(seed)}.items()
                changes = [f"{k if '.' in k or k in ('threads', 'seed') else f'development.{k}'}={v}" for k, v in items]
                yield Run(name, row, seed, study.recipe, tuple(changes))
