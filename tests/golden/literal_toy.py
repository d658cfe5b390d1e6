"""The toy network whose development the authors' released class recorded: shapes, and how its weights learn."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

SHAPES = {"conv0": (40, 3, 3, 3), "conv1": (24, 40, 3, 3), "dense": (12, 96)}
PERSISTENCE, EPOCHS, SEED = 18, 80, 36
Weights = npt.NDArray[np.float32]


class Learning:
    """Training without data: each weight moves towards an aim of its own, which fades or grows from epoch to epoch."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        self.start = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in SHAPES.items()}
        self.aim = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}
        self.drift = {name: rng.normal(0, 0.01, shape).astype(np.float32) for name, shape in SHAPES.items()}

    def step(self, name: str, weight: Weights, epoch: int) -> Weights:
        """Return the weights of a layer after one more epoch of training."""
        rng = np.random.default_rng([SEED, epoch, len(name) + ord(name[-1])])
        noise = rng.normal(0, 0.002, weight.shape) * (rng.random(weight.shape) < 0.2)
        aim = self.aim[name] * (1 + self.drift[name]) ** epoch
        return (np.float32(0.3) * weight + np.float32(0.7) * aim + noise).astype(np.float32)


def digest(mask: Any) -> str:
    """Return a short hash of a mask."""
    return hashlib.sha256(np.packbits(np.asarray(mask, dtype=bool).reshape(-1)).tobytes()).hexdigest()[:16]
