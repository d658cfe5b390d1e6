"""NeuroBench's package and our counts agree on a SLAYER network. The package is optional: `pip install neurobench`.

What must be done to a model first, since the package reads float weights of modules without children: weight
normalisation off, deployed (masked and quantised) weights in place, hooks off. It runs without data loaders here:
SLAYER keeps time last, which concerns only its pre- and post-processors. A metric that fails is an exception, not a
zero, when it is called directly.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.deploy.energy.dense_shapes import DenseShapes
from sdsnn.deploy.report.metrics import footprint, neurobench, weight_count
from sdsnn.train.development.masks import attach_masks
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.compaction import compact
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Population, Synapses

pytest.importorskip("neurobench", reason="the neurobench package is not installed (an optional extra)")
# The package and what it imports warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.5}  # without input, no later spike
STEPS, QUIET = 24, 6


def part(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"neurobench.{name}")


def build(kind: str) -> tuple[list[Any], tuple[int, ...]]:
    torch.manual_seed(1)
    cuba = import_slayer().block.cuba
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm")
        if kind == "conv":
            blocks = [
                cuba.Conv(dict(NEURON), 2, 6, 3, padding=1, weight_scale=3, weight_norm=True),
                cuba.Pool(dict(NEURON), 2, weight_scale=1.1),
                cuba.Flatten(),
                cuba.Dense(dict(NEURON), 6 * 16, 12, weight_scale=4, weight_norm=True),
            ]
            shape: tuple[int, ...] = (2, 8, 8)
        else:
            blocks = [cuba.Dense(dict(NEURON), 20, 30, weight_scale=4, weight_norm=True)]
            blocks.append(cuba.Dense(dict(NEURON), 30, 12, weight_scale=4))
            shape = (20,)
        blocks.append(cuba.Dense(dict(NEURON), 12, 5, weight_scale=4))
        with torch.no_grad():
            values = torch.zeros(1, *shape, 1)
            for block in blocks:
                values = block(values)
    generator = torch.Generator().manual_seed(2)
    for layer in attach_masks(torch.nn.ModuleList(blocks))[:-1]:
        masks = [torch.rand(s.mask.shape, generator=generator) < 0.4 for s in layer.synapses]
        for mask in masks:
            mask[1] = False
        layer.set_masks(masks, None)
    return blocks, shape


def as_neurobench_sees_it(blocks: list[Any]) -> torch.nn.Module:
    """Put the deployed weights into SLAYER's own synapses and take everything off that hides them."""
    for block in blocks:
        synapse = getattr(block, "synapse", None)
        hook = getattr(synapse, "pre_hook_fx", None)
        if hook is None:
            continue
        with torch.no_grad():
            if hasattr(synapse, "weight_v"):
                torch.nn.utils.remove_weight_norm(synapse)
            synapse.weight.copy_(hook(synapse.weight))
        synapse._modules.pop("_pre_hook_fx", None)
        synapse._pre_hook_fx = None
    return torch.nn.Sequential(*blocks).eval()


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_counts_are_those_of_the_package(kind: str) -> None:
    blocks, shape = build(kind)
    masked = lower(blocks, shape)
    spikes = (np.random.default_rng(0).random((4, STEPS, *shape)) < 0.4).astype(np.uint8)
    spikes[:, -QUIET:] = 0
    compaction = compact(masked)
    before = DenseShapes.of(masked, masked)
    ours = neurobench(masked, reference.run(masked, spikes), before, None)

    models, static, workload = (part(name) for name in ("models", "metrics.static", "metrics.workload"))
    net = as_neurobench_sees_it(blocks)
    model = models.TorchModel(net)
    model.add_activation_module(import_slayer().neuron.cuba.Neuron)
    found_sparsity = float(static.ConnectionSparsity()(model))
    model.register_hooks()
    reset_state(net)
    batch = torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))
    with torch.no_grad():
        output = model(batch)
    data = (batch, torch.zeros(len(batch)))
    operations = workload.SynapticOperations()(model, output, data)
    activation = workload.ActivationSparsity()(model, output, data)

    assert sum(ours["SynapticOperations"].values()) > 0
    assert {key: float(value) for key, value in operations.items()} == ours["SynapticOperations"]
    assert activation == pytest.approx(ours["ActivationSparsity"], abs=1e-12)
    # A pool has one kernel for all channels in SLAYER; lowered, it is a convolution with one for each.
    copies = 5 * 4 if kind == "conv" else 0
    stored, total = sum(p.n_weights for p in masked.projections.values()), weight_count(masked, before)
    assert ours["ConnectionSparsity"] == 1 - stored / total
    assert found_sparsity == pytest.approx(1 - (stored - copies) / (total - copies), abs=5e-5)  # it rounds

    # What compaction removes was zero or silent: effective operations and sparsity against the dense network stay.
    small = neurobench(compaction.network, reference.run(compaction.network, spikes), before, None)
    assert small["SynapticOperations"]["Effective_ACs"] <= ours["SynapticOperations"]["Effective_ACs"]
    assert small["ConnectionSparsity"] >= ours["ConnectionSparsity"]


def test_footprint_is_the_packages_on_the_deployed_types() -> None:
    blocks, shape = build("dense")
    network = lower(blocks, shape)

    class Deployed(torch.nn.Module):
        """Full matrices of int8, and four int32 parameters per neuron."""

        def __init__(self) -> None:
            super().__init__()
            for number, p in enumerate(network.projections.values()):
                assert isinstance(p, Synapses)
                weight = np.zeros((network.size_of(p.target), network.size_of(p.source)), np.int8)
                weight[p.post, p.pre] = p.weight // 2  # even: the lowest bit is not stored
                self.register_buffer(f"weight{number}", torch.from_numpy(weight))
            for name, population in network.populations.items():
                assert isinstance(population, Population)
                self.register_buffer(f"neurons_{name}", torch.zeros(4, population.size, dtype=torch.int32))

    model = part("models").TorchModel(Deployed())
    assert part("metrics.static").Footprint()(model) == footprint(network)
