"""`sdsnn import`: somebody's NIR file becomes a Network, exactly where its floats are integers, else quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.spike_files import read_spikes
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode
from sdsnn_core.network import Network

from ..hdf5 import open_hdf5
from ..nir_format.reader import from_nir
from ..nir_format.writer import import_nir
from .graph import FloatGraph, read_graph
from .nodes import WRITERS
from .quantise import NodeReport, quantise

RANDOM_SAMPLES: Final = 4
RANDOM_STEPS: Final = 64
RANDOM_RATE: Final = 0.1


@final
@dataclass(frozen=True, eq=False)
class Imported:
    """exact: the floats stood for integers, nothing was rounded. data: what rates were measured on."""

    network: Network
    exact: bool
    writer: str
    data: str
    reports: tuple[NodeReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": 1,
            "network_sha256": self.network.digest(),
            "exact": self.exact,
            "writer": self.writer,
            "data": self.data,
            "nodes": [report.as_dict() for report in self.reports],
        }


def import_file(
    path: Path, dt: float, *, writer: str | None = None, calibrate: Path | None = None, seed: int = 0
) -> Imported:
    """Read a NIR file of another tool as a Network.

    dt: its step in seconds, which NIR does not store. writer: a key of WRITERS, or None to recognise it. calibrate:
    spikes (.npy, .npz) by which the scales are chosen and rates compared; without, rates are compared on random
    spikes drawn with `seed`. Raises FileError, NetworkError and UnsupportedNode in one line, naming file and node.
    """
    if not dt > 0:
        raise NetworkError(f"dt: expected a positive number of seconds, got {dt}")
    if writer is not None and writer not in WRITERS:
        raise NetworkError(f"writer: expected {', '.join(WRITERS)}, got {writer!r}")
    graph = read_nir_graph(path)
    try:
        return _import(graph, dt, writer, calibrate, seed)
    except FileError:
        raise
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error


def read_nir_graph(path: Path) -> Any:
    """Return a file's graph as nir reads it, without NIR's type check. Raises FileError in one line."""
    with open_hdf5(path, "a NIR graph (.nir)"):
        # Without NIR's own type check, which refuses kernels that are not square and what some tools write.
        return import_nir().read(path, type_check=False)


def _import(graph: Any, dt: float, writer: str | None, calibrate: Path | None, seed: int) -> Imported:
    if writer is None or WRITERS[writer] == "euler":
        try:
            return Imported(from_nir(graph, dt=dt), True, "sdsnn's dialect", "", ())
        except (NetworkError, UnsupportedNode):
            pass  # floats that stand for no integers
    read = read_graph(graph, dt, None if writer is None else WRITERS[writer])
    inputs = _random(read, seed) if calibrate is None else _given(read, calibrate)
    made = quantise(read, inputs, calibrate=calibrate is not None)
    data = f"random spikes, rate {RANDOM_RATE}" if calibrate is None else calibrate.name
    return Imported(made.network, False, writer or read.writer, data, made.reports)


def _random(graph: FloatGraph, seed: int) -> dict[str, npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.random((RANDOM_SAMPLES, RANDOM_STEPS, int(np.prod(shape)))) < RANDOM_RATE).astype(np.uint8)
        for name, shape in graph.inputs.items()
    }


def _given(graph: FloatGraph, path: Path) -> Mapping[str, npt.NDArray[np.uint8]]:
    if len(graph.inputs) != 1:
        raise NetworkError(f"calibration data: expected a graph with one input, got {', '.join(sorted(graph.inputs))}")
    name, shape = next(iter(graph.inputs.items()))
    spikes, _ = read_spikes(path)
    size = int(np.prod(shape))
    if spikes.ndim < 3 or int(np.prod(spikes.shape[2:])) != size:
        raise FileError(f"data {path}: expected (samples, steps, {size}), got shape {spikes.shape}")
    whole = spikes.reshape(*spikes.shape[:2], size)
    if whole.size == 0 or whole.min() < 0 or whole.max() > 255 or np.any(whole != np.rint(whole)):
        raise FileError(f"data {path}: expected integers 0..255, got values that are no spikes")
    return {name: whole.astype(np.uint8)}
