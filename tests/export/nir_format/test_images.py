"""Convolutions stay convolutions in a NIR file, whatever else arrives at their images; large files say their size."""

from __future__ import annotations

import logging
from pathlib import Path

import nir
import numpy as np
import pytest
from networks import assert_same_network

from sdsnn.export.float_import.graph import read_graph
from sdsnn.export.float_import.oracle import refuse_misreading
from sdsnn.export.nir_format import writer
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses

IMAGE = (2, 3, 5)
SIZE = int(np.prod(IMAGE))


def kernel(rng: np.random.Generator, source: str, target: str) -> Convolution:
    return Convolution(source, target, rng.integers(-20, 30, (2, 2, 3, 3)) * 2, padding=(1, 1))


def networks(rng: np.random.Generator) -> dict[str, Network]:
    """Synapses from a vector, a class that feeds back, a skip of one weight for each place: each beside a kernel."""

    def neurons(shape: tuple[int, ...]) -> Population:
        return Population(shape, 4096, 4096, 20)

    def dense(source: str, target: str, n_pre: int, n_post: int, delay: int = 0) -> Synapses:
        return Synapses.from_dense(source, target, rng.integers(-20, 30, (n_post, n_pre)) * 2, delay=np.asarray(delay))

    every, places = np.arange(SIZE), rng.integers(1, 60, SIZE) * 2
    decoder = {"in": Input((7,)), "a": neurons(IMAGE), "b": neurons(IMAGE), "out": Output("b")}
    loop = {"in": Input(IMAGE), "a": neurons(IMAGE), "class": neurons((4,)), "out": Output("class")}
    skip = {"in": Input(IMAGE), "a": neurons(IMAGE), "b": neurons(IMAGE), "out": Output("b")}
    return {
        "decoder": Network(decoder, {"w": dense("in", "a", 7, SIZE, 2), "k": kernel(rng, "a", "b")}),
        "feedback": Network(
            loop,
            {"k": kernel(rng, "in", "a"), "w": dense("a", "class", SIZE, 4), "back": dense("class", "a", 4, SIZE)},
        ),
        "skip": Network(
            skip,
            {
                "k": kernel(rng, "in", "a"), "l": kernel(rng, "a", "b"),
                "s": Synapses("in", "b", every, every, places, np.asarray(1)),
            },
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["decoder", "feedback", "skip"])
def test_a_convolution_stays_one_beside_synapses(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    network = networks(rng)[name]
    path = write_nir(network, tmp_path / "n.nir")
    for key, projection in network.projections.items():
        node = nir.read(path, type_check=False).nodes[key]
        if isinstance(projection, Convolution):
            np.testing.assert_array_equal(node.weight, projection.kernel / np.float32(64))
    assert_same_network(network, read_nir(path))
    spikes = random_spikes(rng, network, 2, 20)
    wanted = reference.run(network, spikes).spikes
    alone = reference.run(read_nir(path, dt=1e-4, metadata=False), spikes).spikes
    for population in network.populations:
        assert wanted[population].any()
        np.testing.assert_array_equal(alone[population], wanted[population])


@pytest.mark.parametrize("name", ["decoder", "feedback", "skip"])
def test_the_floats_of_such_a_file_are_what_nir_defines(name: str, rng: np.random.Generator) -> None:
    """The oracle runs the nodes of the file by its own rules: the kernel from a column to an image is the matrix."""
    network = networks(rng)[name]
    graph = read_graph(to_nir(network), 1e-4)
    shapes = {key: int(np.prod(shape)) for key, shape in graph.inputs.items()}
    inputs = {key: (rng.random((2, 20, size)) < 0.3).astype(np.uint8) for key, size in shapes.items()}
    assert refuse_misreading(graph, inputs) > 500
    dense = network.projections[{"decoder": "w", "feedback": "back", "skip": "s"}[name]]
    assert isinstance(dense, Synapses)
    matrix = np.zeros((SIZE, network.size_of(dense.source)))
    matrix[dense.post, dense.pre] = dense.weight / 64
    key = next(key for key in graph.maps if key.startswith({"decoder": "w", "feedback": "back", "skip": "s"}[name]))
    one = np.eye(matrix.shape[1])
    np.testing.assert_allclose(graph.maps[key].operator.apply(one).T, matrix)


def test_a_file_of_large_matrices_says_how_large_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = {"in": Input((300,)), "a": Population((200,), 4096, 0, 5), "out": Output("a")}
    network = Network(nodes, {"w": Synapses("in", "a", [0], [0], [2])})
    with caplog.at_level(logging.WARNING, "sdsnn"):
        write_nir(network, tmp_path / "small.nir")
        assert not caplog.messages
        monkeypatch.setattr(writer, "LARGE", 200_000)
        path = write_nir(network, tmp_path / "large.nir")
    assert caplog.messages == [
        f"{path}: 0.00024 GB of weights before compression, 0.00024 GB of them for projection 'w': NIR has no sparse "
        "weights"
    ]
