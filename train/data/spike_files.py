"""Samples and labels in files and folders: arrays of spikes, events of many recordings, one recording for each file.

FILE.npz         spikes (or x): (samples, steps, *shape); labels (or y, targets): (samples,) or one-hot, optional
FILE.npz         events: all recordings' events one after another; offsets: (samples + 1,) where each begins; labels
FILE.npy         spikes as above, or one recording
FILE.mat, .pt    as an .npz
FILE             one recording of any form that `recordings` reads
FOLDER           one folder per class, or recordings without labels
"""

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError, one_line

from .formats.arrays import read_header
from .formats.events import FormatError
from .recordings import (
    CONVENTION,
    ENDINGS,
    Convention,
    as_recording,
    columns_of,
    find_recordings,
    load_arrays,
    read_recording,
)

SPIKES: Final = ("spikes", "x")
LABELS: Final = ("labels", "y", "label", "targets", "target")


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that are read one by one, as often as one likes, and their labels: (samples,) int64 or None.

    counted: bins of single recordings, which count events as frames of tonic do; larger counts may be cut to the
    largest value that a network's input takes, as events are.
    """

    source: Iterable[Any]
    count: int
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    counted: bool = False

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)


@final
@dataclass(frozen=True)
class Again:
    """An iterable of what a function yields, from the first item each time."""

    read: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.read()


def open_folder(path: Path, convention: Convention = CONVENTION) -> Samples:
    """Open a folder of recordings, one sample each, in class folders or without labels. Raises FileError."""
    recordings = find_recordings(path)
    labels = None if recordings.labels is None else np.array(recordings.labels, np.int64)
    read = Again(lambda: map(partial(read_recording, convention=convention), recordings.files))
    return Samples(read, len(recordings.files), labels, tuple(recordings.classes), counted=True)


def open_file(path: Path, convention: Convention = CONVENTION) -> Samples:
    """Open a file of samples or of one recording. Spikes of an .npz or .npy are read as they are needed.

    Raises:
        FileError: it is missing, damaged or of other content.
    """
    if path.suffix == ".npy":
        return _npy(path, convention)
    if path.suffix in (".npz", ".mat", ".pt"):
        return _archive(path, convention)
    return Samples([read_recording(path, convention)], 1, counted=True)


def read_spikes(
    path: str | Path, convention: Convention = CONVENTION
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None]:
    """Read all spikes (samples, steps, ...) of a file and, where it has them, labels (samples,).

    Args:
        path: .npy of the spikes; .npz, .mat or .pt of `spikes` or `x`, and of labels under one of LABELS.
        convention: where the time axis is.

    Raises:
        FileError: the file is missing, corrupt or holds something else.
    """
    source = Path(path)
    if not source.is_file():
        raise FileError(f"data {source}: no such file")
    if source.suffix not in ENDINGS[:4]:
        raise FileError(f"data {source}: expected {', '.join(ENDINGS[:4])}, got a file ending in {source.suffix}")
    content = load_arrays(source)
    if isinstance(content, np.ndarray):
        return _time_first(content, convention), None
    key = next((name for name in SPIKES if name in content), None)
    if key is None:
        raise FileError(f"data {source}: expected an array {' or '.join(SPIKES)}, got {', '.join(content) or 'none'}")
    spikes = _time_first(content.pop(key), convention)
    return spikes, labels_of(source, content, len(spikes))


def labels_of(path: Path, arrays: dict[str, npt.NDArray[Any]], count: int) -> npt.NDArray[np.int64] | None:
    """Return the labels among named arrays: (count,) int64; None where there are none.

    Args:
        path: the file, for errors.
        arrays: all of it but the samples.
        count: of samples.

    Raises:
        FileError: labels of another shape or kind, or an array of one entry for each sample under another name.
    """
    key = next((name for name in LABELS if name in arrays), None)
    if key is None:
        unknown = [name for name, array in arrays.items() if array.shape[:1] == (count,) and array.ndim < 3]
        if unknown:
            raise FileError(f"data {path}: expected labels under one of {', '.join(LABELS)}, got {', '.join(unknown)}")
        return None
    labels = arrays[key]
    if labels.ndim == 2 and 1 in labels.shape and labels.size == count:  # a column or a row, as MATLAB writes it
        labels = labels.reshape(-1)
    if labels.shape[:1] != (count,) or labels.ndim > 2 or labels.dtype.kind not in "biuf":
        raise FileError(f"data {path}: {key}: expected integers ({count},), got {labels.dtype} {labels.shape}")
    if labels.ndim == 2:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise FileError(f"data {path}: {key}: expected one 1 in each row of one-hot labels, got other rows")
        return np.asarray(np.argmax(labels, axis=1), np.int64)
    whole: npt.NDArray[np.int64] = labels.astype(np.int64)
    if labels.dtype.kind == "b" or not np.array_equal(whole, labels):
        raise FileError(f"data {path}: {key}: expected integers ({count},), got {labels.dtype} {labels.shape}")
    return whole


def _time_first(spikes: npt.NDArray[Any], convention: Convention) -> npt.NDArray[Any]:
    """Return (samples, steps, *shape) of spikes whose time axis is where the convention says."""
    return np.moveaxis(spikes, -1, 1) if convention.axes == "time-last" and spikes.ndim > 2 else spikes


def _checked(path: Path, array: npt.NDArray[Any], convention: Convention) -> npt.NDArray[Any]:
    """Return spikes (samples, steps, *shape). Raises FileError for another array."""
    if array.ndim < 3 or array.dtype.kind not in "biuf":
        raise FileError(f"data {path}: expected (samples, steps, *shape) or events, got {array.dtype} {array.shape}")
    return _time_first(array, convention)


def _npy(path: Path, convention: Convention) -> Samples:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of numpy, on a damaged header: any
        raise FileError(f"data {path}: not an .npy file of plain arrays ({one_line(error)})") from None
    if array.dtype.names is not None or (array.ndim == 2 and array.shape[1] == 4):
        return Samples([read_recording(path, convention)], 1, counted=True)
    return Samples(_checked(path, array, convention), len(array))


def _archive(path: Path, convention: Convention) -> Samples:
    """Open named arrays, or the single array of a .pt."""
    if path.suffix == ".npz":
        names = _names(path)
        key = next((key for key in SPIKES if key in names), None)
        if key is not None and not columns_of(dict.fromkeys(names, np.zeros(0))):
            member = Member(path, key, convention)
            return Samples(member, len(member), labels_of(path, load_arrays(path, key), len(member)))
    content = load_arrays(path)
    if isinstance(content, np.ndarray):
        if content.ndim < 3:
            return Samples([read_recording(path, convention)], 1, counted=True)
        return Samples(_checked(path, content, convention), len(content))
    if columns_of(content):
        return Samples([read_recording(path, convention)], 1, counted=True)
    key = next((key for key in SPIKES if key in content), None)
    if key is not None:
        spikes = _checked(path, content.pop(key), convention)
        return Samples(spikes, len(spikes), labels_of(path, content, len(spikes)))
    if "events" in content:
        return _events(path, content, convention)
    got = ", ".join(sorted(content)) or "none"
    raise FileError(f"data {path}: expected arrays spikes (or x), or events with offsets, got {got}")


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except Exception as error:  # of zipfile, on a damaged directory: any
        raise FileError(f"data {path}: expected an undamaged .npz file ({one_line(error)})") from None


def _events(path: Path, content: dict[str, npt.NDArray[Any]], convention: Convention) -> Samples:
    """Split the events of many recordings, which stand one after another."""
    if "offsets" not in content:
        raise FileError(f"data {path}: expected offsets (samples + 1,) with events, got events but no offsets")
    events, offsets = content.pop("events"), content.pop("offsets")
    try:
        events = as_recording(events, convention)
    except FormatError as error:
        raise FileError(f"data {path}: events: {error}") from None
    if events.dtype.names is None:
        raise FileError(f"data {path}: events: expected fields t, x and maybe y, p, got {events.dtype}")
    whole = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not whole or (np.diff(offsets) < 0).any() or (offsets[0], offsets[-1]) != (0, len(events)):
        raise FileError(f"data {path}: expected offsets that rise from 0 to the {len(events)} events, got others")
    count = len(offsets) - 1
    return Samples(np.split(events, offsets[1:-1]), count, labels_of(path, content, count))


@final
class Member:
    """An array within an .npz, read sample by sample: compressed or not, it is never in memory as a whole."""

    def __init__(self, path: Path, key: str, convention: Convention = CONVENTION) -> None:
        self._path, self._key, self._convention = path, key, convention
        with self._opened() as (_, shape, dtype):
            self.shape, self.dtype = shape, dtype

    def __len__(self) -> int:
        return self.shape[0]

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
        """Give (stream behind the header, shape, dtype)."""
        try:
            with zipfile.ZipFile(self._path) as file, file.open(f"{self._key}.npy") as stream:
                shape, by_column, dtype = read_header(stream)
                if dtype.kind not in "buif" or len(shape) < 3 or by_column or min(shape) < 0:
                    order = " in column order" if by_column else ""
                    raise FileError(
                        f"data {self._path}: {self._key}: expected whole numbers (samples, steps, *shape) in row "
                        f"order, got {dtype} {shape}{order}"
                    )
                yield stream, shape, dtype
        except FileError:
            raise
        except Exception as error:  # of zipfile and zlib, on a damaged member: any
            raise FileError(f"data {self._path}: {self._key} is damaged ({one_line(error)})") from None

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        with self._opened() as (stream, shape, dtype):
            size = math.prod(shape[1:]) * dtype.itemsize
            for _ in range(shape[0]):
                raw = stream.read(size)
                if len(raw) != size:
                    raise FileError(f"data {self._path}: {self._key} is damaged (it ends too early)")
                sample = np.frombuffer(raw, dtype).reshape(shape[1:])
                yield np.moveaxis(sample, -1, 0) if self._convention.axes == "time-last" else sample
