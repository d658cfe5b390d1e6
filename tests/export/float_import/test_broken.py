"""Float graphs that are broken: one line that names the file, the node and the field."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from sdsnn.export.float_import.file import FloatFile, FloatNode, checked_node, read_float_file
from sdsnn.export.float_import.graph import read_graph
from sdsnn.export.float_import.read import import_file
from sdsnn_core.errors import FileError, NetworkError, SdsnnError

DT = 1e-4


def test_files_that_are_broken_are_named(tmp_path: Path) -> None:
    one = np.ones(3)
    nodes = {
        "in": nir.Input(np.array([4])), "w": nir.Linear(np.ones((3, 4))),
        "n": nir.LIF(tau=10 * DT * one, r=10 * one, v_leak=0 * one, v_threshold=one), "out": nir.Output(np.array([3])),
    }  # fmt: skip

    def changed(name: str, change: Any) -> Path:
        path = tmp_path / f"{name}.nir"
        nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), type_check=False))
        with h5py.File(path, "a") as file:
            change(file)
        return path

    def field(name: str, value: Any) -> Any:
        def change(file: Any) -> None:
            del file[f"node/nodes/{name}"]
            if value is not None:
                file[f"node/nodes/{name}"] = value

        return change

    lfs, pickled = tmp_path / "lfs.nir", tmp_path / "pickle.nir"
    lfs.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    pickled.write_bytes(b"PK\x03\x04 and so on")
    for path, words in (
        (changed("type", lambda f: f.__delitem__("node/type")), "writing it broke off"),
        (changed("edges", lambda f: f.__delitem__("node/edges")), "writing it broke off"),
        (changed("missing", field("n/v_leak", None)), "node 'n': expected a field 'v_leak' of a LIF"),
        (changed("more", lambda f: f.__setitem__("node/nodes/n/tau_ref", 1.0)), "node 'n': expected the fields tau"),
        (changed("nan", field("w/weight", np.full((3, 4), np.nan))), "node 'w' weight: expected numbers, got 12 NaN"),
        (changed("inf", field("n/v_threshold", np.full(3, np.inf))), "node 'n' v_threshold: expected finite"),
        (changed("kind", field("w/type", "MaxPool2d")), "node 'w': expected Input, .* got a MaxPool2d"),
        (lfs, "a Git LFS pointer"),
        (pickled, "a pickle, as torch.save writes it"),
    ):
        with pytest.raises(SdsnnError, match=words) as caught:
            import_file(path, DT)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("padding", 2**54 + 1, "node 'c' padding: expected 0 to 65536, got 18014398509481985"),
        ("padding", -1, "node 'c' padding: expected 0 to 65536, got -1"),
        ("stride", 0, "node 'c' stride: expected 1 to 65536, got 0"),
        ("dilation", 0, "node 'c' dilation: expected 1 to 65536, got 0"),
        ("shape", [2, -6, 6], "node 'in' shape: expected sizes from 1 on, 134217728 values at most, got 2, -6, 6"),
        ("shape", [2**40], "node 'in' shape: expected sizes from 1 on, 134217728 values at most, got 1.09951e+12"),
        ("kernel_size", 0, "node 'p' kernel_size: expected 1 to 65536, got 0"),
    ],
)
def test_absurd_sizes_are_named(field: str, value: Any, message: str) -> None:
    conv = {"weight": np.ones((3, 2, 3, 3)), "bias": np.zeros(3), "stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    pool = {"kernel_size": 2, "stride": 2, "padding": 0}
    port = {"shape": [2, 6, 6]}
    for fields in (conv, pool, port):
        if field in fields and (field == "kernel_size" or fields is not pool):
            fields[field] = value  # type: ignore[index]
    nodes = {
        "in": FloatNode("Input", {name: np.array(v) for name, v in port.items()}),
        "c": FloatNode("Conv2d", conv), "p": FloatNode("AvgPool2d", pool),
        "n": FloatNode("Threshold", {"threshold": 1.0}),
        "out": FloatNode("Output", {}),
    }  # fmt: skip
    with pytest.raises(NetworkError) as caught:
        read_graph(FloatFile(nodes, tuple(itertools.pairwise(nodes))), DT)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau": "\ufffd\ufffd"}, "node 'lif' tau: expected numbers, got a text"),
        ({"r": np.zeros(2, [("a", "<i4"), ("b", "<f8")])}, "node 'lif' r: expected numbers, got a record of fields"),
        ({"v_leak": np.ones(2, complex)}, "node 'lif' v_leak: expected numbers, got complex numbers"),
        ({"r": np.zeros(0)}, "node 'lif' r: expected numbers, got none"),
    ],
)
def test_fields_that_hold_no_numbers_are_named(values: dict[str, Any], message: str) -> None:
    fields = {"tau": np.ones(2), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2), **values}
    with pytest.raises(FileError) as caught:
        checked_node("LIF", fields, "node 'lif'")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("place", "message"),
    [("node", "got one without its type"), ("node/nodes", "damaged"), ("node/nodes/lif", "expected a type, got none")],
)
def test_a_dataset_in_the_place_of_a_group_is_one_line(place: str, message: str, tmp_path: Path) -> None:
    """And quickly: `in` on a dataset would otherwise ask for every element."""
    path = tmp_path / "x.nir"
    with h5py.File(path, "w") as file:
        if place != "node":
            file["node/type"] = "NIRGraph"
            file["node/edges"] = np.array([["a", "b"]], h5py.string_dtype())
        file[place] = np.zeros(200_000)
    with pytest.raises(FileError, match=message) as caught:
        read_float_file(path)
    assert "\n" not in str(caught.value)
