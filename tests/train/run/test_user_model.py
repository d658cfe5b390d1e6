"""A user's own module of SLAYER blocks: the documented example runs as written, mistakes get one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn_core.errors import ConfigError

CHAIN = """
import torch
from sdsnn_core.lava.compat import import_slayer


class Chain(torch.nn.Module):
    def __init__(self, shape, n_classes):
        super().__init__()
        cuba = import_slayer().block.cuba
        neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        self.blocks = torch.nn.ModuleList([cuba.Dense(neuron, shape[0], 6), cuba.Dense(neuron, 6, n_classes)])

    def forward(self, spikes):
        return self.blocks[1](self.blocks[0](spikes))
"""
DOC = Path(__file__).parents[3] / "docs" / "training.md"


def test_documented_example_runs(tmp_path: Path) -> None:
    code = DOC.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "mynet.py").write_text(code.replace("optimiser.epochs=20", "optimiser.epochs=2"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "mynet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=environment,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "test accuracy" in answer.stdout
    assert (tmp_path / "runs" / "mine" / "network.nir").stat().st_size > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return torch.nn.Identity()", "expected SLAYER blocks in the module of .*, got Identity"),
        ("    return 3", "expected .* to return a torch module, got int"),
        ("    return Chain((5,), n_classes)", "expected .* to take input .*: RuntimeError"),
        (
            "    net = Chain(shape, n_classes); net.forward = lambda x: (3, net.blocks[0](x)); return net",
            "expected forward to return a tensor, or a tuple whose first item is one, got tuple of 2",
        ),
        (
            "    net = Chain(shape, n_classes)\n"
            "    net.forward = lambda x: net.blocks[1](torch.from_numpy(net.blocks[0](x).numpy()))\n"
            "    return net",
            "expected .* to take input .*, forwards and backwards: RuntimeError: Can't call numpy",
        ),
        ("    return Chain(shape, 4)", r"expected output of shape \(10,\) from .*, got \(4,\)"),
    ],
)
def test_what_a_factory_must_make(body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"factory_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"{CHAIN}\n\ndef build(shape, n_classes):\n{body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        trainer_for(load_config("digits", [f"model.factory={name}:build"]))
    assert "\n" not in str(caught.value)


def test_unknown_factory() -> None:
    with pytest.raises(ConfigError, match=r"model\.factory: got 'nowhere:build', which cannot be imported"):
        trainer_for(load_config("digits", ["model.factory=nowhere:build"]))
