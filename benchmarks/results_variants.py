"""What docs/results.md compares: recipes, and variants of their [development] section."""

from __future__ import annotations

NOTHING = {"constraint": "false", "pruning": "false", "regeneration": "false", "synapse_stage": "false"}
UNITS = {"synapse_stage": "false"}
MECHANISMS = {"pruning": "true", "constraint": "true", "regeneration": "true"}
ALONE = NOTHING | {"synapse_begin": "0.0", "synapse_end": "0.75", "synapse_exponent": "8.0"}


def _synapses(target: float) -> dict[str, str]:
    return {"synapse_stage": "true", "synapse_target": str(target)}


AFTER = {"regeneration": "true", "synapse_begin": "0.35"}  # regeneration has its time before the stage begins


def _convolutions(percent: int) -> dict[str, dict[str, str]]:
    """Return the variants of a convolutional recipe that removes this share."""
    return {
        "dense": NOTHING,
        "units": UNITS | MECHANISMS,
        f"synapse stage {percent} % (recipe)": {},
        f"synapse stage {percent} %, nothing else": ALONE | _synapses(percent / 100),
        "synapse stage 95 %, nothing else": ALONE | _synapses(0.95),
    }


DIGITS: dict[str, dict[str, str]] = {
    "dense": NOTHING,
    "corrected": UNITS | MECHANISMS,
    "corrected, pruning_gain 1": UNITS | MECHANISMS | {"pruning_gain": "1.0"},
    "without constraint": UNITS | MECHANISMS | {"constraint": "false"},
    "without neuron pruning": UNITS | MECHANISMS | {"pruning": "false"},
    "without regeneration": UNITS | MECHANISMS | {"regeneration": "false"},
    "fixed pruning rate": UNITS | MECHANISMS | {"adaptive_pruning_rate": "false"},
    "fixed regeneration rate": UNITS | MECHANISMS | {"adaptive_regeneration_rate": "false"},
    "literal": UNITS | MECHANISMS | {"mode": "literal", "pruning_gain": "1.0"},
    "synapse stage 80 % (recipe)": {},
    "synapse stage 90 %": _synapses(0.9),
    "synapse stage 95 %": _synapses(0.95),
    "synapse stage 80 %, after regeneration": AFTER,
    "synapse stage 90 %, after regeneration": AFTER | _synapses(0.9),
    "synapse stage 95 %, after regeneration": AFTER | _synapses(0.95),
    "synapse stage 90 %, nothing else": ALONE | _synapses(0.9),
    "synapse stage 95 %, nothing else": ALONE | _synapses(0.95),
}
"""Digits runs every mechanism; the keys that differ from the recipe, of [development] where no section is named."""

MNIST_MLP: dict[str, dict[str, str]] = {
    "dense": NOTHING,
    "units": UNITS | MECHANISMS,
    "synapse stage 98 % (recipe)": {},
    "synapse stage 98 %, and units": {"pruning": "true", "constraint": "true"},
}

GRADUAL = {"synapse_begin": "0.15", "synapse_end": "0.7", "synapse_exponent": "3.0", "synapse_scope": "global"}
NMNIST_MLP: dict[str, dict[str, str]] = {
    "dense": NOTHING,
    "units": UNITS | MECHANISMS,
    "synapse stage 90 % (recipe)": {},
    "synapse stage 90 %, gradual, one budget, and units": GRADUAL | MECHANISMS,
}

SUITES: dict[str, dict[str, dict[str, str]]] = {
    "digits": DIGITS,
    "mnist_mlp": MNIST_MLP,
    "mnist_conv": _convolutions(80),
    "nmnist_mlp": NMNIST_MLP,
    "nmnist_conv": _convolutions(90),
}
"""Recipe -> variant -> keys that differ from the recipe."""
