"""Networks in files, ours and floats of others, and mutations through HDF5's own library."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from networks import random_network

from .damage import Rng


def nir_seeds(folder: Path) -> list[Path]:
    """Write networks of our own as NIR, and float graphs as other tools write them."""
    import nir

    from sdsnn.export.nir_format.writer import write_nir

    for number in range(4):
        write_nir(random_network(np.random.default_rng(number)), folder / f"ours{number}.nir")
    ones = np.ones
    chain = {
        "input": nir.Input({"input": np.array([4])}), "affine": nir.Affine(ones((3, 4)), ones(3)),
        "lif": nir.CubaLIF(ones(3) * 0.01, ones(3) * 0.02, ones(3), ones(3) * 0, ones(3)),
        "linear": nir.Linear(ones((2, 3))), "last": nir.LIF(ones(2) * 0.02, ones(2), ones(2) * 0, ones(2)),
        "output": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    names = list(chain)
    nir.write(folder / "float.nir", nir.NIRGraph(chain, list(itertools.pairwise(names))))
    return sorted(folder.iterdir())


def read_nir_file(path: Path) -> None:
    """Read a file as a network of ours, else import it."""
    from sdsnn.export.files import read_network
    from sdsnn.export.float_import.read import import_file
    from sdsnn_core.errors import SdsnnError

    try:
        read_network(path)
    except SdsnnError:
        import_file(path, 1e-3, writer="nir", input_max=1)


def net_seeds(folder: Path) -> list[Path]:
    """Write chains as netx files."""
    from sdsnn.export.netx.writer import write_netx

    number = 0
    while len(list(folder.iterdir())) < 4 and number < 200:
        number += 1
        try:
            write_netx(
                random_network(np.random.default_rng(number), wild=False, skip=False, recurrent=False),
                folder / f"{number}.net",
            )
        except Exception:  # not every network is a chain that netx holds
            continue
    return sorted(folder.iterdir())


def read_net_file(path: Path) -> None:
    """Read a .net as a network."""
    from sdsnn.export.files import read_network

    read_network(path)


def change_hdf5(raw: bytes, rng: Rng) -> bytes:
    """Change, drop or add a dataset, a group or an attribute, with HDF5's own library."""
    import h5py

    target = io.BytesIO(raw)
    with h5py.File(target, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        place = places[rng.integers(len(places))]
        item = file[place]
        values: list[Any] = [
            np.float64("nan"), np.zeros((0,)), np.arange(7), np.zeros((2, 3, 4)), "text", b"\xff\xfe", -1, 2**62,
            np.full(3, np.inf), h5py.Empty("f4"), np.array([b"a", b"bc"]), np.zeros(3, [("a", "i4"), ("b", "f8")]), 1j,
            np.True_, np.float16(3), ["a", "b"],
        ]  # fmt: skip
        value = values[rng.integers(len(values))]
        choice = int(rng.integers(6))
        if choice == 0 or (choice == 1 and isinstance(item, h5py.Group)):
            del file[place]
        elif choice == 1:
            content = item[()] if item.shape is not None else 0
            kind = str(rng.choice(["f2", "i1", "u8", "c8", "?"]))
            del file[place]
            file[place] = np.asarray(content).astype(kind)
        elif choice == 2:
            item.attrs[str(rng.choice([*item.attrs, "extra"]))] = value
        elif choice == 3:
            file.move(place, f"{place}_")
        elif choice == 4:
            del file[place]
            file.create_dataset(place, (int(rng.choice([0, 5, 2**40])), 3), "f4", chunks=(1, 3))
        else:
            del file[place]
            file[place] = value
    return target.getvalue()
