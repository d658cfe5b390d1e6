"""Small networks whose structure develops, an epoch a step, for the tests of development."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch

from sdsnn.train.development.layer_graph import LayerGraph
from sdsnn.train.development.literal import developer_for
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.lava.compat import import_slayer

NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.5, "scale_grad": 1.0}
OFF = {"constraint": False, "pruning": False, "regeneration": False}
EPOCHS = 16


def chain_graph(n_layers: int) -> LayerGraph:
    """Return the graph in which each layer feeds the next one directly."""
    edges = [(i, i + 1) for i in range(n_layers - 1)]
    return LayerGraph((*((target,) for _, target in edges), ()), frozenset(edges), frozenset({n_layers - 1}))


def blocks_of(kind: str, norm: bool) -> tuple[list[Any], tuple[int, ...]]:
    cuba = import_slayer().block.cuba
    if kind == "conv":
        made: list[Any] = [
            cuba.Conv(dict(NEURON), 2, 6, 3, padding=1, weight_scale=3, weight_norm=norm),
            cuba.Pool(dict(NEURON), 2, weight_scale=2),
            cuba.Conv(dict(NEURON), 6, 10, 3, stride=2, groups=2, weight_scale=4, weight_norm=norm),
            cuba.Flatten(),
            cuba.Dense(dict(NEURON), 10, 12, weight_scale=4, weight_norm=norm),
        ]
        shape: tuple[int, ...] = (2, 8, 8)
    else:
        first = cuba.Recurrent if kind == "recurrent" else cuba.Dense
        made = [first(dict(NEURON), 14, 20, weight_scale=4, weight_norm=norm)]
        made.append(cuba.Dense(dict(NEURON), 20, 12, weight_scale=4, weight_norm=norm))
        shape = (14,)
    made.append(cuba.Dense(dict(NEURON), 12, 3, weight_scale=4, weight_norm=norm))
    return made, shape


class Run:
    """A small network in training: one step of the optimiser is an epoch."""

    def __init__(self, kind: str = "dense", norm: bool = False, develops: bool = True, **keys: Any) -> None:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*weight_norm")
            blocks, shape = blocks_of(kind, norm)
        self.model = torch.nn.Sequential(*blocks)
        self.x = (torch.rand(6, *shape, 12) < 0.5).float()
        self.labels = torch.tensor([0, 1, 2, 0, 1, 2])
        with torch.no_grad():
            self.model(self.x)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        config = DevelopmentConfig(**{"persistence": 1, "protect_first": False, **keys})
        self.developer = developer_for(self.model, self.x[:1], EPOCHS, config) if develops else None
        self.records: list[list[dict[str, Any]]] = []
        self.masks: list[list[torch.Tensor]] = []

    def go(self, until: int = EPOCHS, accuracy: float | None = None) -> Run:
        for _ in range(len(self.records), until):
            self.learn()
            self.records.append([])
            if self.developer is not None:
                self.records[-1] = self.developer.epoch_end(self.optimiser, accuracy)
                self.masks.append([s.mask.clone() for layer in self.developer.layers for s in layer.synapses])
        return self

    def learn(self) -> None:
        self.model.train()
        reset_state(self.model)
        self.optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(self.model(self.x).sum(-1), self.labels))
        self.optimiser.step()

    def series(self, key: str, layer: int) -> list[Any]:
        return [line[layer].get(key) for line in self.records]

    def total(self, key: str) -> int:
        return sum(record[key] for line in self.records for record in line)

    def state(self) -> dict[str, Any]:
        assert self.developer is not None
        state = {
            "model": {k: v for k, v in self.model.state_dict().items() if not k.endswith("_state")},
            "optimiser": self.optimiser.state_dict(),
            "developer": self.developer.state_dict(),
        }
        return copy.deepcopy(state)

    def load(self, state: dict[str, Any]) -> None:
        assert self.developer is not None
        self.model.load_state_dict(copy.deepcopy(state["model"]), strict=False)
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
        self.developer.load_state_dict(copy.deepcopy(state["developer"]))


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
