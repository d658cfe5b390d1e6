"""What docs/results.md compares: studies (a data set and a recipe), their rows, and the seeds of each row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .rows import (
    ADAPTIVE,
    ALONE,
    CONSTRAINED,
    CRITERIA,
    DENSE,
    DEVELOPED,
    GREY,
    GROWTH,
    HALF,
    LITERAL,
    OVERPRUNED,
    PER_CLASS,
    PER_CLASS_256,
    PLAIN_IMAGES,
    REPAIRED,
    SACCADES,
    SMALL_CHIP,
    SOFT,
    SPARSER,
    SPEAKERS,
    UNITS,
    Keys,
    bits,
    clipped,
    conv_layers,
    fitted,
    folds,
    small_conv_layers,
    stage,
)

USES = ("teacher", "init")
"""Keys of rows that name an earlier run."""


class Run(NamedTuple):
    """One training. earlier: (use, run) of runs that must have ended before: a teacher, or init, where it begins."""

    study: str
    row: str
    seed: int
    recipe: str
    overrides: tuple[str, ...]
    earlier: tuple[tuple[str, Run], ...] = ()

    @property
    def key(self) -> tuple[str, str, int, tuple[str, ...]]:
        """What makes a finished run this one."""
        return self.study, self.row, self.seed, self.overrides

    @property
    def title(self) -> str:
        """Its name in a list, in a pattern and as an earlier run."""
        return f"{self.study}/{self.row}/{self.seed}"

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return re.sub("[^A-Za-z0-9.]+", "-", f"{self.study}-{self.row}-seed{self.seed}")


class Study(NamedTuple):
    """A recipe and what its rows change.

    Attributes:
        recipe: name of a shipped recipe.
        keys: what all rows change.
        rows: title -> keys. The keys `teacher` and `init` name an earlier run, from which a row distils or with whose
            weights it begins: a row of this study, with the same seed, or "study/row/seed".
        seeds: of every row.
        splits: keys of a cross-validation, which has a run of every row for each; its seed is the place of the split.
    """

    recipe: str
    keys: Keys
    rows: Mapping[str, Keys]
    seeds: Sequence[int] = (0, 1, 2)
    splits: Sequence[Keys] = ()


def compressed(
    recipe: str, rate: str, keys: Keys | None = None, *, epochs: int | None = None, splits: Sequence[Keys] = ()
) -> Study:
    """Return a study of mode adaptive: a dense training, then as many epochs without a target from its weights.

    rate: learning rate of the second training, a tenth of the recipe's.
    epochs: of one more row, which trains longer.
    """
    rows = {"adaptive": {**ADAPTIVE, "init": "dense", "optimiser.learning_rate": rate, "synapse_end": "0.85"}}
    if epochs:
        rows[f"adaptive, {epochs} epochs"] = {**rows["adaptive"], "optimiser.epochs": str(epochs)}
    return Study(recipe, keys or {}, {"dense": DENSE, **rows}, splits=splits)


CONTAINERS: Keys = {"data.name": "ev_containers", "data.n_steps": "163"}
THIRTY: Keys = {"optimiser.epochs": "30", "threads": "1"}
ONE_LAYER: Keys = {"model.hidden": "[800]", "optimiser.epochs": "8", **PLAIN_IMAGES, "threads": "1"}
DEFORMED: Keys = {"model.hidden": "[800]", "optimiser.epochs": "24", "threads": "1"}
BY_SPEAKER = [{"data.held_out": f'["{speaker}"]'} for speaker in SPEAKERS]

STUDIES: dict[str, Study] = {
    "digits": Study(
        "digits", {},
        {
            "dense": DENSE,
            "small dense, 9,000": {**DENSE, "model.hidden": "[80,46]"},
            "magnitude stage, 90 %": stage(0.9),
            "units": UNITS,
            **REPAIRED,
            "units, literal": {**LITERAL, "pruning_gain": "1.0"},
        },
    ),
    "ev_objects": Study(
        "ev_objects", {},
        {
            "dense": DENSE,
            "small dense, 4,000": {**DENSE, "model.hidden": "[36]"},
            "small dense, 12,000": {**DENSE, "model.hidden": "[105]"},
            "magnitude stage, 90 %": stage(0.9),
            **REPAIRED,
            "units, at least 43 % kept": {**OVERPRUNED, "min_kept": "0.43"},
        },
    ),
    "ev_objects criteria": Study(
        "ev_objects", {}, {f"over-pruned by {name}": {**OVERPRUNED, "unit_criterion": name} for name in CRITERIA},
    ),
    "ev_objects ranges": Study("ev_objects", {}, CONSTRAINED),
    "digits ranges": Study("digits", {}, CONSTRAINED),
    "ev_objects growth": Study(
        "ev_objects", {}, {f"stage, 90 %, growth {name}": stage(0.9, synapse_growth=name) for name in GROWTH},
    ),
    "digits bits": Study(
        "digits", {},
        {
            "3 bits": bits(3),
            "3 bits, ranges from the 0.9 quantile": bits(3, **clipped(0.9)),
            "2 bits": bits(2),
            "2 bits, ranges from the 0.9 quantile": bits(2, **clipped(0.9)),
        },
    ),
    "nmnist folds": Study(
        "nmnist_mlp",
        THIRTY,
        {"dense": DENSE, "magnitude stage, 90 %": stage(0.9)},
        splits=folds(11),
    ),
    "mnist saccades": Study(
        "nmnist_mlp",
        {
            "data.name": "mnist_saccades",
            "data.images": "[1000,13000]",  # recordings of the first 1,000 are in the test splits of N-MNIST's folds
            "optimiser.epochs": "2",
            "threads": "1",
        },
        {"dense": DENSE},
        seeds=(0,),
    ),
    "nmnist saccades": Study(
        "nmnist_mlp",
        THIRTY,
        {
            "saccades first, dense": {**DENSE, "init": SACCADES},
            "saccades first, magnitude stage, 90 %": {**stage(0.9), "init": SACCADES},
        },
        splits=folds(11),
    ),
    "mnist_fc": Study(
        "mnist_mlp",
        ONE_LAYER,
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
    "mnist_fc widths": Study(
        "mnist_mlp",
        {"optimiser.epochs": "8", **PLAIN_IMAGES, "threads": "1"},
        {
            f"wide {width:,}, {synapses:,}": {
                **stage(round(1 - synapses / (width * 794), 5)),
                "model.hidden": f"[{width}]",
            }
            for width in (2048, 6144)
            for synapses in (14_000, 50_000, 150_000)
        },
    ),
    "mnist_fc longer": Study(
        "mnist_mlp",
        DEFORMED,
        {
            "dense": DENSE,
            "14,000": stage(0.9777),
        },
    ),
    "mnist_fc tries": Study(
        "mnist_mlp",
        DEFORMED,
        {
            "14,000, distilled": {**stage(0.9777), "teacher": "mnist_fc longer/dense/0", **SOFT},
            "14,000, 10 neurons per class": {**stage(0.9802), **PER_CLASS},
            "14,000, plain pictures": {**stage(0.9777), **PLAIN_IMAGES},
        },
        seeds=(0,),
    ),
    "chip mnist_fc": Study(
        "mnist_mlp",
        {**ONE_LAYER, "optimiser.epochs": "5"},
        {
            **fitted("loihi2", 0.92, units=True, stop_cores="1"),
            **fitted("loihi2", 0.97, units=True, stop_busiest="2000"),
            **fitted("loihi2", 0.95, units=True, stop_energy="1.2e-7"),
        },
    ),
    "chip nmnist": Study(
        "nmnist_mlp",
        THIRTY,
        {
            **fitted("loihi2", 0.85, units=True, stop_cores="2"),
            **fitted("loihi2", 0.95, units=True, stop_busiest="2000"),
            **fitted("loihi2", 0.9, units=True, stop_energy="1e-7"),
        },
    ),
    "chip mnist_conv": Study(
        "mnist_conv",
        {
            "model.layers": small_conv_layers(512),
            "optimiser.epochs": "4",
            **PLAIN_IMAGES,
            "threads": "1",
        },
        {
            **fitted("loihi2", 0.8, units=True, stop_cores="1"),
            f"44,000 synapses, as in cores 1 per cost: {ALONE}": stage(0.9273),
            **fitted("loihi2", 0.9, units=True, stop_busiest="8000"),
            **fitted("loihi2", 0.9, units=True, stop_energy="2.5e-7"),
        },
    ),
    "chip mnist_conv neurons": Study(
        "mnist_conv",
        {
            "model.layers": small_conv_layers(64),
            "optimiser.epochs": "4",
            **PLAIN_IMAGES,
            "threads": "1",
        },
        fitted("loihi1", 0.8, stop_cores="2"),
    ),
    "chip digits": Study(
        "digits",
        {"optimiser.epochs": "16", "threads": "1"},
        {
            **{k: v for n in ("3", "2", "5") for k, v in fitted(SMALL_CHIP, 0.9, stop_cores=n).items()},
            **{k: v for n in ("300", "150", "600") for k, v in fitted(SMALL_CHIP, 0.9, stop_busiest=n).items()},
            **{k: v for n in ("2e-8", "1e-8", "4e-8") for k, v in fitted(SMALL_CHIP, 0.9, stop_energy=n).items()},
            **fitted(SMALL_CHIP, 0.9, stop_time="2e-6"),
        },
    ),
    "chip digits conv": Study(
        "mnist_conv",
        {
            "data.name": "study.digit_images:digit_images",
            "data.shift": "0",
            **PLAIN_IMAGES,
            "model.layers": '[{kind="conv",out=12,kernel=3,padding=1},{kind="conv",out=24,kernel=3,stride=2,padding=1},'
            '{kind="dense",out=64}]',
            "optimiser.batch_size": "32",
            "optimiser.epochs": "12",
            "threads": "1",
        },
        fitted(SMALL_CHIP, 0.8, stop_cores="7"),
    ),
    "mnist_mlp": Study("mnist_mlp", {}, {"dense": DENSE, "magnitude stage, 98 % (recipe)": {}}),
    "mnist_conv": Study(
        "mnist_conv",
        {"optimiser.epochs": "10", "threads": "1"},
        {
            "dense": DENSE,
            "magnitude stage, 80 % (recipe)": {},
            "units, at least half kept": HALF,
            "units, literal": {**LITERAL, "protect_first": "false"},
        },
    ),
    "mnist_conv structure": Study(
        "mnist_conv",
        {
            "data.name": "study.mnist_part:mnist_part",
            "data.shift": "0",
            **PLAIN_IMAGES,
            "model.layers": small_conv_layers(64),
            "optimiser.epochs": "12",
            "optimiser.batch_size": "64",
            "protect_first": "false",
            "threads": "1",
        },
        {
            "dense": DENSE,
            **REPAIRED,
            "units, at least 76 % kept": {**OVERPRUNED, "min_kept": "0.76"},
            **{row: CONSTRAINED[row] for row in CONSTRAINED if row.startswith("units")},
        },
    ),
    "mnist_conv ways": Study(
        "mnist_conv",
        {"optimiser.epochs": "4", "threads": "1"},
        {
            "dense": DENSE,
            "recipe": {},
            # the drive of grey levels is 15 times that of spikes
            "direct": {**GREY, "model.layers": conv_layers(threshold=15.0)},
            "10 neurons per class": PER_CLASS,
            "distilled": {"teacher": "dense", **SOFT},
            "half the channels, pools": {"model.layers": conv_layers(16, 32, pools=True)},
        },
        seeds=(0,),
    ),
    "mnist_conv tries": Study(
        "mnist_conv",
        {"threads": "1"},
        {"units, at least half kept": HALF, "10 per class, 256 hidden units": PER_CLASS_256},
        seeds=(0,),
    ),
    "mnist_conv longer": Study(
        "mnist_conv",
        {"threads": "1"},
        {
            "10 neurons per class": PER_CLASS,
            "10 per class, then 6 epochs on plain pictures": {
                **PER_CLASS,
                **PLAIN_IMAGES,
                "init": "10 neurons per class",
                "optimiser.epochs": "6",
                "optimiser.learning_rate": "5e-4",
                "synapse_begin": "0.0",
                "synapse_turnover": "0.0",
            },
            "10 per class, 256 hidden units, 59,400 digits": {
                **PER_CLASS_256,
                "data.validation_fraction": "0.01",  # the others train on 55,200
            },
        },
    ),
    "nmnist_conv": Study("nmnist_conv", {}, {"dense": DENSE, "magnitude stage, 90 % (recipe)": {}}),
    **{
        f"task {recipe}": Study(recipe, {}, {**DEVELOPED, **SPARSER})
        for recipe in ("power_forecast", "braille", "ecg_qtdb")
    },
    "task fsdd": Study("fsdd", {}, DEVELOPED),
    "fsdd speakers": Study(
        "fsdd",
        {},
        {"dense": DENSE, **SPARSER},
        splits=BY_SPEAKER,
    ),
    "adaptive digits": compressed("digits", "5e-4"),
    "adaptive ev_objects": compressed("ev_objects", "3e-4"),
    "adaptive ev_containers": compressed("ev_objects", "3e-4", CONTAINERS),
    "adaptive braille": compressed("braille", "3e-4"),
    "adaptive ecg_qtdb": compressed("ecg_qtdb", "5e-4"),
    "adaptive mnist_fc": compressed("mnist_mlp", "4e-4", ONE_LAYER, epochs=24),
    "adaptive fsdd speakers": compressed("fsdd", "3e-4", splits=BY_SPEAKER),
    "adaptive nmnist": compressed("nmnist_mlp", "1e-4", THIRTY),
}  # fmt: skip


def planned() -> Iterator[Run]:
    """Yield every run, all seeds of a study before the next study."""
    runs: dict[str, Run] = {}
    for name, study in STUDIES.items():
        for seed in range(len(study.splits)) or study.seeds:
            split = study.splits[seed] if study.splits else {}
            for row, keys in study.rows.items():
                items = {**study.keys, **keys, **split, "seed": str(seed)}
                names = {use: items.pop(use) for use in USES if use in items}
                earlier = {use: title if "/" in title else f"{name}/{title}/{seed}" for use, title in names.items()}
                changes = [
                    f"{k if '.' in k or k in ('threads', 'seed') else f'development.{k}'}={v}" for k, v in items.items()
                ]
                run = Run(
                    name,
                    row,
                    seed,
                    study.recipe,
                    tuple(changes),
                    tuple((use, runs[key]) for use, key in earlier.items()),
                )
                runs[run.title] = run
                yield run
