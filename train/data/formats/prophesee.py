"""Prophesee's files: DAT (.dat), EVT 2.0 and EVT 3.0 (.raw).

Layouts: https://docs.prophesee.ai/stable/data/file_formats/dat.html,
https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html and evt3.html.
"""

import re

import numpy as np
import numpy.typing as npt

from .events import Bytes, Events, FormatError, as_events, unwrapped, words

ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW, TIME_HIGH = 0, 2, 3, 4, 5, 6, 8  # words of EVT 3.0
LONGEST_HEADER = 1 << 16


def read_dat(raw: Bytes) -> Events:
    """Return the events of a DAT file, version 1 or 2."""
    header, start = _header(raw)
    if len(raw) < start + 2:
        raise FormatError("expected a DAT file (a header of % lines, then events), got an end after the header")
    if raw[start + 1] != 8:
        raise FormatError(f"expected events of 8 bytes, got {raw[start + 1]}")
    time, word = words(raw[start + 2 :], "<u4", 2).T.astype(np.int64)
    version = re.search(r"^%\s*Version\s+(\d+)", header, re.MULTILINE | re.IGNORECASE)
    if version is None or int(version[1]) < 2:
        return as_events(word & 0x1FF, word >> 9 & 0xFF, unwrapped(time, 32), word >> 17 & 1)
    return as_events(word & 0x3FFF, word >> 14 & 0x3FFF, unwrapped(time, 32), word >> 28)


def read_raw(raw: Bytes) -> Events:
    """Return the events of a .raw file; its header says whether they are EVT 2.0 or EVT 3.0."""
    header, start = _header(raw)
    stated = re.search(r"^%\s*(?:evt\s+|format\s+EVT)(\d+(?:\.\d+)?)", header, re.MULTILINE | re.IGNORECASE)
    version = stated[1].removesuffix(".0") if stated else "none"
    if version not in ("2", "3"):
        raise FormatError(f"expected a header with evt 2.0 or evt 3.0, got {version}")
    body = raw[start:]
    return (
        _evt2(words(body, "<u4", what="words")[:, 0])
        if version == "2"
        else _evt3(words(body, "<u2", what="words")[:, 0])
    )


def _header(raw: Bytes) -> tuple[str, int]:
    """Return the lines that start with % and where the data begin."""
    head, start = raw[:LONGEST_HEADER].tobytes(), 0
    while head[start : start + 1] == b"%":
        end = head.find(b"\n", start)
        if end < 0:
            raise FormatError("expected a header of % lines, got one without an end")
        line, start = head[start:end], end + 1
        if line.strip() == b"% end":
            break
    return head[:start].decode("ascii", "replace"), start


def _evt2(word: npt.NDArray[np.uint32]) -> Events:
    """Decode EVT 2.0: the high bits of a time, then events with its six low bits."""
    kind, value = word >> 28, word.astype(np.int64)
    is_high, is_event = kind == 8, kind <= 1
    high = unwrapped(value[is_high] & 0xFFFFFFF, 28)
    at = np.cumsum(is_high)
    known = is_event & (at > 0)  # before the first high time no time is known
    value, at = value[known], at[known]
    return as_events(value >> 11 & 0x7FF, value & 0x7FF, high[at - 1] << 6 | value >> 22 & 63, kind[known])


def _evt3(word: npt.NDArray[np.uint16]) -> Events:
    """Decode EVT 3.0: rows, times and columns are words that hold until the next of their kind."""
    kind, value = word >> 12, (word & 0xFFF).astype(np.int64)
    index = np.arange(len(word))
    width = np.where(kind == VECT_12, 12, 0) + np.where(kind == VECT_8, 8, 0)
    moved = np.cumsum(width) - width  # columns that vectors before this word have covered
    high = np.zeros(len(word), np.int64)
    high[kind == TIME_HIGH] = unwrapped(value[kind == TIME_HIGH], 12)
    # Each state as the position of the word that set it, -1 before the first.
    row, base, upper, lower = (
        np.maximum.accumulate(np.where(kind == code, index, -1)) for code in (ADDR_Y, VECT_BASE_X, TIME_HIGH, TIME_LOW)
    )
    low = np.where(lower > upper, value[lower], 0)  # a new high time starts at low time 0
    time = high[upper] << 12 | low
    known = (row >= 0) & (upper >= 0)
    single = np.flatnonzero((kind == ADDR_X) & known)
    vector = np.flatnonzero((width > 0) & known & (base >= 0))
    set_bits = (value[vector, None] >> np.arange(12) & 1).astype(bool) & (np.arange(12) < width[vector, None])
    which, bit = np.nonzero(set_bits)
    source = np.concatenate([single, vector[which]])
    start = base[vector[which]]
    column = np.concatenate([value[single] & 0x7FF, (value[start] & 0x7FF) + moved[vector[which]] - moved[start] + bit])
    polarity = np.concatenate([value[single] >> 11, value[start] >> 11])
    order = np.argsort(source, kind="stable")
    source = source[order]
    return as_events(column[order], value[row[source]] & 0x7FF, time[source], polarity[order])
