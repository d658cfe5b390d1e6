"""Events as bins of 0 and 1, computed once and kept on disk as indices of the bins that hold a spike.

A folder of the cache holds `bins.npy` (uint32: step * size + channel of every spike, samples one after another),
`offsets.npy` (int64: where each sample starts), `labels.npy`, `summary.json`, which counts what was read, and
`about.json`, which says what was binned and how. It appears whole or not at all, and its name is a hash of everything
that decides its content.
"""

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError
from sdsnn_core.network import Shape

from .formats.events import Events
from .load import Bins, Indices
from .recordings import from_first
from .settings import DataConfig
from .summary import Summary

_FORMAT = 2


@final
@dataclass(frozen=True)
class Recording:
    """One recording. source: file or position, as an error names it. read: gives its events."""

    source: str
    label: int
    read: Callable[[], Events]


@final
@dataclass(frozen=True)
class Sensor:
    """Width, height and polarities. from_first: time counts from a recording's first event, not from zero."""

    width: int
    height: int
    polarities: int
    from_first: bool = False

    def shape(self, downsample: int) -> Shape:
        """Return (polarities, height, width) after downsampling, or (width,) of a row of channels."""
        width = math.ceil(self.width / downsample)
        if self.height == 1 and self.polarities == 1:
            return (width,)
        return (self.polarities, math.ceil(self.height / downsample), width)


class Grid(NamedTuple):
    """The bins that events fall into.

    Attributes:
        n_steps: time steps; later events are left out.
        step_us: microseconds of a time step.
        downsample: pixels (or channels) that become one, per axis.
    """

    n_steps: int = 16
    step_us: float = 1000.0
    downsample: int = 1


