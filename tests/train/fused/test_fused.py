"""The fused neuron against lava-dl's: spikes, currents, voltages and states bit for bit, gradients to rounding."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sdsnn.train.fused import Neuron, fuse, unfuse
from sdsnn_core.errors import NetworkError
from sdsnn_core.lava.compat import import_slayer

# Each side sums at most `steps` float32 products per value, and the slope's exp differs by 2 ulp (1.2e-7 each).
# Gradients are compared relative to their tensor's largest, for single values may cancel; a decay's gradient, one sum
# over all neurons and steps, relative to the sum of what it adds without signs.
ROUNDING = 1e-5
slayer = import_slayer()
Stock: Any = slayer.neuron.cuba.Neuron
MeanOnly: Any = slayer.neuron.norm.MeanOnlyBatchNorm
Dropout: Any = slayer.neuron.Dropout
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")


def assert_close(expected: torch.Tensor, found: torch.Tensor, size: float | None = None) -> None:
    assert expected.shape == found.shape
    bound = ROUNDING * (float(expected.abs().max()) if size is None else size) + 1e-30  # exp underflows below
    assert float((expected - found).abs().max()) <= bound


def draw_neuron(rng: np.random.Generator, *, channels_only: bool) -> dict[str, Any]:
    scale = int(rng.choice([64, 64, 64, 1, 100, 4096]))  # 100: x scale / scale is not x
    params: dict[str, Any] = {
        "threshold": max(float(rng.choice([0.5, 1.0, 1.25, 2.03, 64, 100])), 1 / scale),
        "current_decay": float(rng.choice([1, 0.5, 0.25, 0.05, 0])),
        "voltage_decay": float(rng.choice([1, 0.5, 0.1, 0.03, 0])),
        "scale": scale,
        "tau_grad": float(rng.choice([0.01, 0.1, 1])),
        "scale_grad": float(rng.choice([0.5, 1, 3])),
        "requires_grad": bool(rng.random() < 0.5),
        "graded_spike": bool(rng.random() < 0.3),
        "persistent_state": bool(rng.random() < 0.4),
        "norm": MeanOnly if rng.random() < 0.3 else None,
        "dropout": Dropout(0.3) if rng.random() < 0.3 else None,
    }
    if channels_only and rng.random() < 0.4:
        params |= {"shared_param": False, "current_decay": (0.1, 0.9), "voltage_decay": (0.0, 0.5)}
    return params


def draw_input(rng: np.random.Generator, shape: tuple[int, ...], threshold: float) -> torch.Tensor:
    """Draw sums of 8-bit weights around the threshold; now and then so large that int32 would not do."""
    size = max(1.0, threshold / 4) * float(rng.choice([1, 1, 1, 1, 3e5]))
    return torch.from_numpy((rng.integers(-40, 60, shape) / 32 * size).astype(np.float32))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect, per backward call of SLAYER's integrator, the sum that is the decay's gradient, without signs."""
    module = slayer.neuron.dynamics.leaky_integrator
    original, found = module._li_dynamics_bwd, []

    def spy(gradient: torch.Tensor, output: torch.Tensor, decay: torch.Tensor) -> Any:
        gradients = original(gradient, output, decay)
        found.append(float((gradients[0][..., 1:] * output[..., :-1]).abs().sum()))
        return gradients

    monkeypatch.setattr(module, "_li_dynamics_bwd", spy)
    return found


def both_ways(stock: Any, fused: Any, z: torch.Tensor, seed: int, sizes: list[float]) -> None:
    """Check a forward and a backward call of both neurons, the states they keep and the decays' gradients."""
    inputs, outputs = [z.clone().requires_grad_() for _ in range(2)], []
    for neuron, x in zip((stock, fused), inputs, strict=True):
        neuron.zero_grad()
        torch.manual_seed(seed)  # for dropout, and for decays that the first call draws
        outputs.append(neuron(x))
        torch.manual_seed(seed)
        outputs[-1].backward(torch.randn(outputs[-1].shape))
    assert outputs[1].dtype == torch.float32
    assert torch.equal(*outputs)
    assert torch.equal(stock.current_state, fused.current_state)
    assert torch.equal(stock.voltage_state, fused.voltage_state)
    assert_close(inputs[0].grad, inputs[1].grad)
    parameters = zip(stock.parameters(), fused.parameters(), reversed(sizes[-2:]), strict=True)  # voltage comes first
    for expected, found, size in parameters:
        assert torch.equal(expected, found)
        assert (expected.grad is None) == (found.grad is None)
        if expected.grad is not None:
            assert_close(expected.grad, found.grad, size)


