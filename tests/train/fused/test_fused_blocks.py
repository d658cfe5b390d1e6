"""Blocks with steps outermost in memory against lava-dl's: the same spikes bit for bit, gradients to rounding."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.development.literal import SoftSynapse
from sdsnn.train.development.masks import attach_masks
from sdsnn.train.fused import chunked, fuse, unfuse
from sdsnn.train.fused.layout import time_last, time_major
from sdsnn.train.fused.sums import whole
from sdsnn.train.fused.sums.events import SPARSE, look_at
from sdsnn.train.slayer.graph.builder import lowered_kinds
from sdsnn_core.lava.compat import import_slayer

slayer = import_slayer()
cuba: Any = slayer.block.cuba
MeanOnly: Any = slayer.neuron.norm.MeanOnlyBatchNorm
Dropout: Any = slayer.neuron.Dropout
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")

# As in test_fused.py: float32 sums in another order. What a block adds is handed on to the blocks before it.
ROUNDING = 1e-5


def draw_params(rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    return {
        "threshold": float(rng.choice([0.5, 1.0, 1.25])),
        "current_decay": float(rng.choice([1, 0.5, 0.25])),
        "voltage_decay": float(rng.choice([1, 0.1, 0.03])),
        "tau_grad": float(rng.choice([0.03, 0.1, 1])),
        "scale_grad": float(rng.choice([1, 3])),
        "requires_grad": bool(rng.random() < 0.2),
        "graded_spike": bool(rng.random() < 0.1),
        "norm": MeanOnly if rng.random() < 0.15 else None,
        "dropout": Dropout(0.3) if rng.random() < 0.15 else None,
    } | more


def draw_model(rng: np.random.Generator, shape: tuple[int, int, int]) -> torch.nn.Sequential:
    """Draw conv, pool, flatten, dense and perhaps recurrent and affine blocks, with SLAYER's options."""
    torch.manual_seed(int(rng.integers(1000)))

    def late() -> dict[str, bool]:
        return {"delay": bool(rng.random() < 0.15), "delay_shift": bool(rng.random() < 0.85)}

    channels, height, width = shape
    out, kernel = int(rng.choice([2, 4, 7])), int(rng.choice([1, 2, 3]))
    more = {"weight_scale": 3, "weight_norm": bool(rng.random() < 0.4)}
    options = {
        "stride": int(rng.choice([1, 1, 2])),
        "padding": int(rng.choice([0, 1])),
        "dilation": int(rng.choice([1, 1, 2])),
        "groups": channels if out % channels == 0 and rng.random() < 0.3 else 1,
    }
    blocks = [cuba.Conv(draw_params(rng), channels, out, kernel, **options, **more, **late())]
    sample = torch.zeros(1, channels, height, width, 1)
    with torch.no_grad():
        after = tuple(torch.nn.Sequential(*blocks)(sample).shape[1:4])
        square: Any = int(rng.choice([2, 3])) if rng.random() < 0.7 else (1, 2)
        pool = cuba.Pool(draw_params(rng), square, weight_scale=1.4, **late())
        try:
            after = tuple(pool(torch.zeros(1, *after, 1)).shape[1:4])
            blocks.append(pool)
        except RuntimeError:  # SLAYER pools only some sizes
            pass
    if after[1:] == (1, 1):
        for block in blocks:
            block.delay = None  # SLAYER's has no gradient then
    if rng.random() < 0.3:  # a dense block that takes images; SLAYER names their sizes (width, height, channels)
        blocks.append(cuba.Dense(draw_params(rng), (after[2], after[1], after[0]), 6, **more))
    blocks.append(cuba.Flatten())
    size = 6 if len(blocks) > 2 and isinstance(blocks[-2], cuba.Dense) else int(np.prod(after))
    blocks.append(cuba.Dense(draw_params(rng), size, 9, **more, **late()))
    if rng.random() < 0.3:
        blocks.append(cuba.Recurrent(draw_params(rng), 9, 9, weight_scale=3))
    if rng.random() < 0.4:
        blocks.append(cuba.Affine(draw_params(rng, norm=None), 9, 4, weight_scale=3, dynamics=bool(rng.random() < 0.5)))
    return torch.nn.Sequential(*blocks)


