"""SLAYER blocks and the Network they are lowered to spike alike, block by block, bin by bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from slayer_models import draw_blocks

from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.lowering import lower, lowering_problems
from sdsnn.train.slayer.tracing import output_of
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
    adaptive = {"threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1}
    with pytest.raises(
        UnsupportedNode,
        match=r"block 0 \(adrf.Dense\): no rule to lower it \(Lava has no .*\); expected one of .*Conv, ConvT, Dense",
    ):
        lowered(slayer.block.adrf.Dense({"threshold": 1.0, "period": 8, "decay": 0.1, **adaptive}, 4, 2))
    with pytest.raises(UnsupportedNode, match=r"block 1 \(cuba.Dense\): expected delay_shift=True"):
        lowered(cuba.Dense(dict(params), 4, 4), cuba.Dense(dict(params), 4, 2, delay_shift=False))
    with pytest.raises(UnsupportedNode, match=r"block 0 \(cuba.Dense\): expected graded_spike=False"):
        lowered(cuba.Dense({**params, "graded_spike": True}, 4, 2))
    with pytest.raises(UnsupportedNode, match=r"threshold 64\.0 fires on a tie"):
        lowered(cuba.Dense({**params, "threshold": 64.0}, 4, 2))
    with pytest.raises(UnsupportedNode, match="expected 5 inputs, as 'input' has, got 4"):
        lower([cuba.Dense(dict(params), 4, 2)], (5,))
    pool = cuba.Pool({"threshold": 1.0, "current_decay": 1, "voltage_decay": 1}, 2, stride=1)
    with pytest.raises(UnsupportedNode, match="stride equal to its kernel"):
        lower([pool], (1, 4, 4))


NEURON = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1}


def dense(n_in: int, n_out: int, **of: Any) -> Any:
    return import_slayer().block.cuba.Dense(dict(NEURON), n_in, n_out, weight_scale=4, **of)


def agrees(model: Any, shape: tuple[int, ...], seed: int = 0) -> int:
    """Return the spikes of a model's output; fails where the Network's differ."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy((rng.random((3, *shape, STEPS)) < 0.4).astype(np.float32))
    network = lower(model, shape)
    reset_state(model.eval())
    with torch.no_grad():
        expected = output_of(model(x)).numpy()
    (output,) = network.outputs.values()
    spikes = reference.run(network, np.moveaxis(x.numpy(), -1, 1)).spikes[output.source]
    np.testing.assert_array_equal(np.moveaxis(spikes, 1, -1), expected.reshape(len(x), -1, STEPS))
    return int(expected.sum())


@pytest.mark.parametrize("kind", ["dense", "recurrent", "conv"])
@pytest.mark.parametrize("hidden", [False, True])
def test_delays_of_the_last_block_lie_on_its_incoming_synapses(kind: str, hidden: bool) -> None:
    torch.manual_seed(1)
    cuba = import_slayer().block.cuba
    if kind == "conv":
        blocks = [cuba.Conv(dict(NEURON), 2, 3, 3, weight_scale=4, delay=hidden)]
        blocks.append(cuba.Conv(dict(NEURON), 3, 4, 2, weight_scale=4, delay=True))
        shape: tuple[int, ...] = (2, 6, 6)
    else:
        last = cuba.Dense if kind == "dense" else cuba.Recurrent
        blocks = [dense(6, 8, delay=hidden), last(dict(NEURON), 8, 5, weight_scale=4, delay=True)]
        shape = (6,)
    model = torch.nn.Sequential(*blocks)
    model(torch.zeros(1, *shape, 2))
    for block in blocks:
        if block.delay is not None:
            block.delay.delay.data *= 9
    if kind == "recurrent":  # a loop between neurons of different delays would need a negative one
        blocks[1].delay.delay.data[:] = 4.5
    assert agrees(model, shape) > 0


def test_a_loop_that_would_need_a_negative_delay_is_refused() -> None:
    cuba = import_slayer().block.cuba
    block = cuba.Recurrent(dict(NEURON), 4, 2, weight_scale=4, delay=True)
    block(torch.zeros(1, 4, 3))
    block.delay.delay.data[:] = torch.tensor([1.0, 5.0])
    with pytest.raises(
        UnsupportedNode, match=r"block 0 \(cuba.Recurrent\): delays: expected sums of 0..62 .*, got -4..4"
    ):
        lower([block], (4,))


@pytest.mark.parametrize("bias", [0.25, -0.25, 3.0])
def test_a_bias_beside_delays_of_the_last_block(bias: float) -> None:
    torch.manual_seed(0)
    norm = import_slayer().neuron.norm.MeanOnlyBatchNorm
    block = import_slayer().block.cuba.Dense({**NEURON, "norm": norm}, 6, 4, weight_scale=4, delay=True)
    model = torch.nn.Sequential(block)
    model(torch.zeros(1, 6, 3))
    block.neuron.norm.running_mean[:] = -bias
    block.delay.delay.data[:] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert agrees(model, (6,)) > 0


