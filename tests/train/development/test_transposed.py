"""Transposed convolutions develop as others do, although SLAYER stores their weights with the inputs first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from developing_runs import NEURON

from sdsnn import Developer, DevelopmentConfig
from sdsnn.train.development.masks import attach_masks
from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.compaction import compact
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

SHAPE = (3, 3, 3)


def build(seed: int = 0) -> torch.nn.Sequential:
    """Return ConvT (3 to 4 channels, 6 x 6), Flatten, Dense."""
    cuba = import_slayer().block.cuba
    torch.manual_seed(seed)
    chain = torch.nn.Sequential(
        cuba.ConvT(dict(NEURON), 3, 4, 2, stride=2, weight_scale=4),
        cuba.Flatten(),
        cuba.Dense(dict(NEURON), 144, 5, weight_scale=3),
    )
    chain(torch.zeros(1, *SHAPE, 2))
    return chain


def samples(n: int = 4) -> torch.Tensor:
    return (torch.rand(n, *SHAPE, 12, generator=torch.Generator().manual_seed(1)) < 0.5).float()


def test_a_mask_with_outputs_first_masks_the_weights_that_slayer_has() -> None:
    masked, plain = build(), build()
    layer = attach_masks(masked)[0]
    assert layer.mask.shape == (4, 3, 2, 2, 1)
    assert (layer.n_units, layer.kind) == (4, "conv")
    mask = torch.rand(layer.mask.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    mask[2] = False
    layer.set_mask(mask)
    with torch.no_grad():
        weight = plain[0].synapse.weight  # type: ignore[union-attr]
        for out, in_, y, x, t in (~mask).nonzero().tolist():
            weight[in_, out, y, x, t] = 0  # type: ignore[index]
        first, expected = masked[0](samples()), plain[0](samples())
    assert torch.equal(first, expected)
    assert expected.sum() > 20
    assert not first[:, 2].any()
    assert layer.unit_gate.tolist() == [True, True, False, True]


@pytest.mark.parametrize("units", [False, True])
def test_a_transposed_convolution_develops_is_lowered_and_compacted(units: bool) -> None:
    model, x, labels = build(), samples(16), torch.arange(16) % 5
    config = DevelopmentConfig(
        target_sparsity=0.6, regeneration=units, pruning=units, synapse_stage=True, synapse_target=0.6,
        protect_first=False, pruning_gain=5.0, persistence=1,
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    developer = Developer(model, x[:1], 8, config)
    for _ in range(8):
        for batch in range(2):
            optimiser.zero_grad()
            part = slice(8 * batch, 8 * batch + 8)
            torch.autograd.backward(torch.nn.functional.cross_entropy(model(x[part]).sum(-1), labels[part]))
            optimiser.step()
            developer.step()
        developer.epoch_end(optimiser)
    layer = developer.layers[0]
    assert 0 < float(layer.mask.float().mean()) < 1
    assert not layer.synapses[0].float_weight[~layer.mask].any()
    network = lower(model.eval(), SHAPE)
    spikes = np.moveaxis(samples(3).numpy(), -1, 1).astype(np.uint8)
    activity = reference.run(network, spikes)
    for name, expected in trace(model, spikes).items():
        np.testing.assert_array_equal(activity.spikes[name], expected)
    small = compact(network).network
    assert sum(p.n_weights for p in small.projections.values()) < sum(p.n_weights for p in network.projections.values())


def test_groups_and_weight_norm_of_a_transposed_convolution_do_not_develop() -> None:
    cuba = import_slayer().block.cuba
    with pytest.raises(UnsupportedNode, match="expected a ConvT without groups and weight_norm"):
        attach_masks([cuba.ConvT(dict(NEURON), 4, 4, 2, groups=2)])
