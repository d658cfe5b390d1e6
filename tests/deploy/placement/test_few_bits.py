"""Fewer bits of weights, as `model.weight_bits` trains them, need less synaptic memory and fewer cores."""

from __future__ import annotations

import torch

import sdsnn
from sdsnn.train.run.config import load_config
from sdsnn.train.slayer.models import build_model


def test_fewer_bits_need_fewer_cores() -> None:
    memory, cores = [], []
    for bits in (8, 5, 3, 2):
        torch.manual_seed(0)
        config = load_config("digits", ["model.hidden=[512]", f"model.weight_bits={bits}", "model.weight_scale=20"])
        network = sdsnn.lower(build_model(config.model, (1024,), 10), (1024,))
        placement = sdsnn.place(network, "loihi1")
        memory.append(placement.synapse_bits)
        cores.append(placement.n_cores)
    assert memory == sorted(memory, reverse=True)
    assert cores == sorted(cores, reverse=True)
    assert memory[0] >= 2 * memory[-1]
    assert cores[0] >= 2 * cores[-1]
