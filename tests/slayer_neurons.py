"""Random chains of SLAYER's blocks with other neurons than CUBA: adaptive, resonating, sigma-delta."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from slayer_models import draw_neuron

from sdsnn_core.lava.compat import import_slayer

Rng = np.random.Generator
RESONATING = ("rf", "rf_iz")
SPIKING = ("cuba", "alif", *RESONATING)


def draw_params(rng: Rng, room: str) -> dict[str, Any]:
    """Draw parameters of a neuron of one of SLAYER's rooms of blocks, over the whole range."""
    threshold = float(rng.choice([1 / 64, 0.3, 1.0, 2.03, rng.uniform(0.02, 8)]))
    if room == "cuba":
        return draw_neuron(rng, per_neuron=False)
    if room == "alif":
        names = ("current_decay", "voltage_decay", "threshold_decay", "refractory_decay")
        decays = {name: float(rng.choice([0.0, 1.0, 0.03, rng.random()])) for name in names}
        decays["voltage_decay"] = max(decays["voltage_decay"], 0.01)
        step = float(rng.choice([0.0, 0.5, rng.uniform(0, 8)]))
        if rng.random() < 0.3:
            each = {name: sorted((value, float(rng.random()))) for name, value in decays.items()}
            return {"threshold": threshold, "threshold_step": step, "shared_param": False, **each}
        return {"threshold": threshold, "threshold_step": step, **decays}
    if room in RESONATING:
        params = {"threshold": threshold, "period": float(rng.uniform(4, 60)), "decay": float(rng.uniform(0.001, 0.5))}
        if rng.random() < 0.3:
            return {**params, "shared_param": False, "period": (4.0, 60.0), "decay": (0.01, 0.5)}
        return params
    activation = torch.relu if rng.random() < 0.7 else torch.nn.Identity()
    shared = bool(rng.random() < 0.7)
    more: dict[str, Any] = {"shared_param": shared}
    if rng.random() < 0.3:
        more["norm"] = import_slayer().neuron.norm.MeanOnlyBatchNorm
    return {"threshold": threshold, "activation": activation, **more}


def _shared(params: dict[str, Any], room: str) -> dict[str, Any]:
    """Return parameters for an image: SLAYER's CPU path has one decay for all its channels."""
    if room == "sigma_delta" or params.get("shared_param", True):
        return params
    return {key: np.mean(value) if isinstance(value, (tuple, list)) else value
            for key, value in params.items() if key != "shared_param"}  # fmt: skip


def draw_chain(rng: Rng, *, graded: bool = False) -> tuple[list[Any], tuple[int, ...]]:
    """Draw blocks, and the shape of their input. graded: sigma-delta blocks; else spiking ones of all rooms."""
    rooms, slayer = import_slayer().block, import_slayer()

    def room() -> str:
        return "sigma_delta" if graded else str(rng.choice(SPIKING))

    names = [room() for _ in range(5)]
    blocks: list[Any] = []
    shape: tuple[int, ...] = (int(rng.integers(3, 16)),)
    image = rng.random() < 0.5
    if image:
        shape = (2, int(rng.integers(4, 8)), int(rng.integers(4, 8)))
    if rng.random() < 0.4:
        first = str(rng.choice(["cuba", "alif"])) if not graded else "sigma_delta"
        params = {key: value for key, value in _shared(draw_params(rng, first), first).items() if key != "norm"}
        if first == "cuba":
            params["voltage_decay"] = 0.25
        weight = float(rng.choice([0.4, 1.0, -1.2, 3.0]))
        blocks.append(getattr(rooms, first).Input(params, weight=weight))
    sample = torch.zeros(1, *shape, 2)

    def put(block: Any) -> None:
        nonlocal sample
        blocks.append(block)
        with torch.no_grad():
            sample = block(sample)

    if blocks:
        sample = blocks[0](sample).detach()
    scale, end = 1.0 if graded else 3.0, int(rng.integers(3, 6))

    def late(following: int) -> bool:  # nothing that reaches a resonator may be late
        return bool(rng.random() < 0.5) and following < end and names[following] not in RESONATING

    if image:
        kinds, pool = getattr(rooms, names[0]), bool(rng.random() < 0.6)
        layer = str(rng.choice(["Conv", "ConvT"]))
        more = {"stride": int(rng.integers(1, 3)), "padding": 1, "groups": int(rng.choice([1, 2]))}
        params = _shared(draw_params(rng, names[0]), names[0])
        put(getattr(kinds, layer)(params, 2, 4, 3, **more, weight_scale=scale, delay=late(1 if pool else 2)))
        if pool:
            kinds, layer = getattr(rooms, names[1]), str(rng.choice(["Pool", "Unpool"]))
            params = _shared(draw_params(rng, names[1]), names[1])
            put(getattr(kinds, layer)(params, 2, weight_scale=1.1, delay=late(2)))
        put(rooms.cuba.Flatten())
    size = sample.shape[1]
    for number in range(2, end):
        name, kinds = names[number], getattr(rooms, names[number])
        out = int(rng.integers(3, 16))
        if name in ("cuba", "alif") and rng.random() < 0.3:
            put(kinds.Recurrent(draw_params(rng, name), size, out, weight_scale=scale))
        else:
            more = {"delay_shift": True} if graded and rng.random() < 0.3 else {}
            put(kinds.Dense(draw_params(rng, name), size, out, weight_scale=scale, delay=late(number + 1), **more))
        size = out
    if graded and rng.random() < 0.6:
        put(rooms.sigma_delta.Output({"threshold": 1.0, "activation": torch.relu}, size, int(rng.integers(1, 6))))
    for block in blocks:
        _settle(rng, block, slayer)
    return blocks, shape


def _settle(rng: Rng, block: Any, slayer: Any) -> None:
    """Draw whole delays, thresholds of channels, and biases below the threshold."""
    block.eval()
    if getattr(block, "delay", None) is not None:
        block.delay.delay.data *= float(rng.integers(1, 20))
    neuron = getattr(block, "neuron", None)
    if not isinstance(neuron, slayer.neuron.sigma_delta.Neuron):
        return
    if not neuron.delta.shared_param:
        units = torch.from_numpy(rng.integers(1, 400, tuple(neuron.delta.threshold.shape)))
        neuron.delta.threshold.data = units.float() / 4096
    if neuron.norm is not None:
        limit = float(neuron.delta.threshold.detach().min()) * 0.9
        mean = rng.uniform(-limit, limit, tuple(neuron.norm.running_mean.shape))
        neuron.norm.running_mean = torch.from_numpy(np.trunc(mean * 32) / 32).float()
