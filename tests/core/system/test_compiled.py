"""Compiled code that is kept on disk: renewed when any source of its folder changes, or when a file is damaged."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLER = """
from callee import scale
from sdsnn_core.system.compiled import compiled

@compiled
def kernel(x):
    return scale(x)

if __name__ == "__main__":
    print(kernel(10), sum(kernel.stats.cache_hits.values()))
"""
CALLEE = """
from sdsnn_core.system.compiled import {how}

@{how}
def scale(x):
    return x * {factor}
"""


def run(folder: Path) -> list[int]:
    """Return (result, kept kernels that were loaded) of a new process."""
    answer = subprocess.run(
        [sys.executable, "caller.py"], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "kept")},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return [int(word) for word in answer.stdout.split()]


@pytest.mark.parametrize("how", ["compiled", "inlined"])
def test_a_change_of_a_callee_renews_the_kernel(how: str, tmp_path: Path) -> None:
    """The kernel's own file stays as it is: numba's own key would serve the old code."""
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE.format(how=how, factor=2))
    assert run(tmp_path) == [20, 0]
    assert run(tmp_path) == [20, 1]
    (tmp_path / "callee.py").write_text(CALLEE.format(how=how, factor=3))
    assert run(tmp_path) == [30, 0]
    assert run(tmp_path) == [30, 1]


def test_damaged_files_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE.format(how="compiled", factor=2))
    run(tmp_path)
    kept = [path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    assert run(tmp_path) == [20, 0]
    assert run(tmp_path) == [20, 1]


KERNELS = [
    "sdsnn.train.fused.kernels.neuron", "sdsnn.train.fused.kernels.loop", "sdsnn.train.fused.sums.sparse",
    "sdsnn.train.fused.sums.events", "sdsnn.train.fused.sums.exactness", "sdsnn.train.fused.kernels.pooling",
    "sdsnn.train.fused.kernels.reach", "sdsnn.train.fused.kernels.transpose", "sdsnn.train.fused.kernels.vectors",
    "sdsnn.train.development.quantiser", "sdsnn.train.data.augment", "sdsnn.deploy.engine.running",
]  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_call_only_kernels_of_their_own_folder(name: str) -> None:
    """What a kept kernel is made of must be in its key."""
    pending = [value for value in vars(importlib.import_module(name)).values() if hasattr(value, "py_func")]
    assert pending
    checked = set()
    while pending:
        function = pending.pop().py_func
        if function in checked:
            continue
        checked.add(function)
        for used in function.__code__.co_names:
            callee = function.__globals__.get(used)
            if hasattr(callee, "py_func"):
                files = [Path(each.__code__.co_filename).parent for each in (function, callee.py_func)]
                assert files[0] == files[1], (function, callee)
                pending.append(callee)