def draw_input(rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw spikes, few of them or many, counts or, where float32 sums hang on their order, numbers of any kind."""
    kind = rng.choice(["spikes", "spikes", "few", "counts", "numbers"])
    values = {
        "spikes": rng.random(shape) < 0.3,
        "few": rng.random(shape) < 0.02,
        "counts": rng.integers(0, 9, shape) * (rng.random(shape) < 0.2),
        "numbers": rng.normal(size=shape),
    }[str(kind)]
    return torch.from_numpy(values.astype(np.float32))


def run(model: torch.nn.Module, x: torch.Tensor, seed: int) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Return the output, the gradients of the parameters, and last that of the input."""
    model.zero_grad()
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    torch.manual_seed(seed)  # for dropout, and for delays, which the first call draws
    out = model(x)
    weights = torch.randn(out.shape)
    out.backward(weights)
    return out.detach(), [*(parameter.grad for parameter in model.parameters()), x.grad]


def assert_alike(expected: list[torch.Tensor | None], found: list[torch.Tensor | None]) -> None:
    """Check that gradients agree, relative to their tensor's largest or that of the one before it.

    Weight normalisation takes from the gradient of v, which follows that of g, what points along v: perhaps all of it.
    """
    before = 0.0
    for one, other in zip(expected, found, strict=True):
        assert (one is None) == (other is None)
        if one is None or other is None:
            continue
        assert one.shape == other.shape
        if not one.numel():
            continue
        size = float(one.abs().max())
        assert float((one - other).abs().max()) <= ROUNDING * max(size, before) + 1e-30
        before = size


@pytest.mark.parametrize("seed", range(80))
def test_equals_slayer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any chain of blocks, any input: output, states and gradients of two calls in a row are SLAYER's."""
    rng = np.random.default_rng([seed, 1])
    if seed % 2:  # products of 8 bits for small layers too
        monkeypatch.setattr(whole, "_SMALLEST", 1)
    shape = (int(rng.choice([1, 2, 3])), int(rng.integers(6, 10)), int(rng.integers(6, 10)))
    stock, fused = (draw_model(np.random.default_rng(seed), shape) for _ in range(2))
    neurons = [m for m in stock.modules() if type(m) is slayer.neuron.cuba.Neuron]
    assert fuse(fused) == len(neurons)
    batch = int(rng.choice([1, 3]))
    for call in range(2):
        x = draw_input(rng, (batch, *shape, int(rng.choice([1, 2, 20]))))
        given = time_last(time_major(x)) if rng.random() < 0.5 else x
        expected, found = run(stock, x, call), run(fused, given, call)
        assert torch.equal(expected[0], found[0])
        # A decay's gradient is one sum over all neurons and steps that may cancel: test_fused.py bounds it.
        names = [name for name, _ in stock.named_parameters()] + ["x"]
        chosen = [i for i, name in enumerate(names) if not name.endswith("_decay")]
        assert_alike([expected[1][i] for i in chosen], [found[1][i] for i in chosen])
        for one, other in zip(stock.buffers(), fused.buffers(), strict=True):
            assert torch.equal(one, other)
    with torch.no_grad():
        assert torch.equal(*(model.eval()(x) for model in (stock, fused)))


def small_model(*, weight_norm: bool = True, **more: Any) -> torch.nn.Sequential:
    torch.manual_seed(0)
    params = {"threshold": 0.5, "current_decay": 0.5, "voltage_decay": 0.1, "scale_grad": 3} | more
    return torch.nn.Sequential(
        cuba.Conv(dict(params), 2, 4, 3, padding=1, weight_scale=3, weight_norm=weight_norm),
        cuba.Pool(dict(params), 2, weight_scale=1.4),
        cuba.Conv(dict(params), 4, 6, 3, padding=1, weight_scale=3),
        cuba.Flatten(),
        cuba.Dense(dict(params), 6 * 4 * 4, 8, weight_scale=3, weight_norm=weight_norm),
    )


def small_spikes(seed: int = 0, batch: int = 3, steps: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, 2, 8, 8, steps, generator=generator) < 0.3).float()


