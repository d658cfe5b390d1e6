"""Random chains of SLAYER blocks for differential tests."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from sdsnn_core.lava.compat import import_slayer


def draw_neuron(rng: np.random.Generator, norm: Any = None, *, per_neuron: bool = True) -> dict[str, Any]:
    """Draw SLAYER's neuron parameters. norm: a class of SLAYER's. per_neuron: allow decays of their own for each."""
    params: dict[str, Any] = {
        "threshold": float(rng.choice([0.5, 1.0, 1.25, 2.03, 0.999])),
        "current_decay": float(rng.choice([1, 0.5, 0.25, 0.05, 0.0])),
        "voltage_decay": float(rng.choice([0.9 if norm else 1, 0.5, 0.1, 0.03, 0.0])),  # 1: see the refusals
    }
    if per_neuron and rng.random() < 0.3:
        params = {**params, "shared_param": False, "current_decay": (0.1, 0.9), "voltage_decay": (0.0, 0.5)}
    return {**params, "norm": norm} if norm else params


def draw_blocks(rng: np.random.Generator, *, ends: bool = False) -> tuple[list[Any], tuple[int, ...]]:
    """Draw a chain of blocks: conv, pool and flatten in front of dense and recurrent ones, with delays or biases.

    ends: allow an Input block with neurons in front and an Affine readout at the end.
    """
    slayer = import_slayer()
    cuba = slayer.block.cuba
    biased = rng.random() < 0.4
    norm = slayer.neuron.norm.MeanOnlyBatchNorm if biased else None
    blocks: list[Any] = []

    def delay() -> bool:  # with a bias, SLAYER and the chip part by the delay: not lowered together
        return not biased and bool(rng.random() < 0.5)

    if ends and rng.random() < 0.3:
        forgets = {"current_decay": 1.0} if rng.random() < 0.5 else {}
        bias = float(rng.choice([-0.25, 0.5])) if forgets else None
        neuron = {**draw_neuron(rng, per_neuron=False), "voltage_decay": 0.25, **forgets}
        blocks.append(cuba.Input(neuron, weight=float(rng.choice([0.4, 1.0, -1.2, 3.0])), bias=bias))
    shape: tuple[int, ...] = (int(rng.integers(3, 30)),)
    if rng.random() < 0.5:
        shape = (2, int(rng.integers(6, 10)), int(rng.integers(6, 10)))
        stride, groups = int(rng.integers(1, 3)), int(rng.choice([1, 2]))
        blocks.append(
            cuba.Conv(
                # SLAYER's CPU path broadcasts decays per channel along the last axis: they run on dense blocks only.
                draw_neuron(rng, norm, per_neuron=False),
                2,
                4,
                3,
                stride=stride,
                padding=1,
                groups=groups,
                weight_scale=2,
                delay=delay(),
            )
        )
        if rng.random() < 0.6:
            params = {"threshold": 0.9, "current_decay": 1.0, "voltage_decay": 1.0}
            blocks.append(cuba.Pool(params, 2, weight_scale=1.1, delay=delay()))
        blocks.append(cuba.Flatten())
        sample = torch.zeros(1, *shape, 2)
        with torch.no_grad():
            for block in blocks:
                sample = block(sample)
        size = sample.shape[1]
    else:
        size = shape[0]
    n_dense = int(rng.integers(1, 4))
    for index in range(n_dense):
        out = int(rng.integers(3, 30))
        late = index < n_dense - 1 and delay()
        if rng.random() < 0.25 and not biased:
            blocks.append(cuba.Recurrent(draw_neuron(rng), size, out, weight_scale=2, delay=late))
        else:
            norm_too = bool(rng.random() < 0.5)
            blocks.append(
                cuba.Dense(draw_neuron(rng, norm), size, out, weight_scale=3, weight_norm=norm_too, delay=late)
            )
        size = out
    if ends and rng.random() < 0.3:
        dynamics = bool(rng.random() < 0.7)
        blocks.append(cuba.Affine(draw_neuron(rng), size, int(rng.integers(1, 8)), weight_scale=2, dynamics=dynamics))
    return blocks, shape


def draw_model(rng: np.random.Generator, *, ends: bool = False) -> tuple[list[Any], tuple[int, ...]]:
    """Draw a chain as `draw_blocks` and bring it to life: shapes, running means and whole axonal delays of its own."""
    with warnings.catch_warnings():  # SLAYER still uses the old form of weight normalisation
        warnings.filterwarnings("ignore", message=".*weight_norm")
        blocks, shape = draw_blocks(rng, ends=ends)
        x = torch.from_numpy((rng.random((3, *shape, 20)) < 0.3).astype(np.float32))
        with torch.no_grad():
            for _ in range(2):
                spikes = x
                for block in blocks:
                    spikes = block(spikes)
    for block in blocks:
        block.eval()
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data *= float(rng.integers(1, 20))
    return blocks, shape
