"""Keys of a model's layers that change its integers: fewer bits, a norm, skip connections; and how they develop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdsnn.train.development.developer import Developer
from sdsnn.train.run.config import load_config
from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower, lowering_problems
from sdsnn.train.slayer.models import build_model
from sdsnn.train.slayer.quantisers import FewBits
from sdsnn_core import reference
from sdsnn_core.compaction import compact
from sdsnn_core.development import DevelopmentConfig
from sdsnn_core.errors import ConfigError
from sdsnn_core.lava.compat import import_slayer

RESIDUAL = [
    "model.hidden=[]",
    "model.layers=[{kind='dense',out=12},{kind='dense',out=12},{kind='dense',out=9,skip=1}]",
]


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 9.0])
def test_few_bits_are_few_levels_of_one_step(bits: int, scale: float) -> None:
    torch.manual_seed(0)
    integers = FewBits(bits)(scale * torch.randn(400)) * 64
    step = min((abs(value) for value in integers.tolist() if value), default=2.0)
    assert integers.unique().numel() <= 2**bits
    assert np.log2(step / 2) >= 0
    assert ((integers / 2) == (integers / 2).round()).all()
    assert -256 <= integers.min() <= integers.max() <= 254
    if bits == 8:
        neuron = import_slayer().neuron.cuba.Neuron(1.0, 1.0, 0.1)
        weight = scale * torch.randn(100)
        assert scale < 1 or torch.equal(FewBits(8)(weight), neuron.quantize_8bit(weight))


@pytest.mark.parametrize(
    "keys",
    [
        ["model.weight_bits=3"],
        ["model.norm=mean_only"],
        ["model.norm=weight_scale"],
        RESIDUAL,
        [*RESIDUAL, "model.weight_bits=5"],
    ],
)
def test_models_of_these_keys_are_lowered_exactly(keys: list[str]) -> None:
    torch.manual_seed(0)
    model = build_model(load_config("digits", keys).model, (8,), 4)
    rng = np.random.default_rng(0)
    spikes = (rng.random((4, 20, 8)) < 0.4).astype(np.uint8)
    with torch.no_grad():
        model(torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32)))  # norms learn their means
    network = lower(model, (8,))
    activity = reference.run(network, spikes)
    for name, expected in trace(model, spikes).items():
        np.testing.assert_array_equal(activity.spikes[name], expected)
    assert len(network.projections) == len(network.populations) + (keys[:2] == RESIDUAL)


def test_a_skip_that_does_not_fit_is_named() -> None:
    for layers, message in (
        ("[{kind='dense',out=5,skip=1}]", "model.layers.0 skip: expected a layer of shape .*, got no layer"),
        (
            "[{kind='dense',out=5},{kind='dense',out=6},{kind='dense',out=6,skip=1}]",
            r"\(6,\), got layer 0 of shape",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model(load_config("digits", ["model.hidden=[]", f"model.layers={layers}"]).model, (8,), 4)


class Joined(torch.nn.Module):
    """A concatenation and a skip connection between named blocks."""

    def __init__(self) -> None:
        super().__init__()
        dense, neuron = import_slayer().block.cuba.Dense, {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        neuron |= {"tau_grad": 0.5, "scale_grad": 1.0}
        self.one, self.two = (dense(dict(neuron), 8, 10, weight_scale=4) for _ in range(2))
        self.three = dense(dict(neuron), 28, 10, weight_scale=4)
        self.out = dense(dict(neuron), 10, 3, weight_scale=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.one(x), self.two(x)
        return self.out(self.three(torch.cat([one, x, two], 1)) + one)


def test_a_developed_graph_is_lowered_and_compacted_with_the_same_spikes() -> None:
    torch.manual_seed(0)
    model = Joined()
    x, labels = (torch.rand(6, 8, 14) < 0.4).float(), torch.arange(6) % 3
    assert not lowering_problems(model, example=x)
    config = DevelopmentConfig(synapse_stage=True, synapse_target=0.8, protect_first=False)
    developer = Developer(model, x, n_epochs=12, config=config)
    assert set(developer.graph.joined) == {2, 3}
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(12):
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(x).sum(-1), labels))
        optimiser.step()
        developer.step()
        developer.epoch_end(optimiser)
    assert developer.connection_sparsity() >= 0.75
    network = lower(model, example=x)
    spikes = np.moveaxis(x.numpy().astype(np.uint8), -1, 1)
    small, activity = compact(network), reference.run(network, spikes)
    after = reference.run(small.network, spikes)
    for name, expected in trace(model, spikes).items():
        np.testing.assert_array_equal(activity.spikes[name], expected)
        if name in small.network.populations:
            np.testing.assert_array_equal(after.spikes[name], expected[..., small.kept[name]])
