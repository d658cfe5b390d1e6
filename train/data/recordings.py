"""Recordings of one sample each in files: events or time bins, with class folders as labels. numpy only.

Training from `data.name = "folder"` and `sdsnn simulate` read recordings here and nowhere else.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError, MissingDependency, one_line

Events = npt.NDArray[Any]
"""Structured array with fields x, y, t (microseconds) and p; y and p may be absent."""
EVENT_TYPE: Final = np.dtype([(name, np.int64) for name in ("x", "y", "t", "p")])
ENDINGS: Final = (".npy", ".npz", ".bin", ".aedat4")


class Recordings(NamedTuple):
    """The recordings of a folder.

    Attributes:
        files: in order.
        labels: index into `classes` of each; None without class folders.
        classes: names of the class folders.
    """

    files: list[Path]
    labels: list[int] | None
    classes: list[str]


def find_recordings(folder: Path) -> Recordings:
    """Find <class>/<file>, labelled as `class_folders` orders the classes, or plain files.

    Raises:
        FileError: there are no recordings, or files lie both beside and within class folders.
    """
    plain = recordings_in(folder)
    classes = class_folders(folder)
    labelled = [(path, label) for label, name in enumerate(classes) for path in recordings_in(folder / name)]
    if plain and labelled:
        name = labelled[0][0].parent.name
        raise FileError(f"data {folder}: expected plain files or class folders, got files beside the folder {name!r}")
    if plain:
        return Recordings(plain, None, [])
    if not labelled:
        raise FileError(f"data {folder}: expected files or class folders of {', '.join(ENDINGS)}, got no recordings")
    return Recordings([path for path, _ in labelled], [label for _, label in labelled], classes)


def class_folders(folder: Path) -> list[str]:
    """Return the names of the class folders. The label of a class is its index, in training and in simulation.

    The order is that of the names as text, for numbers too: 0, 1, 10, 2. A folder `test` beside `train` has the classes
    of `train`. Raises FileError for a class in `test` that `train` does not have.
    """
    names = _folders(folder)
    train = folder.resolve().parent / "train"
    known = _folders(train) if folder.resolve().name == "test" and train.is_dir() else []
    extra = sorted(set(names) - set(known)) if known else []
    if extra:
        raise FileError(f"data {folder}: expected the classes of {train}, got also {', '.join(extra)}")
    return known or names


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def recordings_in(folder: Path) -> list[Path]:
    """Return the files of a folder that can be recordings, sorted; none of a folder that does not exist."""
    return sorted(path for path in folder.glob("*") if path.suffix in ENDINGS and path.is_file())


def read_recording(path: Path) -> npt.NDArray[Any]:
    """Read one recording.

    Args:
        path: .npy of events (fields, or (n, 4) numbers x, y, t, p wider than a byte) or of bins; .npz of one array
            for each field, of `events`, or of bins as `spikes` or `x`; .bin as in N-MNIST; .aedat4.

    Returns:
        Events (n,) with the fields x and t (microseconds), perhaps y and p; or bins (steps, *shape).

    Raises:
        FileError: the file is missing, damaged or holds something else.
        MissingDependency: an .aedat4 file without the package aedat.
    """
    if path.suffix == ".bin":
        return read_bin(path)
    if path.suffix == ".aedat4":
        return read_aedat4(path)
    content = load_arrays(path)
    if not isinstance(content, dict):
        return _events_or_bins(path, content)
    if "t" in content and "x" in content:
        return _structured(path, content)
    for key in ("spikes", "x", "events"):
        if key in content:
            return _events_or_bins(path, content[key])
    names = ", ".join(content) or "none"
    raise FileError(f"data {path}: expected arrays spikes, events, or t, x, y, p, got {names}")


def from_first(events: Events) -> Events:
    """Return events whose time counts from the first of them, as that of recordings in folders does."""
    if not len(events):
        return events
    shifted: Events = events.copy()
    shifted["t"] = events["t"] - events["t"].min()
    return shifted


def read_bin(path: Path) -> Events:
    """Read N-MNIST's format (Orchard et al. 2015): 40 bits per event, big-endian: x 8, y 8, p 1, t 23 (us)."""
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise FileError(f"data {path}: cannot be read ({one_line(error)})") from None
    if raw.size % 5:
        raise FileError(f"data {path}: expected whole events of 5 bytes, got {raw.size} bytes; the file is damaged")
    byte = raw.reshape(-1, 5).astype(np.int64)
    events = np.empty(len(byte), EVENT_TYPE)
    events["x"], events["y"], events["p"] = byte[:, 0], byte[:, 1], byte[:, 2] >> 7
    events["t"] = (byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]
    return events


def read_aedat4(path: Path) -> Events:
    """Read the events of an .aedat4 file through tonic, which needs the package aedat."""
    try:
        import aedat  # noqa: F401
    except ImportError:
        raise MissingDependency("reading .aedat4 files needs the package aedat: pip install aedat") from None
    from tonic.io import read_aedat4 as read

    try:
        table = read(str(path))
    except BaseException as error:
        # A damaged file may also end in tonic's plain Exception, or in a panic of aedat's Rust, a BaseException.
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise FileError(f"data {path}: not an .aedat4 file of events ({one_line(error)})") from None
    events = np.zeros(len(table), EVENT_TYPE)
    for ours, theirs in zip(("t", "x", "y", "p"), table.dtype.names, strict=True):
        events[ours] = table[theirs]
    return events


def load_arrays(path: Path) -> Any:
    """Return the array of an .npy file, or the arrays of an .npz file by name."""
    try:
        with open(path, "rb") as file:  # np.load leaves a damaged archive open
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"data {path}: not an {path.suffix} file of plain arrays ({one_line(error)})") from None


def _events_or_bins(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.names is not None:
        if not {"x", "t"} <= set(array.dtype.names):
            names = ", ".join(array.dtype.names)
            raise FileError(f"data {path}: expected fields x and t, and perhaps y and p, got {names}")
        return array
    if array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf" and array.dtype.itemsize > 1:
        events = np.zeros(len(array), EVENT_TYPE)
        for column, name in enumerate(EVENT_TYPE.names or ()):
            events[name] = array[:, column]
        return events
    if array.ndim < 2:
        raise FileError(f"data {path}: expected events, or bins (steps, *shape), got shape {array.shape}")
    return array


def _structured(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> Events:
    fields = [name for name in ("x", "y", "t", "p") if name in arrays]
    if len({arrays[name].shape for name in fields}) != 1 or arrays["t"].ndim != 1:
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in fields)
        raise FileError(f"data {path}: expected vectors of one length, got {shapes}")
    events = np.empty(arrays["t"].shape, [(name, arrays[name].dtype) for name in fields])
    for name in fields:
        events[name] = arrays[name]
    return events
