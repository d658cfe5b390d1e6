"""README and docs: every Python block compiles, and those that stand alone run. Links and commands: test_source.py."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import sdsnn
from sdsnn_core.lava.compat import import_slayer

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    (path.relative_to(ROOT).as_posix(), block)
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(BLOCKS)])
def test_the_python_blocks_compile(page: str, block: str) -> None:
    compile(block, page, "exec")


def test_the_ten_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small model, and without Lava's processes, whose start takes seconds."""
    monkeypatch.chdir(tmp_path)
    compare = sdsnn.verify
    monkeypatch.setattr(sdsnn, "verify", lambda network, spikes: compare(network, spikes, ["engine", "nir"]))
    dense, neuron = import_slayer().block.cuba.Dense, {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
    torch.manual_seed(0)
    model = torch.nn.Sequential(dense(neuron, 20, 40, weight_scale=4), dense(neuron, 40, 2, weight_scale=4))
    x, labels = (torch.rand(16, 20, 8) < 0.3).float(), torch.arange(16) % 2
    names: dict[str, Any] = {
        "model": model, "example": x[:1], "epochs": 10, "loader": [(x, labels)] * 2,
        "optimiser": torch.optim.Adam(model.parameters(), lr=0.01),
        "loss": lambda out, target: torch.nn.functional.cross_entropy(out.sum(-1), target),
        "spikes": x.movedim(-1, 1).numpy().astype("uint8"),
    }  # fmt: skip
    [block] = [block for page, block in BLOCKS if page == "README.md"]
    exec(compile(block, "README.md", "exec"), names)
    assert names["certificate"].verified
    assert names["energy"].range_j.high > 0
    assert sdsnn.read("network.nir").digest() == names["network"].digest()
    assert names["developer"].connection_sparsity() > 0.7


def test_the_data_set_of_contributing_loads() -> None:
    names: dict[str, Any] = {}
    [block] = [block for page, block in BLOCKS if page == "CONTRIBUTING.md"]
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    data = names["load"](SimpleNamespace(n_steps=20), 0, False)
    assert data.train.spikes.shape == (80, 20, 16)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 20, 20]
