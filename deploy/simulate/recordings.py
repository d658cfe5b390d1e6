"""Folders of recordings, one file each: events or bins of one sample, with the folder as its class."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError

ENDINGS = (".npy", ".npz", ".bin")
EVENT_TYPE = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


@final
@dataclass(frozen=True)
class Recordings:
    """files: in order. labels: index into `classes` of each, None where the files lie in no class folders."""

    files: list[Path]
    labels: list[int] | None
    classes: list[str]


def find_recordings(folder: Path) -> Recordings:
    """Find <class>/<file> or plain files. Classes that are numbers are their own labels, others count in name order.

    Raises FileError where there are none, or files lie both beside and within class folders.
    """
    plain = _files(folder)
    inside = {path.name: _files(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    inside = {name: files for name, files in inside.items() if files}
    if plain and inside:
        raise FileError(
            f"data {folder}: recordings lie beside the folder {min(inside)!r}; allowed are plain files or class folders"
        )
    if plain:
        return Recordings(plain, None, [])
    if not inside:
        raise FileError(f"data {folder}: has no recordings; allowed are files or class folders of {', '.join(ENDINGS)}")
    numbered = all(name.isdecimal() for name in inside)
    classes = sorted(inside, key=int) if numbered else sorted(inside)
    label = {name: int(name) if numbered else index for index, name in enumerate(classes)}
    files = [(path, label[name]) for name in classes for path in inside[name]]
    return Recordings([path for path, _ in files], [index for _, index in files], classes)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def read_recording(path: Path) -> npt.NDArray[Any]:
    """Return one sample: events, structured with fields x, y, t (microseconds in .bin) and p, or bins (steps, *shape).

    .npy holds either; .npz holds bins as spikes or x alone, or one array for each field; .bin is N-MNIST's format.
    """
    if path.suffix == ".bin":
        return _read_bin(path)
    try:
        content: Any = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"data {path}: cannot be read ({error})") from None
    if "t" in arrays and "x" in arrays:
        return _structured(path, arrays)
    for key in ("spikes", "x", "events"):
        if key in arrays:
            return np.asarray(arrays[key])
    raise FileError(f"data {path}: got arrays {', '.join(arrays) or 'none'}, allowed are spikes, events, or t, x, y, p")


def _structured(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    fields = [name for name in ("x", "y", "t", "p") if name in arrays]
    if len({arrays[name].shape for name in fields}) != 1 or arrays["t"].ndim != 1:
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in fields)
        raise FileError(f"data {path}: got {shapes}, allowed are vectors of one length")
    events = np.empty(arrays["t"].shape, [(name, arrays[name].dtype) for name in fields])
    for name in fields:
        events[name] = arrays[name]
    return events


def _read_bin(path: Path) -> npt.NDArray[Any]:
    """Read N-MNIST's format (Orchard et al. 2015): 40 bits per event, big-endian: x 8, y 8, p 1, t 23 (us)."""
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise FileError(f"data {path}: cannot be read ({error})") from None
    if raw.size % 5:
        raise FileError(f"data {path}: has {raw.size} bytes, which are not whole events of 5; the file is damaged")
    byte = raw.reshape(-1, 5).astype(np.int64)
    events = np.empty(len(byte), EVENT_TYPE)
    events["x"], events["y"], events["p"] = byte[:, 0], byte[:, 1], byte[:, 2] >> 7
    events["t"] = (byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]
    return events
