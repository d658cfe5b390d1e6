"""Recordings of one sample each in files: events or time bins, with class folders as labels. numpy only.

Training from `data.name = "folder"` and `sdsnn simulate` read recordings here and nowhere else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError, one_line

from .formats import aedat, arrays, event_stream, prophesee, slayer
from .formats.events import EVENT_TYPE, Events, FormatError

DECODERS: Final = {
    ".bin": slayer.read_bin,
    ".bs1": slayer.read_bs1,
    ".bs2": slayer.read_bs2,
    ".bs3": slayer.read_bs3,
    ".aedat": aedat.read_aedat,
    ".dat": prophesee.read_dat,
    ".raw": prophesee.read_raw,
    ".es": event_stream.read_es,
}
"""Ending -> (bytes) -> events. Their clocks count microseconds, whatever `Convention.time_unit` says."""
ENDINGS: Final = (*arrays.READERS, *DECODERS, ".aedat4")
MICROSECONDS: Final = {"us": 1, "ms": 1_000, "s": 1_000_000}
FIELDS: Final = {
    "x": ("x",),
    "y": ("y",),
    "t": ("t", "ts", "time", "timestamp", "timestamps"),
    "p": ("p", "pol", "polarity", "on"),
}  # our name of a column -> names in files
LARGEST: Final = 2**62

Unit = Literal["us", "ms", "s"]
Axes = Literal["time-first", "time-last"]


class Convention(NamedTuple):
    """What an array does not say of itself.

    Attributes:
        time_unit: unit of the times of events in arrays.
        axes: where the time axis of bins is: first (steps, *shape), or last (*shape, steps) as in SLAYER.
    """

    time_unit: Unit = "us"
    axes: Axes = "time-first"


CONVENTION: Final = Convention()


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
    files = (path for path in folder.glob("*") if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file())


def read_recording(path: Path, convention: Convention = CONVENTION) -> npt.NDArray[Any]:
    """Read one recording.

    Args:
        path: .npy, .npz, .mat or .pt of events (fields or arrays x, t and perhaps y, p; or (n, 4) numbers x, y, t, p
            wider than a byte) or of bins (the array itself, or named spikes, frames or x); .bin as in N-MNIST; SLAYER's
            .bs1, .bs2, .bs3; .aedat, .aedat4; Prophesee's .dat and .raw; Event Stream's .es.
        convention: what arrays do not say.

    Returns:
        Events (n,) with the fields x and t (microseconds), perhaps y and p; or bins (steps, *shape).

    Raises:
        FileError: the file is missing, damaged or holds something else.
        MissingDependency: an .aedat4 file without the package aedat.
    """
    try:
        ending = path.suffix.lower()
        if ending == ".aedat4":
            return aedat.read_aedat4(path)
        if ending in DECODERS:
            return DECODERS[ending](np.fromfile(path, np.uint8))
        return as_recording(arrays.read_arrays(path), convention, count_from_1=ending == ".mat")
    except FormatError as error:
        raise FileError(f"data {path}: {error}") from None
    except OSError as error:
        raise FileError(f"data {path}: cannot be read ({one_line(error)})") from None


def load_arrays(path: Path, skip: str = "") -> Any:
    """Return the array of a file, or its arrays by name but one (of an .npz). Raises FileError."""
    try:
        return arrays.read_arrays(path, 16 * arrays.LIMIT, skip)
    except FormatError as error:
        raise FileError(f"data {path}: {error}") from None
    except OSError as error:
        raise FileError(f"data {path}: cannot be read ({one_line(error)})") from None


def from_first(events: Events) -> Events:
    """Return events whose time counts from the first of them, as that of recordings in folders does."""
    if not len(events):
        return events
    shifted: Events = events.copy()
    shifted["t"] = events["t"] - events["t"].min()
    return shifted


def as_recording(
    content: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], convention: Convention, *, count_from_1: bool = False
) -> npt.NDArray[Any]:
    """Return the events or bins of an array or of named arrays.

    Args:
        content: as in a file of one recording.
        convention: what it does not say.
        count_from_1: MATLAB's custom: polarities 1 and 2 mean that x and y count from 1 as well.

    Raises:
        FormatError: it is neither.
    """
    if not isinstance(content, np.ndarray):
        if columns := columns_of(content):
            return _events(columns, convention, count_from_1)
        key = next((key for key in ("spikes", "frames", "x", "events") if key in content), None)
        if key is None:
            raise FormatError(f"expected arrays spikes, events, or t, x, y, p, got {', '.join(content) or 'none'}")
        content = content[key]
    if content.dtype.names is not None:
        if columns := columns_of({name: content[name] for name in content.dtype.names}):
            return _events(columns, convention, count_from_1)
        raise FormatError(f"expected fields x and t, and perhaps y and p, got {', '.join(content.dtype.names)}")
    if content.dtype.kind not in "biuf" or content.ndim < 2:
        raise FormatError(f"expected events, or bins (steps, *shape), got {content.dtype} of shape {content.shape}")
    if content.ndim == 2 and content.shape[1] == 4 and content.dtype.kind in "iuf" and content.dtype.itemsize > 1:
        table = dict(zip(EVENT_TYPE.names or (), content.T, strict=True))
        events = _events(table, convention, count_from_1)
        return events.astype(EVENT_TYPE)
    return np.moveaxis(content, -1, 0) if convention.axes == "time-last" else content


def columns_of(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns x, y, t, p under our names; none where x or t is missing."""
    lower = {name.lower(): array for name, array in arrays.items()}
    columns = {
        ours: lower[name] for ours, names in FIELDS.items() if (name := next((n for n in names if n in lower), None))
    }
    return columns if {"x", "t"} <= set(columns) else {}


def _events(columns: Mapping[str, npt.NDArray[Any]], convention: Convention, count_from_1: bool) -> Events:
    """Return events of columns: pixels and polarities whole numbers, times in microseconds."""
    if len({column.shape for column in columns.values()}) != 1 or columns["t"].ndim != 1:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
        raise FormatError(f"expected vectors of one length, got {shapes}")
    unit = MICROSECONDS[convention.time_unit]
    exact = {name: _numbers(name, column, unit if name == "t" else 1) for name, column in columns.items()}
    if unit != 1:
        exact["t"] = np.rint(exact["t"] * float(unit)).astype(np.int64)
    polarity = exact.get("p", np.zeros(0, np.int64))
    lowest, highest = polarity.min(initial=0), polarity.max(initial=0)
    if lowest == -1:
        exact["p"] = (polarity > 0).astype(np.int64)
    elif count_from_1 and highest == 2 and polarity.min() == 1:
        exact.update({name: exact[name] - 1 for name in ("x", "y", "p") if name in exact})
    events = np.empty(len(exact["t"]), [(name, column.dtype) for name, column in exact.items()])
    for name, column in exact.items():
        events[name] = column
    return events


def _numbers(name: str, column: npt.NDArray[Any], unit: int) -> npt.NDArray[Any]:
    """Return a column as int64; a time, which `unit` will multiply, may be float64."""
    if column.dtype.kind not in "biuf":
        raise FormatError(f"field {name}: expected numbers, got {column.dtype}")
    if column.size and not unit * max(abs(float(column.min())), abs(float(column.max()))) < LARGEST:
        raise FormatError(f"field {name}: expected finite numbers, got {column.min()}..{column.max()}")
    if column.dtype.kind != "f":
        return column.astype(np.int64)
    if name == "t":
        return column.astype(np.float64)
    whole = column.astype(np.int64)
    if not np.array_equal(whole, column):
        raise FormatError(f"field {name}: expected whole numbers, got {column[whole != column][0]}")
    return whole
