"""A small network with spikes and labels."""

from __future__ import annotations

import numpy as np
import pytest

from sdsnn_core.network import Input, Network, Output, Population, Synapses

SHAPE, CLASSES, STEPS = (2, 4, 3), 3, 9


@pytest.fixture
def network() -> Network:
    weight = np.random.default_rng(0).integers(-60, 120, (CLASSES, 24)) * 2
    nodes = {"input": Input(SHAPE), "pop": Population((CLASSES,), 1024, 410, 300), "output": Output("pop")}
    return Network(nodes, {"wire": Synapses.from_dense("input", "pop", weight)})


@pytest.fixture
def spikes() -> np.ndarray:
    result = (np.random.default_rng(1).random((7, STEPS, *SHAPE)) < 0.2).astype(np.uint8)
    result[:, 0, 0, 0, 0] = 1  # the time of recordings counts from their first event: at 0
    return result


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([0, 1, 2, 2, 1, 0, 1])
