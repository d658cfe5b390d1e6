"""Networks of every neuron model in NIR files: read back identically by us, refused by their type by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import assert_same_network, random_network

from sdsnn.export.nir_format.extension import EXTENSIONS
from sdsnn.export.nir_format.reader import from_nir, read_nir
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Input, Network, Output, SigmaDelta, Synapses


@pytest.mark.parametrize("seed", range(2))
def test_random_networks_of_all_models(seed: int, tmp_path: Path) -> None:
    for number in range(8):
        network = random_network(np.random.default_rng([seed, number]), models=True)
        assert_same_network(read_nir(write_nir(network, tmp_path / "network.nir")), network)
        assert_same_network(from_nir(to_nir(network)), network)


def test_other_readers_name_the_node_and_the_floats_alone_are_refused(tmp_path: Path) -> None:
    import nir

    nodes = {"in": Input((2,), 9, -9), "a": SigmaDelta((3,), 6, 2, relu=False), "out": Output("a")}
    network = Network(nodes, {"w": Synapses.from_dense("in", "a", np.ones((3, 2), int))})
    path = write_nir(network, tmp_path / "network.nir")
    with pytest.raises(AssertionError):  # nir 1.0.8: an unknown type
        nir.read(path)
    with pytest.raises(UnsupportedNode, match=r"node 'a': SdsnnSigmaDelta has no floats of NIR"):
        read_nir(path, metadata=False, dt=1e-4)
    assert len(EXTENSIONS) == 6  # every neuron model but CubaLif, which NIR has