@pytest.mark.parametrize("seed", range(120))
def test_equals_slayer(seed: int, sizes: list[float]) -> None:
    rng = np.random.default_rng(seed)
    wide = rng.random() < 0.4
    space = tuple(int(n) for n in rng.integers(1, 6, 2)) if wide else ()
    shape = (int(rng.integers(1, 4)), int(rng.choice([1, 3, 40])), *space)
    params = draw_neuron(rng, channels_only=not wide)
    stock = Stock(**params)
    fused = copy.deepcopy(stock)
    if rng.random() < 0.4:
        stock.threshold_eps = fused.threshold_eps = 1 / stock.s_scale
    assert fuse(fused) == 1
    for call in range(2):  # the second call starts from the state that the first one left
        steps = int(rng.choice([1, 2, 31, 32, 33, 70]))
        z = draw_input(rng, (*shape, steps), params["threshold"])
        both_ways(stock, fused, z, call, sizes)
    with torch.no_grad():
        for expected, found in zip(stock.dynamics(z), fused.dynamics(z), strict=True):
            assert torch.equal(expected, found)


@pytest.mark.parametrize("threshold", [1.25, 63, 64, 100, 2047])
@pytest.mark.parametrize("eps", [None, 1])
def test_ties(threshold: float, eps: int | None) -> None:
    """Voltages of exactly the threshold: no spike below 64, a spike from 64 on, and none with eps of a state unit."""
    stock = Stock(threshold=threshold, current_decay=1, voltage_decay=0)
    if eps:
        stock.threshold_eps = eps / stock.s_scale
    fused = copy.deepcopy(stock)
    fuse(fused)
    z = torch.full((1, 1, 6), threshold / 2)
    assert torch.equal(stock(z), fused(z))
    assert bool(fused(z)[0, 0, 1]) == (threshold >= 64 and not eps)


def test_gradients_of_dynamics(sizes: list[float]) -> None:
    """Current and voltage carry gradients of their own, when asked for."""
    rng = np.random.default_rng(3)
    stock = Stock(threshold=1.0, current_decay=0.25, voltage_decay=0.1, requires_grad=True)
    fused = copy.deepcopy(stock)
    fuse(fused)
    z = draw_input(rng, (3, 20, 40), 1.0)
    grads = []
    for neuron in (stock, fused):
        x = z.clone().requires_grad_()
        current, voltage = neuron.dynamics(x)
        torch.manual_seed(0)
        weights = torch.randn(2, *z.shape)
        (weights[0] * current + weights[1] * voltage + weights[1] * neuron.spike(voltage)).sum().backward()
        grads.append((x.grad, neuron.current_decay.grad, neuron.voltage_decay.grad))
    for expected, found, size in zip(*grads, (None, sizes[1], sizes[0]), strict=True):
        assert_close(expected, found, size)


def chain(seed: int, *, weight_norm: bool = False) -> torch.nn.Sequential:
    """Build conv, pool, flatten and dense blocks."""
    torch.manual_seed(seed)
    block = slayer.block.cuba
    params = {"threshold": 0.5, "current_decay": 0.5, "voltage_decay": 0.1, "requires_grad": True}
    return torch.nn.Sequential(
        block.Conv(dict(params), 2, 4, 3, padding=1, weight_scale=3, weight_norm=weight_norm),
        block.Pool(dict(params), 2),
        block.Flatten(),
        block.Dense(dict(params), 4 * 3 * 3, 10, weight_scale=3, delay=True),
        block.Recurrent(dict(params), 10, 5, weight_scale=3),
    )


def spikes(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(seed).random(shape) < 0.2).astype(np.float32))


