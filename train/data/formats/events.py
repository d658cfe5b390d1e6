"""Events as an array, and the error of a file that does not hold them."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Events = npt.NDArray[Any]
"""Structured array with fields x, y, t (microseconds) and p; y and p may be absent."""
EVENT_TYPE: Final = np.dtype([(name, np.int64) for name in ("x", "y", "t", "p")])


class FormatError(Exception):
    """What is wrong with a file: `expected X, got Y`. The reader adds which file it is."""


def as_events(x: npt.ArrayLike, y: npt.ArrayLike, t: npt.ArrayLike, p: npt.ArrayLike) -> Events:
    """Return events of columns of whole numbers, t in microseconds."""
    columns = [np.asarray(column) for column in (x, y, t, p)]
    events = np.zeros(columns[2].shape, EVENT_TYPE)
    for name, column in zip(EVENT_TYPE.names or (), columns, strict=True):
        events[name] = column
    return events


def words(raw: Bytes, dtype: str, columns: int = 1, what: str = "events") -> npt.NDArray[Any]:
    """Return the bytes as rows of so many numbers of a type. Raises FormatError where the last row is cut off."""
    size = np.dtype(dtype).itemsize * columns
    if raw.size % size:
        raise FormatError(f"expected whole {what} of {size} bytes, got {raw.size} bytes; the file is damaged")
    return np.ascontiguousarray(raw).view(dtype).reshape(-1, columns)


def unwrapped(clock: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int64]:
    """Return a clock of some bits without its overflows: a fall by more than half its range is one."""
    values = clock.astype(np.int64)
    if not len(values):
        return values
    falls = np.diff(values, prepend=values[:1]) < -(1 << (bits - 1))
    return values + (np.cumsum(falls) << bits)
