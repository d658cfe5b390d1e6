"""Random modules, legal and not, through `sdsnn train`: a result or one line, never a traceback."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn_core.lava.compat import import_slayer

pytestmark = pytest.mark.filterwarnings("ignore")
Rng = np.random.Generator
SETTINGS = [
    "data.name=made_tasks:label", "data.n_steps=6", "data.noise=0.0", "optimiser.epochs=1", "optimiser.batch_size=48",
    "threads=1",
]  # fmt: skip


def neuron(rng: Rng) -> dict[str, Any]:
    return {
        "threshold": float(rng.choice([0.5, 1, 1.25])), "current_decay": float(rng.choice([1, 0.5, 0])),
        "voltage_decay": float(rng.choice([0.9, 0.1, 0])), "requires_grad": bool(rng.random() < 0.2),
    }  # fmt: skip


def odd_neuron(rng: Rng) -> dict[str, Any]:
    """Return parameters that some blocks refuse, or that lowering does."""
    slayer = import_slayer()
    more: list[dict[str, Any]] = [
        {"threshold": 64.0}, {"threshold": -1.0}, {"graded_spike": True},
        {"voltage_decay": 1.0, "current_decay": 0.0},
        {"norm": slayer.neuron.norm.WgtScaleBatchNorm}, {"norm": slayer.neuron.norm.MeanOnlyBatchNorm},
        {"norm": lambda **_: torch.nn.Identity()}, {"shared_param": False},
        {"dropout": slayer.neuron.dropout.Dropout()}, {"persistent_state": True}, {"scale": 4096},
        {"threshold": float("nan")},
    ]  # fmt: skip
    return {**neuron(rng), **more[rng.integers(len(more))]}


def block(rng: Rng, n_in: int, n_out: int) -> torch.nn.Module:
    """Return a block from n_in to n_out channels, now and then one that has no rule."""
    blocks, params = import_slayer().block, neuron(rng) if rng.random() < 0.88 else odd_neuron(rng)
    alif = {**neuron(rng), "threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1}
    resonator = {"threshold": 1.0, "period": 10, "decay": 0.1}
    kinds: list[Callable[[], Any]] = [
        *[lambda: blocks.cuba.Dense(params, n_in, n_out, weight_scale=3, delay=bool(rng.random() < 0.2))] * 25,
        lambda: blocks.cuba.Recurrent(params, n_in, n_out),
        lambda: blocks.cuba.Affine(params, n_in, n_out),
        lambda: blocks.cuba.KWTA(params, n_in, n_out, 1),
        lambda: blocks.cuba.Dense(params, n_in, n_out, delay_shift=False),
        lambda: blocks.cuba.Dense(params, n_in, n_out, weight_norm=True),
        lambda: blocks.alif.Dense(alif, n_in, n_out),
        lambda: blocks.rf.Dense(resonator, n_in, n_out),
        lambda: blocks.sigma_delta.Dense({"threshold": 0.1, "activation": torch.relu}, n_in, n_out),
    ]
    return kinds[rng.integers(len(kinds))]()


def spoil(rng: Rng, module: torch.nn.Module) -> None:
    """Change a synapse: another quantiser, weights that are no numbers, none at all."""
    synapse: Any = getattr(module, "synapse", None)
    if synapse is None:
        return
    with torch.no_grad():
        kind = rng.integers(6)
        if kind == 0:
            synapse.pre_hook_fx = None
        elif kind == 1:
            synapse.pre_hook_fx = lambda weight, descale=False: weight
        elif kind == 2:
            synapse.pre_hook_fx = lambda weight: (weight * 8).round() / 8
        elif kind == 3:
            synapse.weight.fill_(float("nan"))
        elif kind == 4:
            synapse.weight.zero_()
        else:
            synapse.weight.mul_(1e6)


class Net(torch.nn.Module):
    """Blocks in a row, with something between them and something done to the result."""

    def __init__(self, rng: Rng, n_in: int, n_out: int) -> None:
        super().__init__()
        sizes = [n_in, *rng.integers(2, 9, int(rng.integers(0, 4))).tolist(), n_out]
        if rng.random() < 0.05:
            sizes[-1] += 1
        self.parts = torch.nn.ModuleList(block(rng, a, b) for a, b in itertools.pairwise(sizes))
        if rng.random() < 0.15:
            spoil(rng, self.parts[int(rng.integers(len(self.parts)))])
        self.skip = import_slayer().block.cuba.Dense(neuron(rng), n_in, n_out) if rng.random() < 0.2 else None
        between: list[Callable[[torch.Tensor], Any]] = [
            *[lambda x: x] * 40, torch.nn.Dropout(0.2), torch.relu, torch.nn.BatchNorm1d(3),
            torch.nn.functional.softmax,
            lambda x: x + x, lambda x: x.flip(1), lambda x: x.detach(), lambda x: x[..., :-1], lambda x: x * 0.5,
            lambda x: x.cumsum(-1), lambda x: x if float(x.sum()) > 3 else x.flip(1), lambda x: x.numpy(),
            lambda x: x.reshape(len(x), -1),
        ]  # fmt: skip
        self.between = between[rng.integers(len(between))]
        results: list[Callable[[Any], Any]] = [
            *[lambda x: x] * 30, lambda x: (x, [0.1, 0.2]), lambda x: (x, x.mean()), lambda x: (x.mean(), x),
            lambda x: (),
            lambda x: [x], lambda x: {"spikes": x}, lambda x: None, lambda x: x.mean(-1), lambda x: x + 1,
            lambda x: x.to_sparse(), lambda x: x.bool(),
        ]  # fmt: skip
        self.result = results[rng.integers(len(results))]
        self.twice = bool(rng.random() < 0.07)

    def forward(self, spikes: torch.Tensor) -> Any:
        value = spikes
        for part in self.parts:
            value = part(self.between(value))
        if self.skip is not None:
            value = value + self.skip(spikes)
        return self.result(self.parts[-1](value) if self.twice else value)


def other(rng: Rng) -> Any:
    """Return what a factory should not return."""
    others = [
        None,
        3,
        "net",
        torch.nn.Identity(),
        torch.nn.Linear(6, 3),
        torch.nn.Module(),
        torch.nn.ModuleList(),
        Net,
        [Net],
    ]
    return others[rng.integers(len(others))]


def run(seed: int, folder: Path) -> int:
    """Train the module of a seed through the command line; return the exit code."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def build(shape: tuple[int, ...], n_outputs: int) -> Any:
        return other(rng) if rng.random() < 0.05 else Net(rng, shape[0], n_outputs)

    name = f"door{seed}"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].build = build  # type: ignore[attr-defined]
    try:
        keys = [*SETTINGS, f"model.factory={name}:build"]
        answer = CliRunner().invoke(
            app, ["train", "digits", "--run", str(folder / name), *(part for key in keys for part in ("--set", key))]
        )
    finally:
        del sys.modules[name]
    assert answer.exit_code in (0, 2), f"seed {seed}: {answer.exit_code} {answer.exception!r}\n{answer.output}"
    assert answer.exception is None or isinstance(answer.exception, SystemExit), f"seed {seed}: {answer.exception!r}"
    if answer.exit_code == 2:
        errors = [line for line in answer.output.splitlines() if line.startswith("sdsnn: ") or "rror" in line[:12]]
        assert errors, f"seed {seed}: {answer.output}"
        assert "Traceback" not in answer.output, f"seed {seed}"
    return answer.exit_code


def test_ten_modules_end_with_a_result_or_a_line(tmp_path: Path) -> None:
    codes = [run(seed, tmp_path) for seed in range(10)]
    assert set(codes) == {0, 2}


@pytest.mark.slow
def test_five_hundred_modules_end_with_a_result_or_a_line(tmp_path: Path) -> None:
    codes = [run(seed, tmp_path) for seed in range(1000, 1500)]
    assert min(codes.count(0), codes.count(2)) > 50
