"""Large convolutional `.net` files: convolutions stay convolutions beside an input layer with one-to-one neurons."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import assert_same_network
from pilotnet import write_pilotnet

from sdsnn.export.check.check import check
from sdsnn.export.files import read_network
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.export.verify.files import verify_file
from sdsnn_core.network import Convolution, Synapses


def test_a_file_of_pilotnets_size_is_read_checked_and_written_without_expanding_a_convolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pilotnet(tmp_path / "pilotnet.net")

    synapses = Convolution.synapses

    def expanded(self: Convolution, shape: tuple[int, ...]) -> Synapses:
        assert self.kernel.shape[2:] == (1, 1), f"{self.source} -> {self.target} was expanded"
        return synapses(self, shape)  # the one-to-one input projection

    monkeypatch.setattr(Convolution, "synapses", expanded)
    network = read_network(path)
    assert network.size_of("input") == 39_600
    assert sum(type(p) is Convolution for p in network.projections.values()) == 5
    rules = [finding.rule for finding in check(path)]
    assert "readable" not in rules
    assert not {"sparse-flag", "graded-input"} & set(rules), "the input neurons are no matrix, and netx drives them"
    written = write_nir(network, tmp_path / "pilotnet.nir")
    assert written.stat().st_size < 2 * path.stat().st_size
    assert_same_network(network, read_nir(written))


def test_verify_runs_what_can_and_says_why_netx_cannot(tmp_path: Path) -> None:
    path = write_pilotnet(tmp_path / "small.net", (1, 61, 61))
    certificate, _ = verify_file(path, n_steps=150, lava=False)
    assert certificate.verified
    assert certificate.n_samples == 1, "of 8 for small networks"
    assert [comparison.backend for comparison in certificate.comparisons] == ["nir", "netx file"]
    assert certificate.skipped["netx"].startswith("its first layer has neurons, whose bias is the input")
