"""What the rows of docs/results.md change in a recipe: keys that several studies share, and what makes them."""

from __future__ import annotations

from collections.abc import Mapping

Keys = Mapping[str, str]
"""Keys of the configuration and their values; of [development] where no section is named."""

DENSE: Keys = {"constraint": "false", "pruning": "false", "regeneration": "false", "synapse_stage": "false"}


def folds(count: int) -> list[Keys]:
    """Return keys of a cross-validation in so many folds."""
    return [{"data.folds": str(count), "data.fold": str(fold)} for fold in range(count)]


def stage(target: float, **keys: str) -> Keys:
    """Return keys of the magnitude stage alone, sparse early."""
    early = {"synapse_begin": "0.0", "synapse_end": "0.75", "synapse_exponent": "8.0"}
    return {**DENSE, "synapse_stage": "true", "synapse_target": str(target), **early, **keys}


UNITS: Keys = {"constraint": "true", "pruning": "true", "regeneration": "false", "synapse_stage": "false"}
OVERPRUNED: Keys = {**UNITS, "pruning_gain": "15.0"}
REPAIR: Keys = {
    "regeneration": "true",
    "regeneration_rule": "units",
    "regeneration_when": "validation",
    "regeneration_margin": "0.5",
    "alive_fraction_dense": "0.05",
}
ADAPTIVE: Keys = {**DENSE, "mode": "adaptive"}
LITERAL: Keys = {**UNITS, "regeneration": "true", "mode": "literal", "optimiser.weight_decay": "0.01"}
CRITERIA = ("magnitude", "activity", "dpap", "random", "inverse")
GROWTH = ("signed", "random")


def bits(n: int, **keys: str) -> Keys:
    """Return keys of a dense network with weights of n bits."""
    return {**DENSE, "model.weight_bits": str(n), **keys}


def clipped(quantile: float) -> Keys:
    """Return keys of ranges that serve the quantiser: they begin at a quantile of abs(w)."""
    return {"constraint": "true", "range_quantile": str(quantile)}


TRUST: Keys = {"constraint": "true", "range_rule": "trust", "range_quantile": "0.1"}
CONSTRAINED: dict[str, Keys] = {
    "units, over-pruned, no constraint": {**OVERPRUNED, "constraint": "false"},
    "units, over-pruned, trust regions": {**OVERPRUNED, **TRUST},
    "dense, trust regions": {**DENSE, **TRUST},
}


ALONE = "magnitude alone"
SPINES = "units, then magnitude"
SMALL_CHIP = "benchmarks/study/small_chip.toml"  # from the root of the repository


def fitted(chip: str, target: float, *, units: bool = False, **limits: str) -> dict[str, Keys]:
    """Return rows of the stage that ends within limits of a chip: chosen by cost, and by abs(w) alone.

    target: share at which the search for the number of synapses begins. units: a third row, in which spine ranges
    constrain and units are pruned before the stage, and it chooses by abs(w) alone.
    """
    title = ", ".join(f"{name.removeprefix('stop_')} {value}" for name, value in limits.items())
    keys = stage(target, chip=f'"{chip}"', **limits)
    blind = {**keys, "synapse_cost": '"none"'}
    rows: dict[str, Keys] = {f"{title}: per cost": keys, f"{title}: {ALONE}": blind}
    pruned = {**blind, "constraint": "true", "pruning": "true", "protect_first": "false"}
    return rows | ({f"{title}: {SPINES}": pruned} if units else {})


REPAIRED: dict[str, Keys] = {
    "units, over-pruned": OVERPRUNED,
    "units, over-pruned, synapses regenerate": {**OVERPRUNED, "regeneration": "true"},
    "units, over-pruned, units regenerate": {**OVERPRUNED, **REPAIR},
}
DEVELOPED: dict[str, Keys] = {"dense": DENSE, "developed": {}}


def conv_layers(
    first: int = 32, second: int = 64, dense: int = 128, *, pools: bool = False, threshold: float = 1.0
) -> str:
    """Return the layers of mnist_conv with other sizes, a threshold of the first, pools instead of strides."""
    stride, pool = (1, '{kind="pool",kernel=2},') if pools else (2, "")
    layers = (
        f'{{kind="conv",out={first},kernel=5,stride={stride},padding=2,neuron={{threshold={threshold}}}}},{pool}',
        f'{{kind="conv",out={second},kernel=3,stride={stride},padding=1}},{pool}',
        f'{{kind="dense",out={dense}}}',
    )
    return f"[{''.join(layers)}]"


def small_conv_layers(units: int) -> str:
    """Return the layers of a smaller network of MNIST, with so many units behind the convolutions."""
    first = '{kind="conv",out=12,kernel=5,stride=2,padding=2}'
    second = '{kind="conv",out=24,kernel=3,stride=2,padding=1}'
    return f'[{first},{second},{{kind="dense",out={units}}}]'


GREY: Keys = {"data.coding": "direct", "data.levels": "15"}
SOFT: Keys = {"optimiser.teacher_temperature": "4.0"}  # logits of 12 steps differ by up to 18
PER_CLASS: Keys = {"model.outputs_per_class": "10"}
PER_CLASS_256: Keys = {**PER_CLASS, "model.layers": conv_layers(dense=256)}
HALF: Keys = {**OVERPRUNED, "min_kept": "0.5", "protect_first": "false"}
SACCADES = "mnist saccades/dense/0"
SPARSER: dict[str, Keys] = {"90 % absent": {"synapse_target": "0.9"}}
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
PLAIN_IMAGES: Keys = {"data.elastic": "0.0", "data.rotate": "0.0", "data.zoom": "0.0"}
