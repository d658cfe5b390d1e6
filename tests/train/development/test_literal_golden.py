"""Literal mode against masks that the authors' released class recorded (tests/golden/make_literal_masks.py)."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.development.literal import LiteralDeveloper
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.lava.compat import import_slayer

GOLDEN = Path(__file__).parents[2] / "golden"
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}


def develop(toy: Any, epochs: int) -> list[dict[str, Any]]:
    """Return, for each epoch, what the released class recorded, of a LiteralDeveloper on the same weights."""
    cuba = import_slayer().block.cuba
    blocks = [
        cuba.Conv(dict(NEURON), 3, 40, 3, padding=1),
        cuba.Conv(dict(NEURON), 40, 24, 3, padding=1),
        cuba.Flatten(),
        cuba.Dense(dict(NEURON), 96, 12),
        cuba.Dense(dict(NEURON), 12, 4),
    ]
    config = DevelopmentConfig(mode="literal", persistence=toy.PERSISTENCE)
    developer = LiteralDeveloper(torch.nn.Sequential(*blocks), torch.zeros(1, 3, 2, 2, 1), 600, config)
    learning = toy.Learning()
    synapses = dict(zip(toy.SHAPES, (layer.synapses[0] for layer in developer.layers[:3]), strict=True))
    lines = []
    for epoch in range(epochs):
        for name, synapse in synapses.items():
            now = synapse.float_weight.numpy().reshape(toy.SHAPES[name])
            new = learning.step(name, now if epoch else learning.start[name], epoch)
            synapse.set_weight(torch.from_numpy(new).reshape(synapse.mask.shape))
        developer.epoch_end()
        masks = [synapse.mask.numpy() for synapse in synapses.values()]
        lines.append({
            "masked": [int((~mask).sum()) for mask in masks],
            "digest": [toy.digest(mask) for mask in masks],
            "percent": [state.percent for state in developer._states[:3]],
            "weights": [float(s.float_weight.abs().sum(dtype=torch.float64)) for s in synapses.values()],
        })  # fmt: skip
    return lines


def test_masks_rates_and_weights_are_those_of_the_released_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GOLDEN))
    monkeypatch.setattr(torch, "argsort", functools.partial(torch.argsort, stable=True))  # as in the recording
    import literal_toy

    recorded = json.loads((GOLDEN / "literal_masks.json").read_text())["epochs"]
    ours = develop(literal_toy, len(recorded))
    sys.modules.pop("literal_toy")
    for epoch, (mine, theirs) in enumerate(zip(ours, recorded, strict=True)):
        assert mine["percent"] == pytest.approx(theirs["percent"], abs=1e-9), epoch
        assert mine["masked"] == theirs["masked"], epoch
        assert mine["digest"] == theirs["digest"], epoch
        assert mine["weights"] == pytest.approx(theirs["weights"], rel=1e-6), epoch
    changes = np.diff([line["masked"] for line in recorded], axis=0)
    assert (changes > 0).any(0).all()  # every layer was pruned,
    assert (changes < 0).any(0).all()  # and grew again
