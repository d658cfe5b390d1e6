"""Graphs of SLAYER blocks: their populations spike as the blocks do, in every bin, in every back end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from slayer_graphs import draw_graph

from sdsnn.deploy.engine import engine
from sdsnn.export.lava.run import run_lava
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.train.slayer.block_spikes import reset_state, trace
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.compaction import compact
from sdsnn_core.lava.compat import lava_available

STEPS = 30


def compare(seed: int, folder: Path, *, lava: bool = False) -> tuple[int, int]:
    """Return (bins compared, spikes) of a random graph; fails where two back ends differ."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model, shapes = draw_graph(rng)
    inputs = [(rng.random((2, STEPS, *shape)) < 0.4).astype(np.uint8) for shape in shapes]
    network = lower(model, shapes)
    spikes = dict(zip(network.inputs, (x.reshape(*x.shape[:2], -1) for x in inputs), strict=True))
    activity = reference.run(network, spikes).spikes
    blocks = trace(model, *inputs)
    assert set(blocks) == set(network.populations)
    for name, expected in blocks.items():
        np.testing.assert_array_equal(activity[name], expected, err_msg=f"seed {seed}, {name}")
    reset_state(model)
    with torch.no_grad():
        result = model(*(torch.from_numpy(np.moveaxis(x, 1, -1).astype(np.float32)) for x in inputs))
    results = result if isinstance(result, tuple) else (result,)
    assert len(results) == len(network.outputs)
    for output, value in zip(network.outputs.values(), results, strict=True):
        expected = np.moveaxis(value.numpy(), -1, 1).reshape(2, STEPS, -1)
        np.testing.assert_array_equal(activity[output.source], expected, err_msg=f"seed {seed}, output")
    write_nir(network, folder / "graph.nir")
    assert read_nir(folder / "graph.nir").digest() == network.digest()
    for back_end in (engine.run, *([run_lava] if lava else [])):
        found = back_end(network, spikes).spikes
        for name in network.populations:
            np.testing.assert_array_equal(activity[name], found[name], err_msg=f"seed {seed}, {name}, {back_end}")
    small = compact(network)
    after = reference.run(small.network, spikes).spikes
    for name in small.network.populations:
        np.testing.assert_array_equal(after[name], activity[name][..., small.kept[name]], err_msg=f"seed {seed}")
    return sum(each.size for each in blocks.values()), sum(int(each.sum()) for each in blocks.values())


@pytest.mark.parametrize("block", range(3))
def test_random_graphs_spike_alike(block: int, tmp_path: Path) -> None:
    bins, seen = np.sum([compare(seed, tmp_path) for seed in range(block * 8, block * 8 + 8)], axis=0)
    assert bins > 5_000
    assert seen > 200


@pytest.mark.slow
def test_many_random_graphs_spike_alike(tmp_path: Path) -> None:
    lava = lava_available()
    compared = [compare(seed, tmp_path, lava=lava and seed % 25 == 0) for seed in range(1_000, 1_500)]
    assert np.sum(compared, axis=0)[0] > 500_000
