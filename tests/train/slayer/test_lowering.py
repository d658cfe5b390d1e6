"""SLAYER blocks and the Network they are lowered to spike alike, block by block, bin by bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from slayer_models import draw_blocks

from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import NEVER_FIRES

STEPS = 40
# SLAYER still uses the old form of weight normalisation.
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")


def compare(seed: int) -> tuple[int, int]:
    """Return (bins compared, spikes seen) of one random chain; fails on the first difference."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    blocks, shape = draw_blocks(rng)
    x = torch.from_numpy((rng.random((3, *shape, STEPS)) < 0.3).astype(np.float32))
    with torch.no_grad():
        for _ in range(2):  # shapes, per-channel decays, delays and running means come to be here
            spikes = x
            for block in blocks:
                spikes = block(spikes)
    for block in blocks:
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data *= float(rng.integers(1, 20))
    reset_state(torch.nn.ModuleList(blocks).eval())
    network = lower(blocks, shape)
    activity = reference.run(network, np.moveaxis(x.numpy(), -1, 1))
    populations = iter(network.populations)
    bins = seen = 0
    spikes = x
    with torch.no_grad():
        for index, block in enumerate(blocks):
            spikes = block(spikes)
            if type(block).__name__ == "Flatten":
                continue
            name = next(populations)
            mine = np.moveaxis(activity.spikes[name], 1, -1)
            theirs = spikes.numpy().reshape(mine.shape)
            if block.delay is not None:  # SLAYER delays at the source, the Network on the way: shift to compare
                steps = (
                    np.floor(block.delay.delay.detach().numpy())
                    .astype(int)
                    .repeat(mine.shape[1] // len(block.delay.delay))
                )
                shifted = np.zeros_like(mine)
                for neuron, d in enumerate(steps):
                    shifted[:, neuron, d:] = mine[:, neuron, : STEPS - d]
                mine = shifted
            np.testing.assert_array_equal(mine, theirs, err_msg=f"seed {seed}, block {index}, population {name}")
            bins += mine.size
            seen += int(mine.sum())
    return bins, seen


@pytest.mark.parametrize("block", range(4))
def test_random_chains_spike_alike(block: int) -> None:
    bins, seen = np.sum([compare(seed) for seed in range(block * 10, block * 10 + 10)], axis=0)
    assert bins > 20_000
    assert seen > 1_000


@pytest.mark.slow
def test_many_random_chains_spike_alike() -> None:
    bins, _ = np.sum([compare(seed) for seed in range(1_000, 1_400)], axis=0)
    assert bins > 1_000_000


def test_affine_readout_is_the_voltage_one_step_later() -> None:
    cuba = import_slayer().block.cuba
    torch.manual_seed(0)
    params = {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1}
    for dynamics in (True, False):
        blocks = [cuba.Dense(dict(params), 6, 8, weight_scale=3), cuba.Affine(dict(params), 8, 3, dynamics=dynamics)]
        x = torch.from_numpy((np.random.default_rng(1).random((2, 6, STEPS)) < 0.4).astype(np.float32))
        with torch.no_grad():
            wanted = blocks[1](blocks[0](x)).numpy()
        network = lower(blocks, (6,))
        assert int(network.populations["affine1"].threshold) == NEVER_FIRES
        activity = reference.run(network, np.moveaxis(x.numpy(), -1, 1), record_state=["affine1"])
        voltage = np.moveaxis(activity.voltage["affine1"], 1, -1)
        np.testing.assert_array_equal(voltage[..., 1:], 4096 * wanted[..., :-1])
        assert np.abs(wanted).sum() > 0


def lowered(*blocks: Any, size: int = 4) -> None:
    with torch.no_grad():
        spikes = torch.zeros(1, size, 3)
        for block in blocks:
            spikes = block(spikes)
    lower(list(blocks), (size,))


def test_refusals_name_the_block_and_the_reason() -> None:
    slayer = import_slayer()
    cuba, params = slayer.block.cuba, {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1}
    with pytest.raises(
        UnsupportedNode,
        match=r"block 0 \(alif.Dense\): no rule to lower it \(.* adaptive.*\); expected one of .*Conv, Dense",
    ):
        lowered(
            slayer.block.alif.Dense(
                {**params, "threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1}, 4, 2
            )
        )
    with pytest.raises(UnsupportedNode, match=r"block 1 \(cuba.Dense\): expected delay_shift=True"):
        lowered(cuba.Dense(dict(params), 4, 4), cuba.Dense(dict(params), 4, 2, delay_shift=False))
    with pytest.raises(UnsupportedNode, match=r"block 0 \(cuba.Dense\): expected graded_spike=False"):
        lowered(cuba.Dense({**params, "graded_spike": True}, 4, 2))
    with pytest.raises(UnsupportedNode, match=r"threshold 64\.0 fires on a tie"):
        lowered(cuba.Dense({**params, "threshold": 64.0}, 4, 2))
    with pytest.raises(UnsupportedNode, match="expected MeanOnlyBatchNorm, got WgtScaleBatchNorm"):
        lowered(cuba.Dense({**params, "norm": slayer.neuron.norm.WgtScaleBatchNorm}, 4, 2))
    late = cuba.Dense(dict(params), 4, 2, delay=True)
    late(torch.zeros(1, 4, 3))
    late.delay.delay.data[:] = 2.5
    with pytest.raises(UnsupportedNode, match="the last block: expected delay=False"):
        lower([late], (4,))
    with pytest.raises(UnsupportedNode, match="expected 5 inputs, as 'input' has, got 4"):
        lower([cuba.Dense(dict(params), 4, 2)], (5,))
    pool = cuba.Pool({"threshold": 1.0, "current_decay": 1, "voltage_decay": 1}, 2, stride=1)
    with pytest.raises(UnsupportedNode, match="stride equal to its kernel"):
        lower([pool], (1, 4, 4))
