"""The synapse stage on whole models: every class keeps a path from the input, whatever the target."""

from __future__ import annotations

import pytest
import torch
from developing_runs import OFF, Run, chain_graph

from sdsnn.train.development.masks import MaskedLayer
from sdsnn.train.development.reachability import protected_paths

SCOPES = ("global", "balanced", "layer")


def reached(run: Run) -> torch.Tensor:
    """Return (classes,) bool: readout units with a path of present synapses from the input."""
    units: torch.Tensor | None = None
    for layer in run.developer.layers:
        mask = layer.mask.flatten(2).any(2)
        if units is not None:
            mask = mask & units.repeat_interleave(mask.shape[1] // len(units))
        units = mask.any(1) & layer.unit_gate
    assert units is not None
    return units


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("target", [0.9, 0.97, 1.0])
@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_every_readout_unit_keeps_a_path_from_the_input(scope: str, target: float, kind: str) -> None:
    run = Run(kind, synapse_stage=True, synapse_target=target, synapse_scope=scope, **OFF).go()
    assert reached(run).all()
    assert run.developer.connection_sparsity() > 0.85


@pytest.mark.parametrize("scope", SCOPES)
def test_without_protection_a_target_of_all_takes_all(scope: str) -> None:
    run = Run(synapse_stage=True, synapse_target=1.0, synapse_scope=scope, protect_last=False, **OFF).go()
    assert run.developer.connection_sparsity() == 1.0


def test_a_readout_unit_without_synapses_grows_one_again() -> None:
    run = Run(synapse_stage=True, synapse_target=0.5, synapse_begin=0.3, **OFF).go(5)
    readout = run.developer.layers[-1]
    mask = readout.mask.clone()
    mask[1] = False
    readout.set_masks([mask], run.optimiser)
    assert readout.unit_gate.tolist() == [True, False, True]
    run.go()
    assert readout.unit_gate.all()


def test_a_protected_path_follows_the_best_present_synapse_of_each_unit_on_it() -> None:
    run = Run(develops=True, **OFF)
    layers: list[MaskedLayer] = run.developer.layers
    scores = [torch.zeros_like(layer.deployed_weight) for layer in layers]
    for layer, values, (unit, source) in zip(layers, scores, ((7, 13), (4, 7), (2, 4)), strict=True):
        values[unit, source] = 2.0
        values[unit, source - 1] = 3.0  # better, but absent
        mask = torch.ones_like(layer.mask)
        mask[unit, source - 1] = False
        layer.set_mask(mask)
    readout = torch.zeros_like(layers[2].mask)
    readout[2] = layers[2].mask[2]  # the other readout units have nothing
    layers[2].set_mask(readout)
    found = protected_paths(layers, chain_graph(3), scores)
    assert [path.nonzero()[:, :2].tolist() for path in found] == [[[7, 13]], [[4, 7]], [[2, 4]]]
