"""`sdsnn compact`: a smaller file with the same output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sdsnn
from sdsnn.cli.app import app
from sdsnn_core import reference
from sdsnn_core.network import Input, Network, Output, Population, Synapses


def network(rng: np.random.Generator) -> Network:
    """Return a dense network in which half of the hidden units have no way to the output."""
    second = rng.integers(-60, 100, (4, 10)) * 2
    second[:, ::2] = 0
    nodes = {
        "input": Input((6,)), "a": Population((10,), 2048, 1024, 20), "b": Population((4,), 2048, 1024, 20),
        "output": Output("b"),
    }  # fmt: skip
    first = Synapses.from_dense("input", "a", rng.integers(-60, 100, (10, 6)) * 2)
    return Network(nodes, {"w": first, "x": Synapses.from_dense("a", "b", second)})


@pytest.mark.parametrize("suffix", [".nir", ".net"])
def test_a_file_is_compacted_beside_itself(suffix: str, rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / f"big{suffix}"
    sdsnn.write(network(rng), path)
    answer = CliRunner().invoke(app, ["compact", str(path)])
    assert answer.exit_code == 0, answer.output
    assert "units 14 -> 9" in answer.output.replace("\n", " ")
    big, small = (sdsnn.read(tmp_path / f"{name}{suffix}") for name in ("big", "big-compact"))
    spikes = rng.integers(0, 2, (5, 30, 6)).astype(np.uint8)
    counts = [reference.run(each, spikes).counts[next(iter(each.outputs.values())).source] for each in (big, small)]
    assert counts[0].any()
    assert np.array_equal(*counts)


def test_another_name_and_a_missing_file(rng: np.random.Generator, tmp_path: Path) -> None:
    sdsnn.write(network(rng), tmp_path / "big.nir")
    answer = CliRunner().invoke(app, ["compact", str(tmp_path / "big.nir"), "-o", str(tmp_path / "small.net")])
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "small.net").exists()
    answer = CliRunner().invoke(app, ["compact", str(tmp_path / "none.nir")])
    assert answer.exit_code == 2
