"""Outputs that are read by their voltage: every form has the same voltages, and a wrong one is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sdsnn
from sdsnn.deploy.engine import run as run_engine
from sdsnn.deploy.loihi2.target import check_supported
from sdsnn.export.nir_format.sinabs import to_sinabs
from sdsnn.export.verify.backends import BACKENDS, recorded
from sdsnn.export.verify.certificate import verify
from sdsnn.train.slayer.block_spikes import readout_voltages, trace
from sdsnn_core import reference
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer, lava_available
from sdsnn_core.network import Input, Network, Output, Population, Synapses

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")
NEURON = {"threshold": 0.5, "current_decay": 0.3, "voltage_decay": 0.2, "requires_grad": False}


def model(norm: bool = False, **readout: Any) -> torch.nn.Sequential:
    cuba = import_slayer().block.cuba
    torch.manual_seed(3)
    hidden = {**NEURON, "norm": import_slayer().neuron.norm.MeanOnlyBatchNorm} if norm else NEURON
    blocks = [cuba.Dense(hidden, 6, 9, weight_scale=4), cuba.Affine(NEURON, 9, 4, weight_scale=2, **readout)]
    chain = torch.nn.Sequential(*blocks)
    chain(torch.rand(4, 6, 8).round())  # norms learn a mean
    return chain.eval()


def samples(rng: np.random.Generator) -> np.ndarray:
    return (rng.random((5, 20, 6)) < 0.5).astype(np.uint8)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("readout", [{}, {"dynamics": False}, {"weight_norm": True}])
def test_slayer_and_every_file_have_the_voltages_of_the_reference(
    norm: bool, readout: dict[str, Any], rng: np.random.Generator
) -> None:
    slayer, spikes = model(norm, **readout), samples(rng)
    network = sdsnn.lower(slayer, (6,))
    output = next(iter(network.outputs.values()))
    assert output.signal == "voltage"
    voltages = readout_voltages(slayer, spikes, batch_size=2)
    assert list(voltages) == [output.source]
    assert np.abs(voltages[output.source]).max() > 1000
    backends = {
        "slayer": recorded(trace(slayer, spikes), voltages), "engine": run_engine,
        "nir": BACKENDS["nir"], "netx file": BACKENDS["netx file"],
    }  # fmt: skip
    certificate = verify(network, spikes, backends)
    assert certificate.verified, certificate.as_dict()
    assert not certificate.skipped
    assert [comparison.voltage_bins for comparison in certificate.comparisons] == [5 * 20 * 4] * 4
    # In SLAYER's own units, and one step later.
    own = slayer(torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))).detach().numpy()
    activity = reference.run(network, spikes, record_state=[output.source])
    np.testing.assert_array_equal(activity.voltage[output.source][:, 1:] / 4096, np.moveaxis(own, 1, -1)[:, :-1])


@pytest.mark.slow
@pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
@pytest.mark.parametrize("norm", [False, True])
def test_lava_and_netx_have_the_voltages_too(norm: bool, rng: np.random.Generator) -> None:
    network = sdsnn.lower(model(norm), (6,))
    certificate = verify(network, samples(rng)[:2], {name: BACKENDS[name] for name in ("lava", "netx")})
    assert certificate.verified, certificate.as_dict()
    assert [comparison.voltage_bins for comparison in certificate.comparisons] == [2 * 20 * 4] * 2


def test_one_unit_of_one_voltage_is_a_mismatch(rng: np.random.Generator) -> None:
    network = sdsnn.lower(model(), (6,))
    readout = next(iter(network.outputs.values())).source

    def wrong(network: Network, *arguments: Any, **options: Any) -> Any:
        activity = reference.run(network, *arguments, **options)
        voltage = activity.voltage[readout].copy()
        voltage[3, 7, 2] += 1
        return replace(activity, voltage={readout: voltage})

    certificate = verify(network, samples(rng), {"wrong": wrong})
    (comparison,) = certificate.comparisons
    assert not certificate.verified
    assert comparison.mismatches == 1
    first = comparison.first
    assert first is not None
    assert (first["node"], first["sample"], first["step"], first["neuron"]) == (readout, 3, 7, 2)
    assert first["signal"] == "voltage"
    assert first["here"] == first["reference"] + 1


def test_forms_without_voltages_refuse_them_by_name(tmp_path: Path) -> None:
    nodes = {"input": Input((2,)), "a": Population((2,), 4096, 410, 9000), "output": Output("a", "voltage")}
    network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[3, 0], [0, 5]])})
    with pytest.raises(UnsupportedNode, match="output 'output': expected spikes for sinabs, got a voltage"):
        to_sinabs(network)
    with pytest.raises(UnsupportedNode, match="loihi2: expected one output, of spikes"):
        check_supported(network)


def test_an_output_of_spikes_compares_spikes_alone(rng: np.random.Generator) -> None:
    cuba = import_slayer().block.cuba
    network = sdsnn.lower(torch.nn.Sequential(cuba.Dense(NEURON, 6, 3)), (6,))
    (comparison,) = verify(network, samples(rng), {"engine": run_engine}).comparisons
    assert comparison.voltage_bins == 0
