"""The quantiser and the mask in one pass are SLAYER's quantiser and the mask, bit for bit, forward and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdsnn.train.development import masked_synapse
from sdsnn.train.development.masked_synapse import MaskedHook
from sdsnn.train.development.quantiser import fits, quantise_masked, scale_of
from sdsnn_core.lava.compat import import_slayer


def neuron(w_scale: int = 64) -> object:
    made = import_slayer().neuron.cuba.Neuron(1.0, 0.5, 0.5)
    made.w_scale = w_scale
    return made


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.sampled_from([16, 64, 256]))
def test_one_pass_is_torchs_way_bit_for_bit(seed: int, accumulates: bool, signed: bool, w_scale: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, rng.choice([0.1, 2, 10]), (5, 7, 3)).astype(np.float32)
    places = rng.random(values.shape) < 0.3  # ties between two steps, both ends and what lies beyond them
    values[places] = (rng.integers(-300, 300, int(places.sum())) / w_scale).astype(np.float32)
    mask = torch.from_numpy(rng.random(values.shape) < 0.6)
    quantise = neuron(w_scale).quantize_8bit  # type: ignore[attr-defined]
    scores_before = torch.from_numpy(rng.random(values.shape).astype(np.float32)) * ~mask
    factor = torch.from_numpy(rng.normal(size=values.shape).astype(np.float32))
    found = []
    for fast in (True, False):
        weight = torch.from_numpy(values.copy()).requires_grad_()
        hook = MaskedHook(quantise, weight)
        hook.mask.copy_(mask)
        hook.absent_gradient.copy_(scores_before)
        hook.accumulates, hook.signed = accumulates, signed
        with pytest.MonkeyPatch.context() as patch:
            if not fast:
                patch.setattr(masked_synapse, "scale_of", lambda _quantise: None)
            out = hook(weight)
        torch.autograd.backward((out * factor).sum())
        found.append((out.detach() + 0.0, weight.grad + 0.0, hook.absent_gradient))  # a zero has no sign here
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert scale_of(quantise) == w_scale


def test_other_quantisers_and_tensors_take_torchs_way() -> None:
    assert scale_of(None) is None
    assert scale_of(lambda weight: weight) is None
    assert scale_of(neuron(100).quantize_8bit) is None  # type: ignore[attr-defined]
    weight = torch.zeros(4, 6)
    assert fits(weight, weight.bool(), weight)
    assert not fits(weight.double(), weight.bool(), weight)
    assert not fits(weight.T, weight.T.bool(), weight.T)
    with torch.autocast("cpu"):
        assert not fits(weight, weight.bool(), weight)


def test_not_a_number_stays_one() -> None:
    weight = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    mask = torch.tensor([True, True, True, False])
    found = quantise_masked(weight, mask, 64.0, None, False)
    assert torch.isnan(found[0])
    assert found[1:].tolist() == [254 / 64, -4.0, 0.0]
