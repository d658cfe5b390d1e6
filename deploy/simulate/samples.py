"""Samples and labels from where users keep them: arrays, events, folders of recordings, the test split of a run.

FILE.npz   spikes (or x): (samples, steps, *shape); labels (or y): (samples,), optional
FILE.npz   events: all recordings' events one after another; offsets: (samples + 1,) where each begins; labels
FILE.npy   spikes as above, or the events of one recording
FOLDER     one folder per class, or recordings without labels, read as in training (`train/data/recordings.py`);
           the time of events counts from the first
RUN        a run folder: the test split of its data set
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.recordings import find_recordings, from_first, read_recording
from sdsnn.train.data.spike_files import LABELS, SPIKES
from sdsnn_core.errors import FileError

FORMS = "an .npz or .npy of spikes or events, a folder of recordings or a run folder"


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that are read one by one, as often as one likes, and their labels: (samples,) int64 or None."""

    source: Iterable[Any]
    count: int
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)


def open_samples(path: str | Path) -> Samples:
    """Open data of any form above. Raises FileError where it is missing, damaged or of other content."""
    path = Path(path)
    if path.is_dir():
        return _run_split(path) if (path / "config.toml").is_file() else _folder(path)
    if not path.is_file():
        raise FileError(f"data {path}: expected {FORMS}, got no such file or folder")
    if path.suffix == ".npy":
        return _array(path)
    if path.suffix != ".npz":
        raise FileError(f"data {path}: expected {FORMS}, got a file that ends in {path.suffix or 'nothing'}")
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, zipfile.BadZipFile):
        raise FileError(f"data {path}: is not an .npz file, or it is damaged") from None
    key = next((key for key in SPIKES if key in names), None)
    if key is not None:
        member = Member(path, key)
        return Samples(member, len(member), _labels(path, names, len(member)))
    if "events" in names:
        return _events(path, names)
    got = ", ".join(sorted(names)) or "none"
    raise FileError(f"data {path}: expected arrays spikes (or x), or events with offsets, got {got}")


def _array(path: Path) -> Samples:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"data {path}: is not an .npy file of plain values ({error})") from None
    if array.dtype.names is not None:
        return Samples([np.asarray(array)], 1)
    if array.ndim < 3:
        raise FileError(f"data {path}: expected (samples, steps, *shape) or events, got {array.dtype} {array.shape}")
    return Samples(array, len(array))


def _labels(path: Path, names: set[str], count: int) -> npt.NDArray[np.int64] | None:
    key = next((key for key in LABELS if key in names), None)
    if key is None:
        return None
    labels = _arrays(path, key)[key]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise FileError(f"data {path}: {key}: expected integers ({count},), got {labels.dtype} {labels.shape}")
    return np.asarray(labels, np.int64)


def _arrays(path: Path, *keys: str) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in keys}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"data {path}: cannot read {' and '.join(keys)} ({error})") from None


def _events(path: Path, names: set[str]) -> Samples:
    if "offsets" not in names:
        raise FileError(f"data {path}: expected offsets (samples + 1,) with events, got events but no offsets")
    events, offsets = _arrays(path, "events", "offsets").values()
    if events.dtype.names is None or not {"t", "x"} <= set(events.dtype.names):
        raise FileError(f"data {path}: events: expected fields t, x and maybe y, p, got {events.dtype}")
    whole = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not whole or (np.diff(offsets) < 0).any() or (offsets[0], offsets[-1]) != (0, len(events)):
        raise FileError(f"data {path}: offsets must rise from 0 to the {len(events)} events")
    return Samples(np.split(events, offsets[1:-1]), len(offsets) - 1, _labels(path, names, len(offsets) - 1))


@final
@dataclass(frozen=True)
class _Lazy:
    """Samples that a function yields, from the first each time."""

    read: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.read()


def _folder(path: Path) -> Samples:
    recordings = find_recordings(path)

    def read() -> Iterator[Any]:
        for recording in map(read_recording, recordings.files):
            yield recording if recording.dtype.names is None else from_first(recording)

    labels = None if recordings.labels is None else np.array(recordings.labels, np.int64)
    return Samples(_Lazy(read), len(recordings.files), labels, tuple(recordings.classes))


def _run_split(path: Path) -> Samples:
    """Return the test split of a run. Its spikes may be made while they are read, so they are read in parts."""
    from sdsnn.train.run.run_folder import RunFolder

    test = RunFolder.open(path).test_split()
    parts = range(0, len(test), 16)
    read = _Lazy(lambda: (x for start in parts for x in test.spikes[start : start + 16]))
    return Samples(read, len(test), np.asarray(test.labels, np.int64))


@final
class Member:
    """An array within an .npz, read sample by sample: compressed or not, it is never in memory as a whole."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        with self._opened() as (_, shape, dtype):
            self.shape, self.dtype = shape, dtype

    def __len__(self) -> int:
        return self.shape[0]

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
        """Give (stream behind the header, shape, dtype)."""
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            with zipfile.ZipFile(self._path) as file, file.open(f"{self._key}.npy") as stream:
                shape, by_column, dtype = readers[np.lib.format.read_magic(stream)](stream)
                if dtype.kind not in "buif" or len(shape) < 3 or by_column:
                    order = " in column order" if by_column else ""
                    raise FileError(
                        f"data {self._path}: {self._key}: expected whole numbers (samples, steps, *shape) in row "
                        f"order, got {dtype} {shape}{order}"
                    )
                yield stream, shape, dtype
        except FileError:
            raise
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FileError(f"data {self._path}: {self._key} is damaged ({error})") from None

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        with self._opened() as (stream, shape, dtype):
            size = int(np.prod(shape[1:])) * dtype.itemsize
            for _ in range(shape[0]):
                raw = stream.read(size)
                if len(raw) != size:
                    raise FileError(f"data {self._path}: {self._key} is damaged (it ends too early)")
                yield np.frombuffer(raw, dtype).reshape(shape[1:])
