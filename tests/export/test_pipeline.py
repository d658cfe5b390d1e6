"""From a run to a verified file: every form spikes alike, and a form that does not is caught and named."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest
from networks import assert_same_network, random_network

from sdsnn.export.netx.reader import read_netx
from sdsnn.export.netx.writer import write_netx
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.export.pipeline import export_run
from sdsnn.export.verify import files
from sdsnn.export.verify.backends import file_backend, recorded
from sdsnn.export.verify.certificate import verify
from sdsnn.export.verify.files import verify_file
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn_core import reference
from sdsnn_core.activity import Activity, random_spikes
from sdsnn_core.errors import BackendError, NetworkError, UnsupportedNode
from sdsnn_core.network import Input, Network, Output, Population, Synapses

SMALL = [
    "optimiser.epochs=6", "model.hidden=[32, 24]", "data.n_steps=10", "optimiser.batch_size=128",
    "model.delay=true", "development.synapse_stage=true", "development.synapse_target=0.7",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = load_config("digits", SMALL)
    folder = RunFolder.create(tmp_path_factory.mktemp("run") / "run", config)
    train(config, folder)
    return folder


def test_slayer_file_and_reference_spike_alike_and_the_network_is_smaller(folder: RunFolder) -> None:
    exported = export_run(folder, verify_samples=16, lava=False)
    certificate = exported.certificate
    assert certificate.verified
    assert [c.backend for c in certificate.comparisons] == ["slayer", "nir", "netx file"]
    assert certificate.skipped == {"netx": "not asked for", "lava": "not asked for"}
    assert all(
        c.bins == 16 * 10 * sum(p.size for p in exported.network.populations.values()) for c in certificate.comparisons
    )
    assert_same_network(exported.network, read_nir(folder.network_file))
    assert exported.netx.path == folder.path / "network.net"
    assert exported.netx.loader == "netx"
    assert_same_network(exported.network, read_netx(exported.netx.path))
    dense = 64 * 32 + 32 * 24 + 24 * 10
    kept = sum(p.n_weights for p in exported.network.projections.values())
    assert kept <= 0.35 * dense
    written = json.loads((folder.path / "certificate.json").read_text())
    assert written["verified"] is True
    assert written["network_sha256"] == exported.network.digest()
    # What the masked network says of the units that stayed, the compacted one says too, on data.
    spikes = folder.test_split().spikes
    masked, small = (reference.run(net, spikes) for net in (exported.masked, exported.network))
    for name in exported.network.populations:
        np.testing.assert_array_equal(masked.spikes[name][..., exported.compaction.kept[name]], small.spikes[name])


def test_one_wrong_bin_is_found_and_named_and_its_traces_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    net = random_network(rng)
    spikes = random_spikes(rng, net, 2, 20)
    right = dict(reference.run(net, spikes, record=list(net.populations)).spikes)
    name = list(right)[-1]
    wrong = {**right, name: right[name].copy()}
    wrong[name][1, 7, 0] ^= 1
    certificate = verify(net, spikes, {"right": recorded(right), "wrong": recorded(wrong)}, tmp_path)
    assert not certificate.verified
    good, bad = certificate.comparisons
    assert (good.mismatches, bad.mismatches) == (0, 1)
    assert bad.first is not None
    assert {key: bad.first[key] for key in ("node", "sample", "step", "neuron")} == {
        "node": name, "sample": 1, "step": 7, "neuron": 0,
    }  # fmt: skip
    assert certificate.bins == good.bins + bad.bins
    traces = nir.read_data(bad.trace_file).nodes[name].observables
    differ = np.argwhere(traces["reference"].data != traces["wrong"].data)
    assert differ.tolist() == [[0, 7, 0]]
    assert traces["voltage"].data.shape == traces["reference"].data.shape == (1, 20, right[name].shape[2])
    assert [path.name for path in tmp_path.iterdir()] == ["mismatch-wrong.nir-data"]


def test_a_file_that_says_something_else_is_not_verified(tmp_path: Path) -> None:
    from sdsnn.export.nir_format.writer import write_nir

    def network(weight: int) -> Network:
        return Network(
            {"input": Input((1,)), "a": Population((1,), 4096, 410, 64), "output": Output("a")},
            {"w": Synapses("input", "a", [0], [0], [weight])},
        )

    path = tmp_path / "n.nir"
    write_nir(network(60), path)
    certificate = verify(network(80), np.ones((1, 9, 1)), {"nir": file_backend(path)})
    assert not certificate.verified
    assert certificate.mismatches > 0


def test_back_ends_that_cannot_run_a_network_are_skipped_by_name_and_the_others_run(tmp_path: Path) -> None:
    """Two sources of one population: no chain for netx. A back end that has no rule for a node steps aside."""
    nodes = {"input": Input((2,)), "a": Population((2,), 4096, 410, 20), "b": Population((2,), 4096, 410, 20)}
    eye = np.eye(2, dtype=int) * 60
    ends = {"wa": ("input", "a"), "wb": ("input", "b"), "ab": ("a", "b")}
    projections = {name: Synapses.from_dense(*pair, eye) for name, pair in ends.items()}
    path = write_nir(Network({**nodes, "output": Output("b")}, projections), tmp_path / "n.nir")

    def refuses(network: Network, spikes: object, **options: object) -> Activity:
        raise UnsupportedNode("node 'b': expected one source, got two")

    certificate, written = verify_file(path, lava=False, extra={"other": refuses})
    assert certificate.verified
    assert [c.backend for c in certificate.comparisons] == ["nir"]
    assert certificate.skipped["other"] == "node 'b': expected one source, got two"
    assert certificate.skipped["netx file"].startswith("node 'input': expected one chain from one input to one output")
    assert set(certificate.skipped) == {"netx file", "netx", "lava", "other"}
    assert json.loads(written.read_text())["skipped"] == dict(certificate.skipped)


def test_verify_goes_on_where_a_format_has_no_place_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_nir(network: Network, path: Path) -> Path:
        raise NetworkError("projection 'w': expected up to 8 bytes (max_bytes), got 9")

    network = Network(
        {"input": Input((1,)), "a": Population((1,), 4096, 410, 20), "output": Output("a")},
        {"w": Synapses("input", "a", [0], [0], [60])},
    )
    path = write_netx(network, tmp_path / "n.net")
    monkeypatch.setattr(files, "write_nir", no_nir)
    certificate, _ = verify_file(path, lava=False)
    assert certificate.verified
    assert [c.backend for c in certificate.comparisons] == ["netx file"]
    assert certificate.skipped["nir"] == "projection 'w': expected up to 8 bytes (max_bytes), got 9"


def test_a_back_end_that_fails_or_records_too_little_is_not_verified() -> None:
    rng = np.random.default_rng(6)
    net = random_network(rng, max_layers=3)
    spikes = random_spikes(rng, net, 1, 5)

    def broken(network: Network, spikes: object, **options: object) -> Activity:
        raise BackendError("ran past its time limit of 3 s")

    certificate = verify(net, spikes, {"broken": broken, "partial": recorded({})})
    assert not certificate.verified
    assert certificate.comparisons[0].failed == "ran past its time limit of 3 s"
    assert "other populations or shapes" in (certificate.comparisons[1].failed or "")
    assert not verify(net, spikes, {}).verified