@pytest.mark.parametrize("rate", [0, 0.002, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("negative_zeros", [False, True])
@pytest.mark.parametrize("chunk", [chunked.CHUNK_BYTES, 4000])
def test_sparse_spikes(
    rate: float, image: bool, negative_zeros: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dense block adds up the weights of few spikes, or multiplies matrices: both are SLAYER's sums and gradients."""
    monkeypatch.setattr(chunked, "CHUNK_BYTES", chunk)
    shape = (5, 2, 9, 11, 30) if image else (5, 198, 30)
    x = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < rate).float()
    if negative_zeros:
        x = torch.where(x == 0, torch.tensor(-0.0), x)
    events = look_at(time_major(x).flatten(0, 1).flatten(1)).events
    assert (events is None) == (negative_zeros or rate > SPARSE)
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        params = {"threshold": 0.25, "current_decay": 0.5, "voltage_decay": 0.1, "scale_grad": 3}
        model = torch.nn.Sequential(cuba.Dense(params, (11, 9, 2) if image else 198, 70, weight_scale=9))
        if fused:
            fuse(model)
        model(x)  # the first call takes another way: it learns the neurons' shape
        found.append(run(model, x, 1))
    assert bool(found[0][0].any()) == (rate > 0)
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])


def test_large_sums_take_the_exact_way() -> None:
    """Sums that leave the fast arithmetic's range are found out, and everything is SLAYER's all the same."""
    found = []
    for fused in (False, True):
        model = small_model(threshold=2000.0)[:1]
        if fused:
            fuse(model)
        found.append([run(model, factor * small_spikes(), 0) for factor in (1.0, 3000.0, 1.0)])
    assert found[0][1][0].any()
    for expected, mine in zip(*found, strict=True):
        assert torch.equal(expected[0], mine[0])
        assert_alike(expected[1], mine[1])


def test_states_that_were_loaded_are_used() -> None:
    """Without persistent state every call starts from the buffers, which somebody may have filled."""
    models = [small_model(), small_model()]
    fuse(models[1])
    for model in models:
        model(small_spikes())
        torch.manual_seed(1)
        model[0].neuron.current_state = torch.rand(model[0].neuron.current_state.shape)
    assert torch.equal(*(model(small_spikes()) for model in models))


def test_steps_stay_outermost() -> None:
    """No block copies its tensor back: every output has SLAYER's shape and steps outermost in memory."""
    model, x = small_model(), small_spikes()
    fuse(model)
    for block in model:
        x = block(x)
        assert time_major(x).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.7])
def test_masks_hold(closed: bool, soft: bool, factor: float) -> None:
    """Masks, gates and gradients of masked weights are the same with SLAYER's blocks and with fused ones."""
    models = [small_model(), small_model()]
    fuse(models[1])
    found = []
    for model in models:
        model(small_spikes()[..., :1])
        layers = attach_masks(model)
        generator = torch.Generator().manual_seed(3)
        for layer in layers:
            mask = torch.rand(layer.mask.shape, generator=generator) < 0.5
            if closed:
                mask[::2] = False
            if soft:
                layer.synapses = [SoftSynapse(synapse) for synapse in layer.synapses]
            layer.synapses[0].hook.accumulates = True
            layer.set_mask(mask)
            assert bool(layer.unit_gate.all()) != closed
        out, gradients = run(model, factor * small_spikes(1), 0)  # spikes, or what only SLAYER's way takes
        found.append((out, gradients, [layer.absent_gradient for layer in layers]))
    assert found[0][0].any()
    assert torch.equal(found[0][0], found[1][0])
    assert_alike(found[0][1], found[1][1])
    assert_alike(found[0][2], found[1][2])


