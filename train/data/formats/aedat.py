"""iniVation's AEDAT 2.0 and 3.1 (.aedat) and 4.0 (.aedat4).

Layouts: https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html.
Coordinates are those of the file: AEDAT 2 counts y from the lower edge, later versions from the upper one.
"""

import re
from pathlib import Path

import numpy as np

from sdsnn_core.errors import FileError, MissingDependency, one_line
from sdsnn_core.system.contained import Limits, contained

from .events import Bytes, Events, FormatError, as_events, unwrapped, words

POLARITY_EVENTS = 1
BYTES_PER_S, MEMORY, EXPANSION = 2**22, 2**29, 256  # limits of decoding an .aedat4, whose packets are compressed
PACKET = np.dtype([(name, "<i2") for name in ("kind", "source")] + [
    (name, "<i4") for name in ("size", "offset", "overflow", "capacity", "count", "valid")
])  # fmt: skip


def read_aedat(raw: Bytes) -> Events:
    """Return the polarity events of an .aedat file; the version in its first line decides."""
    head = raw[: 1 << 20].tobytes()
    stated = re.match(rb"#!AER-DAT(\d+)\.(\d+)", head)
    version = (int(stated[1]), int(stated[2])) if stated else (0, 0)
    if version == (2, 0):
        return _version_2(raw, head)
    if version == (3, 1):
        end = head.find(b"#!END-HEADER\r\n")
        if end < 0:
            raise FormatError("expected an AEDAT 3.1 header that ends with #!END-HEADER, got none")
        return _version_3(raw[end + 14 :])
    got = f"version {version[0]}.{version[1]}" if stated else "no such line"
    raise FormatError(f"expected #!AER-DAT2.0 or #!AER-DAT3.1 in the first line, got {got}")


def _version_2(raw: Bytes, head: bytes) -> Events:
    """Decode pairs of 32 bits, address and time. The chip in the header says what an address means."""
    start = 0
    while head[start : start + 1] == b"#":
        end = head.find(b"\n", start)
        if end < 0:
            raise FormatError("expected a header of # lines, got one without an end")
        start = end + 1
    address, time = words(raw[start:], ">u4", 2).T.astype(np.int64)
    time = unwrapped(time, 32)
    chip = re.search(rb"^#\s*AEChip:\s*(\S+)", head[:start], re.MULTILINE)
    small = b"dvs128" in chip[1].lower() if chip else not (address >> 16).any()
    if small:  # bit 15 marks an external event
        kept = (address >> 15 & 1) == 0
        address, time = address[kept], time[kept]
        return as_events(address >> 1 & 127, address >> 8 & 127, time, address & 1)
    kept = ((address >> 31) == 0) & ((address >> 10 & 1) == 0)  # neither frames and motion, nor external events
    address, time = address[kept], time[kept]
    return as_events(address >> 12 & 1023, address >> 22 & 511, time, address >> 11 & 1)


def _version_3(raw: Bytes) -> Events:
    """Decode packets of one type of event each; those of polarity are kept, where they are marked as valid."""
    parts, start = [as_events(*[np.zeros(0)] * 4)], 0
    while start < len(raw):
        if start + PACKET.itemsize > len(raw):
            raise FormatError("expected whole packets, got an end within a packet's header; the file is damaged")
        packet = raw[start : start + PACKET.itemsize].view(PACKET)[0]
        size, count, start = int(packet["size"]), int(packet["count"]), start + PACKET.itemsize
        length = size * count
        if size < 1 or count < 0 or start + length > len(raw):
            raise FormatError(f"expected whole packets, got one of {count} events of {size} bytes; the file is damaged")
        if packet["kind"] == POLARITY_EVENTS:
            if size != 8:
                raise FormatError(f"expected polarity events of 8 bytes, got {size}")
            word, time = words(raw[start : start + length], "<u4", 2).T.astype(np.int64)
            word, time = word[word & 1 == 1], time[word & 1 == 1]
            parts.append(as_events(word >> 17, word >> 2 & 0x7FFF, int(packet["overflow"]) << 31 | time, word >> 1 & 1))
        start += length
    return np.concatenate(parts)


def read_aedat4(path: Path) -> Events:
    """Return the events of an .aedat4 file, as tonic reads them with the package aedat, in a child with limits."""
    try:
        import aedat  # noqa: F401
        import tonic.io
    except ImportError:
        raise MissingDependency("reading .aedat4 files needs the package aedat: pip install aedat") from None
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    size = path.stat().st_size

    def decode(_: object) -> Events:
        try:
            table = tonic.io.read_aedat4(str(path))
        except BaseException as error:  # a panic of aedat's Rust is one, and tonic raises a plain Exception
            raise ValueError(one_line(error)) from None
        time, x, y, on = (table[name] for name in table.dtype.names)
        return as_events(x, y, time, on)

    try:
        with contained(lambda: decode, Limits(10 + size / BYTES_PER_S, MEMORY + EXPANSION * size)) as ask:
            events: Events = ask(None)
            return events
    except FileError as error:
        raise FormatError(f"not an .aedat4 file of events ({error})") from None