class Named(torch.nn.Module):
    """A public-style class: attributes of any name, a loop, dropout, norms of its own beside, a tuple as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = dense(6, 8, delay=True)
        self.heads = torch.nn.ModuleDict({"left": dense(8, 7), "right": dense(8, 7)})
        self.stages = torch.nn.ModuleList([torch.nn.Sequential(dense(14, 9), torch.nn.Dropout(0.5)) for _ in range(1)])
        self.out = dense(9, 4)

    def forward(self, spikes: torch.Tensor) -> Any:
        rates = []
        spikes = self.fc1(spikes)
        rates.append(spikes.mean().item())
        spikes = torch.cat([head(spikes) for head in self.heads.values()], dim=1)
        for stage in self.stages:
            spikes = stage(spikes)
        return self.out(spikes), torch.tensor(rates)


def test_attributes_of_any_name_and_a_tuple() -> None:
    torch.manual_seed(0)
    model = Named()
    assert agrees(model, (6,)) > 0
    assert list(lower(model, (6,)).populations) == ["dense0", "dense1", "dense2", "dense3", "dense4"]


def test_a_pass_leaves_no_trace() -> None:
    model = torch.nn.Sequential(import_slayer().block.cuba.Recurrent(dict(NEURON), 6, 4), dense(4, 3, delay=True))
    model(torch.ones(3, 6, 5))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    lower(model, (6,))
    assert torch.equal(torch.rand(2), wanted)
    assert [module.training for module in model] == [True, False]
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def as_it_is(weight: torch.Tensor) -> torch.Tensor:
    return weight


def coarse(weight: torch.Tensor) -> torch.Tensor:
    return torch.round(weight * 4) / 4


def test_quantisers_are_known_by_their_weights() -> None:
    torch.manual_seed(0)
    assert agrees(torch.nn.Sequential(dense(6, 8, pre_hook_fx=coarse), dense(8, 3)), (6,)) > 0
    for hook, message in (
        (as_it_is, r"block 0 \(cuba.Dense\): its quantiser as_it_is: expected weights that are multiples of 1/64, got"),
        (lambda weight: coarse(weight) * 100, "expected weights of -256/64..255/64, got"),
        (lambda weight: 1 / 0, r"expected a forward pass on input \(6,\), got ZeroDivisionError: division by zero"),
        (lambda weight: coarse(weight) * torch.inf, "its quantiser <lambda>: expected finite weights"),
        (None, "got no quantiser"),
    ):
        with pytest.raises(UnsupportedNode, match=message):
            lower([dense(6, 8, pre_hook_fx=hook)] if hook is not None else [dense(6, 8, pre_hook_fx=None)], (6,))


class Own(type(dense(1, 1))):  # type: ignore[misc]
    """A subclass of SLAYER's Dense that adds a constructor and nothing else."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(dict(NEURON), n_in, n_out, weight_scale=4)


class Doubled(Own):
    """One with a forward pass of its own."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(2 * x)


def test_a_subclass_with_slayers_forward_is_lowered() -> None:
    torch.manual_seed(0)
    assert agrees(torch.nn.Sequential(Own(6, 8), dense(8, 3)), (6,)) > 0
    with pytest.raises(UnsupportedNode, match=r"Doubled\): no rule .*a subclass of SLAYER's Dense with a forward pass"):
        lower([Doubled(6, 4)], (6,))


def test_all_problems_come_at_once_with_the_paths_of_the_blocks() -> None:
    class Wrong(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = dense(6, 8, delay_shift=False)
            self.norm = torch.nn.BatchNorm1d(8)
            self.fc2 = dense(8, 8)
            self.fc3 = dense(8, 8, pre_hook_fx=as_it_is)
            self.spare = dense(8, 3)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.fc2(self.norm(self.fc1(x)))
            return self.fc3(x * x.mean()) if hasattr(self, "spare") else self.fc3(x)

    model = Wrong()
    assert lowering_problems(model, (6,)) == [
        "model: expected blocks that take part in the forward pass, got spare unused"
    ]
    del model.spare
    first, second, third = lowering_problems(model, (6,))
    assert first.startswith("fc1 (cuba.Dense): expected delay_shift=True")
    assert second.startswith("fc2 (cuba.Dense): expected spikes of blocks")
    assert "BatchNorm1d norm" in second
    assert third.startswith("fc3 (cuba.Dense): its quantiser as_it_is")


def test_blocks_in_the_wrong_place_are_named() -> None:
    class Loose(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = dense(6, 6)
            self.hidden = [dense(6, 6)]

        def forward(self, x: torch.Tensor) -> Any:
            return self.fc(self.hidden[0](x))

    with pytest.raises(UnsupportedNode, match=r"a block outside the model's modules .*: expected blocks that are attr"):
        lower(Loose(), (6,))
    shared = dense(6, 6)
    with pytest.raises(UnsupportedNode, match=r"block 0 \(cuba.Dense\): expected one call of each block"):
        lower([shared, shared], (6,))