def test_blocks_stay_what_they_are() -> None:
    """Classes of blocks, copies, pickles and hooks on neurons are as before, and unfuse leaves nothing behind."""
    model, x = small_model(weight_norm=False), small_spikes()
    before = model(x)
    fuse(model)
    assert all(type(block) in lowered_kinds() for block in model)
    assert [type(block.synapse).__name__ for block in model if hasattr(block, "synapse")] == [
        "Conv", "Pool", "Conv", "Dense",
    ]  # fmt: skip
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert fuse(twin) == 0
        assert all(block.forward.block is block for block in twin)
        with torch.no_grad():
            twin[0].synapse.weight.zero_()
        assert not twin(x).any()
    seen: list[torch.Tensor] = []
    handle = model[0].neuron.register_forward_hook(lambda _module, _inputs, spikes: seen.append(spikes))
    assert torch.equal(model(x), before)
    assert torch.equal(model[0](x)[..., 1:], seen[0][..., :-1])  # the hook sees the spikes before the shift
    handle.remove()
    unfuse(model)
    assert not any("forward" in block.__dict__ for block in model)
    assert all(type(m).__module__.startswith(("lava", "torch")) for m in model.modules())
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("batches", [(3, 3), (3, 2)])
def test_persistent_state(batches: tuple[int, int]) -> None:
    """Where SLAYER carries states and the last step's spikes to the next call, fused blocks do; as long as it can."""
    models = [small_model(persistent_state=True, weight_norm=False) for _ in range(2)]
    fuse(models[1])
    with torch.no_grad():
        for call, batch in enumerate(batches):
            x = small_spikes(call, batch)
            expected, found = (model(x) for model in models)
            assert expected.any()
            assert torch.equal(expected, found)


def test_hooks_see_what_they_see_with_slayer() -> None:
    """Hooks on synapses and neurons, also those that change what they see, and on gradients."""

    def halve(_module: Any, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return inputs[0] * 0.5

    def look(fused: bool, place: str) -> list[torch.Tensor | None]:
        model, seen = small_model(), []
        if fused:
            fuse(model)
        model(small_spikes())
        watched = [getattr(model[index], place) for index in (0, 2)]
        watched[0].register_forward_pre_hook(halve)
        for module in watched:
            module.register_forward_hook(lambda _module, _inputs, out: seen.append(out.detach().clone()))
            module.register_full_backward_hook(lambda _module, _in, out: seen.append(out[0].clone()))
        gradients = run(model, small_spikes(), 0)[1]
        return [*gradients, *seen]

    for place in ("synapse", "neuron"):
        assert_alike(look(False, place), look(True, place))


def test_threads_share_the_work() -> None:
    """Any number of torch's threads gives the same spikes, and gradients to rounding."""
    model, x = small_model(), small_spikes(batch=16, steps=80)
    fuse(model)
    model(x)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(run(model, x, 0))
    finally:
        torch.set_num_threads(before)
    for out, gradients in found[1:]:
        assert torch.equal(out, found[0][0])
        assert_alike(found[0][1], gradients)


@pytest.mark.parametrize("chunk", [chunked.CHUNK_BYTES, 4000])
def test_gradients_twice(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept graph gives the same gradients again, of a convolution and of a dense block that adds up weights."""
    monkeypatch.setattr(chunked, "CHUNK_BYTES", chunk)
    dense = torch.nn.Sequential(cuba.Dense({"threshold": 0.2, "current_decay": 0.5, "voltage_decay": 0.1}, 128, 40))
    few = (torch.rand(5, 128, 20, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    for model, x in ((small_model(), small_spikes()), (dense, few)):
        fuse(model)
        model(x)
        out, weight = model(x), model[0].synapse.weight
        weight = model[0].synapse.weight_g if weight.grad_fn is not None else weight
        first, second = (torch.autograd.grad(out.sum(), [weight], retain_graph=True)[0] for _ in range(2))
        assert first.any()
        assert torch.equal(first, second)


def test_mixed_precision_takes_slayers_way() -> None:
    """Under autocast the synapses are SLAYER's, in the precision that torch chooses."""
    models = [small_model(), small_model()]
    fuse(models[1])
    found = []
    for model in models:
        for block in model:
            if hasattr(block, "neuron"):
                block.neuron.register_forward_pre_hook(lambda _module, inputs: inputs[0].float())
        with torch.autocast("cpu", torch.bfloat16):
            found.append(run(model, small_spikes(), 0))
    assert torch.equal(found[0][0], found[1][0])
