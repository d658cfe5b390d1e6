"""README and docs: every Python block compiles, and those that stand alone run. Links and commands: test_source.py."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    (path.relative_to(ROOT).as_posix(), block)
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(BLOCKS)])
def test_the_python_blocks_compile(page: str, block: str) -> None:
    compile(block, page, "exec")


def test_the_data_set_of_contributing_loads() -> None:
    names: dict[str, Any] = {}
    [block] = [block for page, block in BLOCKS if page == "CONTRIBUTING.md"]
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    data = names["load"](SimpleNamespace(n_steps=20), 0, False)
    assert data.train.spikes.shape == (80, 20, 16)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 20, 20]