def test_network_trains_alike() -> None:
    """Losses of a network of all kinds of blocks follow the same curve over ten steps of descent."""
    losses: list[list[float]] = [[], []]
    x = spikes(0, 4, 2, 6, 6, 30)
    models = [chain(1, weight_norm=True) for _ in range(2)]
    assert fuse(models[1]) == 4
    for model, curve in zip(models, losses, strict=True):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(5)  # for the delays, which the first call draws
        for _ in range(10):
            optimiser.zero_grad()
            out = model(x)
            loss = (out.mean(-1) - torch.linspace(0, 0.5, 5)).square().sum()
            loss.backward()
            optimiser.step()
            curve.append(float(loss.detach()))
    assert losses[0][0] == losses[1][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_fuse_keeps_the_model() -> None:
    """Same modules, parameters and keys: optimisers, hooks and checkpoints stay valid, in both directions."""
    model, x = chain(2), spikes(1, 2, 2, 6, 6, 12)
    torch.manual_seed(0)
    before = model(x)
    keys, parameters, modules = list(model.state_dict()), list(model.parameters()), list(model.modules())
    saved = copy.deepcopy(model.state_dict())
    assert fuse(model) == 4
    assert fuse(model) == 0
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    assert list(model.state_dict()) == keys
    model.load_state_dict(saved)
    for twin in (copy.deepcopy(model[:4]), pickle.loads(pickle.dumps(model[1].neuron))):
        assert fuse(twin) == 0
    assert torch.equal(model[:4](x), chain_until(model, 4, x))
    assert unfuse(model) == 4
    model.load_state_dict(saved)
    model[4].neuron.current_state.zero_()
    model[4].neuron.voltage_state.zero_()
    assert torch.equal(model(x), before)


def chain_until(model: torch.nn.Sequential, stop: int, x: torch.Tensor) -> torch.Tensor:
    """Run the first blocks of an unfused copy."""
    stock = copy.deepcopy(model[:stop])
    assert unfuse(stock) > 0
    return stock(x)


def test_other_neurons_stay() -> None:
    decays = ("current_decay", "voltage_decay", "threshold_decay", "refractory_decay")
    params = {"threshold": 1, "threshold_step": 0.5, **dict.fromkeys(decays, 0.1)}
    alif = slayer.block.alif.Dense(params, 3, 2)
    assert fuse(torch.nn.Sequential(alif)) == 0


def test_chunks_equal_one_run() -> None:
    """With persistent state, pieces of a run and the run are the same."""
    neuron = Neuron(threshold=1.0, current_decay=0.25, voltage_decay=0.03, persistent_state=True)
    z = draw_input(np.random.default_rng(0), (2, 70, 90), 1.0)
    whole = copy.deepcopy(neuron)(z)
    assert torch.equal(whole, torch.cat([neuron(part) for part in z.split(13, dim=-1)], dim=-1))


def test_decays_belong_to_channels() -> None:
    """In a convolution with decays of its own, each channel runs as a neuron with its decays would."""
    torch.manual_seed(0)
    neuron = Neuron(1.0, (0.1, 0.9), (0.0, 0.5), shared_param=False)
    z = draw_input(np.random.default_rng(1), (2, 3, 4, 5, 20), 1.0)
    found = neuron(z)
    assert found.any()
    for channel in range(3):
        decays = (neuron.current_decay[channel].item() / 4096, neuron.voltage_decay[channel].item() / 4096)
        alone = Stock(1.0, *decays)
        assert torch.equal(found[:, channel : channel + 1], alone(z[:, channel : channel + 1]))


@pytest.mark.parametrize("options", [{"requires_grad": True}, {"graded_spike": True}, {"norm": MeanOnly}])
def test_decays_of_channels_with_slayers_own_passes(options: dict[str, Any]) -> None:
    """Options that are not fused, values beyond the kernels' range, kept states: each channel as one neuron alone."""
    torch.manual_seed(0)
    neuron = Neuron(1.0, (0.1, 0.9), (0.0, 0.5), shared_param=False, persistent_state="norm" not in options, **options)
    for size in (1.0, 3e5):
        z = draw_input(np.random.default_rng(1), (2, 3, 4, 5, 20), 1.0) * size
        found = neuron(z)
        assert found.any()
        if size == 1.0:
            decays = [(neuron.current_decay[i].item() / 4096, neuron.voltage_decay[i].item() / 4096) for i in range(3)]
            alone = [Stock(1.0, *pair, persistent_state=neuron.persistent_state, **options) for pair in decays]
        for channel in range(3):
            part = slice(channel, channel + 1)
            assert torch.equal(found[:, part], alone[channel](z[:, part].contiguous()))
            assert torch.equal(neuron.voltage_state[:, part], alone[channel].voltage_state)


def test_nothing_kept_without_gradients() -> None:
    neuron = Neuron(1.0, 0.5, 0.5)
    z = torch.ones(2, 3, 4, requires_grad=True)
    assert neuron(z).requires_grad
    with torch.no_grad():
        assert not neuron(z).requires_grad


def test_layouts_and_other_dtypes() -> None:
    """Views come out as their copies do; float64 and empty batches take SLAYER's ways."""
    stock, fused = (kind(1.0, 0.5, 0.25) for kind in (Stock, Neuron))
    z = draw_input(np.random.default_rng(2), (20, 6, 4), 1.0).permute(2, 1, 0)
    assert not z.is_contiguous()
    assert torch.equal(stock(z), fused(z))
    assert torch.equal(stock(z.double()), fused(z.double()))
    assert fused(z.double()).dtype == torch.float64
    assert fused(z[:0]).shape == (0, 6, 20)


def test_threads_share_the_rows() -> None:
    """Any number of torch threads, and calls from several threads at once, give one result."""
    neuron = Neuron(1.0, 0.5, 0.25)
    z = draw_input(np.random.default_rng(4), (7, 300, 100), 1.0)
    before = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(neuron(z))
        callers = [threading.Thread(target=lambda: results.append(neuron(z))) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    finally:
        torch.set_num_threads(before)
    assert len(results) == 7
    assert all(torch.equal(results[0], other) for other in results)


def test_wrong_shapes_are_named() -> None:
    neuron = Neuron(1.0, 0.5, 0.25)
    with pytest.raises(NetworkError, match=r"channels, ..., steps\), got \(2, 3\)"):
        neuron(torch.zeros(2, 3))
    neuron(torch.zeros(2, 3, 4))
    with pytest.raises(NetworkError, match=r"expected input of shape \(batch, 3, steps\), got \(2, 5, 4\)"):
        neuron(torch.zeros(2, 5, 4))


def by_step(x: torch.Tensor) -> torch.Tensor:
    """Return a copy of x with steps outermost in memory and channels innermost."""
    dims = (x.dim() - 1, 0, *range(2, x.dim() - 1), 1)
    memory = x.permute(dims).contiguous()
    return memory.permute([dims.index(dim) for dim in range(x.dim())])


@pytest.mark.parametrize("seed", range(24))
def test_layouts_agree(seed: int) -> None:
    """Time outermost or innermost in memory: the same spikes, states and gradients."""
    rng = np.random.default_rng(seed)
    params = draw_neuron(rng, channels_only=True) | {"dropout": None, "norm": None}
    shape = (int(rng.integers(1, 4)), 5, int(rng.integers(1, 30)), 3, int(rng.choice([1, 2, 64, 70])))
    neurons = [Neuron(**params)]
    neurons.append(copy.deepcopy(neurons[0]))
    z = draw_input(rng, shape, params["threshold"])
    inputs = [z.clone().requires_grad_(), by_step(z).requires_grad_()]
    weights, found = torch.randn(shape, generator=torch.Generator().manual_seed(seed)), []
    for neuron, x in zip(neurons, inputs, strict=True):
        torch.manual_seed(seed)
        out = neuron(x)
        out.backward(weights)
        found.append((out, neuron.current_state, neuron.voltage_state, x.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(*(neuron.parameters() for neuron in neurons), strict=True):
        if one.grad is not None:
            assert_close(one.grad, other.grad)


def test_the_fused_passes_keep_time_outermost() -> None:
    z = by_step(torch.ones(2, 5, 4, 3, 20))
    spikes = Neuron(1.0, 0.5, 0.25)(z)
    assert spikes.any()
    assert spikes.stride() == z.stride()


def test_digits_train_alike() -> None:
    """Five steps on handwritten digits: in every step the same spikes, bit for bit, and the same loss."""
    digits = load_digits()
    images, labels = torch.from_numpy(digits.images[:32].astype(np.float32) / 16), torch.from_numpy(digits.target[:32])
    x = (torch.rand(32, 64, 20, generator=torch.Generator().manual_seed(0)) < images.reshape(32, 64, 1)).float()
    runs: list[list[tuple[torch.Tensor, float]]] = [[], []]
    for fused, steps in enumerate(runs):
        torch.manual_seed(1)
        params = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1, "scale_grad": 3}
        dense = [slayer.block.cuba.Dense(dict(params), n, m, weight_norm=True) for n, m in ((64, 40), (40, 10))]
        model = torch.nn.Sequential(*dense)
        assert not fused or fuse(model) == 2
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            optimiser.zero_grad()
            out = model(x)
            loss = torch.nn.functional.cross_entropy(out.sum(-1), labels)
            loss.backward()
            optimiser.step()
            steps.append((out.detach(), float(loss.detach())))
    for (stock, expected), (ours, found) in zip(*runs, strict=True):
        assert stock.any()
        assert torch.equal(stock, ours)
        assert expected == found
    assert runs[1][-1][1] < runs[1][0][1]
