"""Spikes of a simulation in an .npz file, for comparisons and for other tools.

spikes.<population>   events: (n, 3) int32, a row (sample, step, neuron) for each spike, in that order
                      raster: (samples, steps, *shape) uint8, 0 or 1
shape.<population>    its shape; `neuron` counts its places row by row
steps                 steps of the longest sample
predictions, labels   (samples,) int64; labels only where the data have them
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import ConfigError, FileError, NetworkError
from sdsnn_core.files import atomic_path
from sdsnn_core.network import Network

Form = Literal["events", "raster"]
ROW = np.dtype((np.int32, 3))


@final
class SpikeRecorder:
    """Spikes of some populations, kept on disk while a simulation runs, so that memory stays bounded."""

    def __init__(self, network: Network, names: Collection[str] = ()) -> None:
        """Prepare for a simulation.

        Args:
            network: what will run.
            names: populations to keep. Default: all.

        Raises:
            NetworkError: a name is no population.
        """
        self.names = tuple(names) or tuple(network.populations)
        if unknown := [name for name in self.names if name not in network.populations]:
            raise NetworkError(f"populations: expected some of {', '.join(network.populations)}, got {unknown[0]}")
        self._shapes = {name: network.populations[name].shape for name in self.names}
        self._open = ExitStack()
        self._rows: dict[str, IO[bytes]] = {
            name: self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (closed by __exit__)
            for name in self.names
        }
        self._samples = self._steps = 0

    def __enter__(self) -> SpikeRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, activity: Activity) -> None:
        """Keep the spikes of some samples."""
        for name, file in self._rows.items():
            rows = np.argwhere(activity.spikes[name]).astype(np.int32)
            rows[:, 0] += self._samples
            file.write(rows.tobytes())
        self._samples += activity.n_samples
        self._steps = max(self._steps, activity.n_steps)

    def write(
        self,
        path: str | Path,
        form: Form,
        predictions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Write the file, all or nothing.

        Args:
            path: ends in .npz.
            form: of the spikes: events or raster.
            predictions: (samples,) int64, -1 for a sample in which the output was silent.
            labels: (samples,) int64.

        Raises:
            FileError: it cannot be written.
        """
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in self._rows.items():
                file.flush()
                if form == "events":
                    self._write_events(archive, name, file)
                else:
                    self._write_raster(archive, name, file)
                _write_array(archive, f"shape.{name}", np.array(self._shapes[name]))
            _write_array(archive, "steps", np.array(self._steps))
            _write_array(archive, "predictions", predictions)
            if labels is not None:
                _write_array(archive, "labels", labels)

    def _write_events(self, archive: zipfile.ZipFile, name: str, file: IO[bytes]) -> None:
        count = file.seek(0, 2) // ROW.itemsize
        file.seek(0)
        with _member(archive, f"spikes.{name}", (count, 3), "<i4") as member:
            while block := file.read(1 << 20):
                member.write(block)

    def _write_raster(self, archive: zipfile.ZipFile, name: str, file: IO[bytes]) -> None:
        """Write one sample after another; their rows follow each other in the file."""
        shape = self._shapes[name]
        count = file.seek(0, 2) // ROW.itemsize
        rows = np.memmap(file, np.int32, "r", shape=(count, 3)) if count else np.zeros((0, 3), np.int32)
        ends = np.searchsorted(rows[:, 0], np.arange(self._samples + 1))
        with _member(archive, f"spikes.{name}", (self._samples, self._steps, *shape), "|u1") as member:
            for start, end in itertools.pairwise(ends):
                raster = np.zeros((self._steps, math.prod(shape)), np.uint8)
                raster[rows[start:end, 1], rows[start:end, 2]] = 1
                member.write(raster.tobytes())


def check_target(path: Path) -> None:
    """Raise ConfigError or FileError where spikes could not be written to a path, before a simulation."""
    if path.suffix != ".npz":
        raise ConfigError([f"--write: expected a file that ends in .npz, got {path}"])
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FileError(f"{path}: expected a file in a folder that exists and can be written, got another place")


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], descr: str) -> Iterator[IO[bytes]]:
    """Give a member of an .npz behind its header."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header: dict[str, Any] = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _write_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    with _member(archive, name, array.shape, "<i8") as member:
        member.write(array.astype("<i8").tobytes())