def bins_of(events: Events, sensor: Sensor, grid: Grid, source: str) -> npt.NDArray[np.uint32]:
    """Return the sorted bins that hold at least one of the events; events after the last step are left out.

    Args:
        events: of one recording, or its bins (steps, *shape), which count events as tonic's frames do.
        sensor: what it was recorded with.
        grid: steps and pixels to sort them into.
        source: file or position, for errors.

    Raises:
        FileError: events outside the sensor, or bins of another shape.
    """
    names = events.dtype.names
    shape = sensor.shape(grid.downsample)
    if names is None:
        flat = events.ndim == 2 and events.shape[1] == math.prod(shape)
        if not flat and events.shape[1:] != shape:
            raise FileError(f"data {source}: expected bins (steps, *{shape}), got {events.dtype} {events.shape}")
        if events.size and not (np.isfinite(events).all() and events.min() >= 0 and (events == np.rint(events)).all()):
            raise FileError(f"data {source}: expected bins that count events, got {events.min()}..{events.max()}")
        return np.flatnonzero(events[: grid.n_steps]).astype(np.uint32)
    if sensor.from_first:
        events = from_first(events)
    zero = np.zeros(len(events), np.int64)
    x, y, p, t = (events[name].astype(np.int64) if name in names else zero for name in ("x", "y", "p", "t"))
    if sensor.polarities == 1:  # both polarities are one channel
        p = zero
    for name, values, size in (("x", x, sensor.width), ("y", y, sensor.height), ("p", p, sensor.polarities)):
        if len(values) and (values.min() < 0 or values.max() >= size):
            raise FileError(
                f"data {source}: expected {name} in 0..{size - 1} of its sensor, got {values.min()}..{values.max()}"
            )
    step = np.floor(t / grid.step_us).astype(np.int64)
    if len(step) and step.min() < 0:
        raise FileError(f"data {source}: expected times from 0 us, got {t.min()} us")
    rows = (p * shape[1] + y // grid.downsample) * shape[2] if len(shape) == 3 else zero
    channel = rows + x // grid.downsample
    inside = step < grid.n_steps
    return np.unique(step[inside] * math.prod(shape) + channel[inside]).astype(np.uint32)


@final
class EventBins:
    """The recordings of a cache folder."""

    def __init__(self, folder: Path, n_steps: int, shape: Shape) -> None:
        try:
            self.bins = np.load(folder / "bins.npy", mmap_mode="r")
            self.offsets = np.load(folder / "offsets.npy")
            self.labels: npt.NDArray[np.int64] = np.load(folder / "labels.npy")
            self.summary = Summary(**json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise FileError(f"cache {folder}: damaged ({error}); remove the folder to have it made anew") from None
        if len(self.offsets) != len(self.labels) + 1 or self.offsets[-1] != len(self.bins):
            raise FileError(f"cache {folder}: damaged (its files do not fit); remove the folder to have it made anew")
        self.n_steps, self.shape = n_steps, shape

    def make(self, chosen: Indices) -> Bins:
        """Return the bins (n, steps, *shape) of some recordings."""
        size = self.n_steps * math.prod(self.shape)
        flat = np.zeros((len(chosen), size), np.uint8)
        for row, sample in zip(flat, chosen, strict=True):
            row[self.bins[self.offsets[sample] : self.offsets[sample + 1]]] = 1
        return flat.reshape(len(chosen), self.n_steps, *self.shape)


def cached(
    config: DataConfig, sensor: Sensor, recordings: Sequence[Recording], signature: Sequence[object]
) -> EventBins:
    """Return the recordings as bins, from the cache or binned now.

    signature: of the files: names, sizes, times of change.
    """
    shape = sensor.shape(config.downsample)
    if config.n_steps * math.prod(shape) > np.iinfo(np.uint32).max:
        raise FileError(
            f"data {config.name}: expected at most 2^32 - 1 bins, got {config.n_steps} steps of {math.prod(shape)}"
        )
    about = {
        "format": _FORMAT,
        "data": config.name,
        "n_steps": config.n_steps,
        "step_us": config.step_us,
        "downsample": config.downsample,
        "denoise_us": config.denoise_us,
        "time_unit": config.time_unit,
        "axes": config.axes,
        "sensor": [sensor.width, sensor.height, sensor.polarities, sensor.from_first],
        "files": hashlib.sha256(json.dumps([list(signature)], default=str).encode()).hexdigest(),
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_home(config) / f"{config.name.replace(':', '.')}-{key}"
    if not folder.is_dir():
        _fill(folder, config, sensor, recordings, about)
    return EventBins(folder, config.n_steps, shape)


def cache_home(config: DataConfig) -> Path:
    """Return the folder of the cache: `data.cache`, $SDSNN_CACHE or ~/.cache/sdsnn/bins."""
    return Path(config.cache or os.environ.get("SDSNN_CACHE") or "~/.cache/sdsnn/bins").expanduser()


def _fill(
    folder: Path, config: DataConfig, sensor: Sensor, recordings: Sequence[Recording], about: dict[str, Any]
) -> None:
    """Bin all recordings into a folder beside `folder` and rename it."""
    from rich.console import Console
    from rich.progress import track

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise FileError(f"cache {folder.parent}: cannot be written ({error.strerror}); see data.cache") from None
    try:
        offsets, total = [0], 0
        summary = Summary(config.n_steps, config.step_us)
        grid = Grid(config.n_steps, config.step_us, config.downsample)
        console = Console(stderr=True)
        with open(aside / "bins", "wb") as file:
            for recording in track(
                recordings, f"binning {config.name}", console=console, disable=not sys.stderr.isatty()
            ):
                events = recording.read()
                summary.add(events, from_first=sensor.from_first, limit=config.n_steps)
                bins = bins_of(_denoised(events, sensor, config.denoise_us), sensor, grid, recording.source)
                bins.tofile(file)
                total += len(bins)
                offsets.append(total)
        bins = np.fromfile(aside / "bins", np.uint32)
        np.save(aside / "bins.npy", bins)
        (aside / "bins").unlink()
        np.save(aside / "offsets.npy", np.array(offsets, np.int64))
        np.save(aside / "labels.npy", np.array([recording.label for recording in recordings], np.int64))
        (aside / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        (aside / "summary.json").write_text(json.dumps(summary.to_json()), encoding="utf-8")
        try:
            os.replace(aside, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same content
                raise
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cache {folder}: cannot be written ({error.strerror or error}); see data.cache") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _denoised(events: Events, sensor: Sensor, denoise_us: float) -> Events:
    """Return the events that have another one beside them within `denoise_us` before them (tonic's Denoise)."""
    if not denoise_us or sensor.height == 1 or events.dtype.names is None:
        return events
    from tonic.transforms import Denoise

    kept: Events = Denoise(filter_time=denoise_us)(events)
    return kept
