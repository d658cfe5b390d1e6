"""Damaged HDF5 files: refused in one line and at once, whatever they declare; one-to-one projections stay small."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from networks import assert_same_activity, assert_same_network

from sdsnn.export.check.check import check as check_path
from sdsnn.export.float_import.read import read_nir_graph
from sdsnn.export.netx.reader import read_netx
from sdsnn.export.netx.run import run_netx
from sdsnn.export.netx.writer import write_netx
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn.train.data.hdf5 import Group, open_hdf5
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import FileError, SdsnnError
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses


def small() -> Network:
    nodes = {"in": Input((3,)), "p": Population((2,), 1024, 128, 80), "out": Output("p")}
    return Network(nodes, {"w": Synapses.from_dense("in", "p", [[2, 4, 6], [-2, 0, 8]])})


def written(folder: Path) -> dict[str, Path]:
    return {"net": write_netx(small(), folder / "a.net"), "nir": write_nir(small(), folder / "a.nir")}


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("net", read_netx), ("net", check_path), ("nir", read_nir), ("nir", read_nir_graph), ("nir", check_path),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "read"), READERS)
@pytest.mark.parametrize("chunks", [None, (1024, 1024)])
def test_a_dataset_far_larger_than_its_file_is_not_read(
    kind: str, read: Callable[[Path], object], chunks: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = written(tmp_path)[kind]
    place = {"net": "layer/1/weight", "nir": "node/nodes/w/weight"}[kind]
    with h5py.File(path, "r+") as file:
        del file[place]
        file.create_dataset(place, (2**20, 2**20), "f4", chunks=chunks)
    start = time.monotonic()
    with pytest.raises(
        FileError, match=rf"\A[^\n]*a\.{kind}: damaged HDF5 file \({place} declares 4398046511104 bytes"
    ):
        read(path)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_a_heap_of_strings_without_end_is_not_walked(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    """HDF5 adds the length of an entry to its place: 0 keeps it there for ever."""
    path = written(tmp_path)[kind]
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL\x01")
    place = heap + 16
    while struct.unpack_from("<H", content, place)[0]:
        place += 16 + (struct.unpack_from("<Q", content, place + 8)[0] + 7) // 8 * 8
    struct.pack_into("<Q", content, place + 8, 0)
    path.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(FileError, match=rf"\A[^\n]*a\.{kind}: damaged HDF5 file \(a heap of strings[^\n]*\Z"):
        read(path)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", ["net", "nir"])
def test_bytes_changed_at_random_end_in_one_line_or_a_network(kind: str, tmp_path: Path) -> None:
    whole = written(tmp_path)[kind].read_bytes()
    rng = np.random.default_rng(0)
    read = {"net": read_netx, "nir": read_nir}[kind]
    messages: list[tuple[str, str]] = []
    for number in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 6):
            content[place] = rng.integers(256)
        path = tmp_path / f"changed{number}.{kind}"
        path.write_bytes(content)
        try:
            read(path)
        except SdsnnError as error:
            messages.append((str(path), str(error)))
        path.unlink()
    assert len(messages) > 20
    for start, message in messages:
        assert message.startswith(start)
        assert "\n" not in message


def images(channels: int, size: int, weight: int = 1, delay: object = 0) -> Network:
    """An input block with neurons in front of a strided convolution and a dense layer."""
    shape = (channels, size, size)
    every = np.arange(channels * size * size)
    kernel = Convolution("block", "conv", np.full((4, channels, 4, 4), 2), stride=(4, 4))
    small = kernel.output_shape(shape)
    nodes = {
        "in": Input(shape, 255 if delay == 0 else 1), "block": Population(shape, 4096, 200, 60),
        "conv": Population(small, 4096, 100, 30), "last": Population((3,), 4096, 100, 30), "out": Output("last"),
    }  # fmt: skip
    one = Synapses("in", "block", every, every, np.full(every.size, weight), np.asarray(delay))
    dense = Synapses.from_dense("conv", "last", np.full((3, int(np.prod(small))), 2))
    return Network(nodes, {"one": one, "kernel": kernel, "dense": dense})


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_to_one_projections_are_never_a_matrix(tmp_path: Path) -> None:
    """2 x 128 x 128 neurons: a matrix of one byte per entry would take a gigabyte."""
    network = images(2, 128)
    nir_file, netx_file = tmp_path / "n.nir", tmp_path / "n.net"
    for work in (
        lambda: write_nir(network, nir_file),
        lambda: read_nir(nir_file),
        lambda: check_path(nir_file),
        lambda: write_netx(network, netx_file, loader="sdsnn"),
        lambda: read_netx(netx_file),
        lambda: check_path(netx_file),
    ):
        assert peak_of(work) < 150e6
    assert nir_file.stat().st_size < 1.5e6
    assert_same_network(network, read_nir(nir_file))
    assert_same_network(network, read_netx(netx_file))


def test_an_input_block_of_a_net_file_is_read_and_written_small(tmp_path: Path) -> None:
    path = write_netx(images(2, 64), tmp_path / "n.net", loader="sdsnn")
    with h5py.File(path, "r+") as file:
        del file["sdsnn"]
        neuron = file["layer/0"].create_group("neuron")
        for name, value in {"type": np.array([b"CUBA"]), "iDecay": 4096, "vDecay": 200, "vThMant": 60}.items():
            neuron[name] = value
    network = read_netx(path)
    assert peak_of(lambda: write_nir(network, tmp_path / "n.nir")) < 100e6
    assert_same_network(network, read_nir(tmp_path / "n.nir"))


@pytest.mark.parametrize("delay", [0, 3, np.repeat([1, 2], 9)])
def test_one_to_one_synapses_between_images_are_a_small_kernel_and_come_back(delay: object, tmp_path: Path) -> None:
    shape = (2, 3, 3)
    every, weight = np.arange(18), np.repeat([5, -6], 9)
    nodes = {"in": Input(shape), "p": Population(shape, 1024, 128, 3), "out": Output("p")}
    network = Network(nodes, {"w": Synapses("in", "p", every, every, weight, np.asarray(delay), 2)})
    graph = to_nir(network)
    assert graph.nodes["w"].weight.shape == (2, 2, 1, 1)
    assert_same_network(network, read_nir(write_nir(network, tmp_path / "n.nir")))
    alone = read_nir(tmp_path / "n.nir", dt=1e-4, metadata=False)
    spikes = random_spikes(np.random.default_rng(0), network, 2, 20)
    ours, theirs = reference.run(network, spikes), reference.run(alone, spikes)
    np.testing.assert_array_equal(ours.spikes["p"], theirs.spikes["p"])
    uneven = Network(nodes, {"w": Synapses("in", "p", every, every, np.arange(1, 19))})
    assert to_nir(uneven).nodes["w"].weight.shape == (18, 2, 3, 3)
    assert_same_network(uneven, read_nir(write_nir(uneven, tmp_path / "u.nir")))


def test_large_one_to_one_vectors_are_a_scale_node(tmp_path: Path) -> None:
    size = 5000
    every, weight = np.arange(size), np.arange(size) % 200 + 1
    nodes = {"in": Input((size,)), "p": Population((size,), 1024, 128, 3), "out": Output("p")}
    network = Network(nodes, {"w": Synapses("in", "p", every, every, weight, 2, 1)})
    assert peak_of(lambda: write_nir(network, tmp_path / "n.nir")) < 20e6
    assert peak_of(lambda: read_nir(tmp_path / "n.nir")) < 20e6
    assert_same_network(network, read_nir(tmp_path / "n.nir"))


@pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
def test_one_to_one_synapses_run_in_netx_as_in_the_reference(tmp_path: Path) -> None:
    network = images(2, 8, 3)
    path = write_netx(network, tmp_path / "n.net", loader="sdsnn")
    with h5py.File(path) as file:
        assert file["layer/1/type"][0] == b"conv"
    spikes = random_spikes(np.random.default_rng(0), network, 2, 12)
    assert_same_activity(reference.run(network, spikes), run_netx(path, spikes["in"]))


def test_each_small_node_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"in": Input((1,)), "p": Population((12,), 1024, 128, 80), "out": Output("p")}
    weights = Synapses("in", "p", np.zeros(12, int), np.arange(12), np.full(12, 6), np.arange(12))  # twelve nodes
    path = write_nir(network := Network(nodes, {"w": weights}), tmp_path / "a.nir")
    places: list[str] = []
    plain = Group.plain
    monkeypatch.setattr(Group, "plain", lambda group: (places.append(group._place), plain(group))[1])
    assert_same_network(read_nir(path), network)
    places = [place for place in places if place.count("/") == 3]
    assert len(places) > 20
    assert len(places) == len(set(places))


def test_large_and_small_datasets_of_a_group_come_back_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {"b": rng.normal(size=40_000), "a": np.arange(3), "text": "ü", "half": rng.random((2, 3)).astype("f2")}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in values.items():
            file.create_dataset(f"group/{name}", data=value)
        file["group/inner/deep"] = 5
    with open_hdf5(tmp_path / "a.h5", "a file") as root:
        plain = root["group"].plain()
        assert not root["group"]["b"].small
        assert list(plain) == ["a", "b", "half", "inner", "text"]
    for name, value in values.items():
        np.testing.assert_array_equal(plain[name], value)
        assert np.asarray(plain[name]).dtype == np.asarray(value).dtype
    assert plain["inner"] == {"deep": 5}
