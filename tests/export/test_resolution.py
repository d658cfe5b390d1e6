"""Finer states: SLAYER, the Network and its file stay one, and come nearer to the floats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import assert_same_activity, assert_same_network, random_network
from slayer_models import draw_model
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.resolution import (
    finest_resolution,
    largest_states,
    resolution_of,
    slayer_resolution,
    with_resolution,
)
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import NEVER_FIRES, Input, Network, Output, Population, Synapses


def chain(matrix: object = ((20, -10), (30, 40)), **of: object) -> Network:
    a = Population((2,), **{"current_decay": 512, "voltage_decay": 100, "threshold": 60, **of})  # type: ignore[arg-type]
    first = Synapses.from_dense("input", "a", np.asarray(matrix), weight_exp=int(bool(of.pop("exponent", 0))))
    return Network({"input": Input((2,)), "a": a, "output": Output("a")}, {"w": first})


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_slayer_with_finer_states_is_the_network_with_finer_states() -> None:
    """Every bin of random models, up to the most bits with which no state leaves 24 bits."""
    compared = spiked = 0
    for seed in range(5):
        rng = np.random.default_rng([seed, 5])
        torch.manual_seed(seed)
        blocks, shape = draw_model(rng)
        network = lower(blocks, shape)
        spikes = (rng.random((2, 24, *shape)) < 0.3).astype(np.uint8)
        plain = trace(blocks, spikes)
        most = finest_resolution(network, spikes)
        for bits in {min(1, most), most // 2, most} - {0}:
            finer = reference.run(with_resolution(network, bits), spikes)
            with slayer_resolution(blocks, bits):
                trains = trace(blocks, spikes)
            for name, wanted in trains.items():
                np.testing.assert_array_equal(finer.spikes[name], wanted, err_msg=f"seed {seed}, {bits} bits, {name}")
                compared += wanted.size
                spiked += int(wanted.sum())
        after = trace(blocks, spikes)  # nothing is left of it
        assert all((plain[name] == after[name]).all() for name in plain)
    assert compared > 20_000
    assert spiked > 1000


def test_without_decay_nothing_changes_but_the_unit(rng: np.random.Generator) -> None:
    """Where nothing is rounded, states are 2**bits as large and the spikes the same."""
    network = chain(current_decay=4096, voltage_decay=0, bias=3, bias_exp=2, initial_voltage=-100)
    spikes = random_spikes(rng, network, 3, 40)
    coarse = reference.run(network, spikes, record_state=["a"])
    for bits in (1, 4):
        fine = reference.run(with_resolution(network, bits), spikes, record_state=["a"])
        assert_same_activity(coarse, fine)
        np.testing.assert_array_equal(fine.voltage["a"], coarse.voltage["a"] << bits)
    assert coarse.counts["a"].sum() > 5


def test_none_is_the_same_and_steps_add_up(rng: np.random.Generator) -> None:
    for _ in range(20):
        network = random_network(rng, weight_exp=False)
        assert_same_network(with_resolution(network, 0), network)
    network = chain()
    assert resolution_of(network) == 0
    twice = with_resolution(with_resolution(network, 2), 3)
    assert_same_network(twice, with_resolution(network, 5))
    assert resolution_of(twice) == 5


def test_the_finest_is_the_last_that_fits() -> None:
    network = chain(((100, 0), (0, 100)), current_decay=0, voltage_decay=4096, threshold=NEVER_FIRES)
    spikes = np.ones((1, 11, 2), np.uint8)
    assert largest_states(network, spikes) == {"a": 10 * 64 * 100}  # the eleventh spike is on its way
    assert finest_resolution(network, spikes) == 7
    assert finest_resolution(chain(((100, 0), (0, 100)), current_decay=0, voltage_decay=4096), spikes) == 7
    longer = np.ones((1, 21, 2), np.uint8)
    assert 20 * 64 * 100 << 6 < 2**23 <= 20 * 64 * 100 << 7
    assert finest_resolution(network, longer) == 6
    assert finest_resolution(chain(threshold=70_000), spikes) == 0
    assert finest_resolution(chain(threshold=32_767), spikes) == 2  # 131068


def test_what_does_not_fit_is_named() -> None:
    for network, bits, words in (
        (chain(), 8, r"resolution: expected 0 to 7 bits, got 8"),
        (chain(), -1, r"resolution: expected 0 to 7 bits, got -1"),
        (chain(threshold=70_000), 1, r"population 'a' threshold: expected 0\.\.131071, got 140000"),
        (chain(bias=4095, bias_exp=7), 1, r"population 'a' bias: expected up to 4095, got 8190"),
        (chain(initial_voltage=2**30), 1, r"population 'a' initial_voltage: expected 32 bits, got 2147483648"),
        (with_resolution(chain(), 1), 7, r"projection 'w' weight_exp: expected 0\.\.7, got 8"),
    ):
        with pytest.raises(NetworkError, match=words):
            with_resolution(network, bits)


def test_export_and_verify_keep_the_resolution(tmp_path: Path) -> None:
    settings = ["optimiser.epochs=2", "model.hidden=[24]", "data.n_steps=8", "model.neuron.current_decay=0.25"]
    folder = RunFolder.create(tmp_path / "run", load_config("digits", settings))
    train(folder.config(), folder)
    run = CliRunner().invoke

    def certificate() -> dict[str, object]:
        written: dict[str, object] = json.loads((folder.path / "certificate.json").read_text())
        return written

    answer = run(app, ["export", str(folder.path), "--resolution", "auto", "--samples", "8", "--no-lava"])
    assert answer.exit_code == 0, answer.output
    bits = resolution_of(read_nir(folder.network_file))
    assert bits > 0
    assert f"states: {bits} bits finer than SLAYER's own" in answer.output
    assert json.loads((folder.path / "export.json").read_text())["resolution"] == bits
    made = certificate()
    assert made["verified"] is True
    assert "slayer" in [c["backend"] for c in made["comparisons"]]  # type: ignore[attr-defined]
    answer = run(app, ["verify", str(folder.network_file), "--run", str(folder.path), "--no-lava"])
    assert answer.exit_code == 0, answer.output
    answer = run(app, ["export", str(folder.path), "--resolution", "2", "--samples", "2", "--no-lava"])
    assert answer.exit_code == 0, answer.output
    assert resolution_of(read_nir(folder.network_file)) == 2
    for given, words in (
        ("fine", "--resolution: expected 0 to 7 or auto, got fine"),
        ("8", "expected 0 to 7 bits, got 8"),
    ):
        answer = run(app, ["export", str(folder.path), "--resolution", given])
        assert answer.exit_code == 2
        assert words in answer.output
