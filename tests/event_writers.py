"""Writers of event files, one event and one word at a time, from the public descriptions of the formats."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

Event = tuple[int, int, int, int]
"""x, y, t in microseconds, p."""


def write_bs1(path: Path, events: Iterable[Event]) -> None:
    path.write_bytes(b"".join((x << 24 | p << 23 | t).to_bytes(5, "big") for x, _, t, p in events))


def write_bs2(path: Path, events: Iterable[Event]) -> None:
    path.write_bytes(b"".join((x << 32 | y << 24 | p << 23 | t).to_bytes(5, "big") for x, y, t, p in events))


def write_bs3(path: Path, events: Iterable[Event]) -> None:
    path.write_bytes(b"".join((x << 44 | y << 32 | p << 24 | t).to_bytes(7, "big") for x, y, t, p in events))


def write_dat(path: Path, events: Iterable[Event]) -> None:
    body = b"".join(struct.pack("<II", t % 2**32, p << 28 | y << 14 | x) for x, y, t, p in events)
    path.write_bytes(b"% Data file containing CD events\n% Version 2\n% Width 34\n% Height 34\n" + b"\x0c\x08" + body)


def write_dat1(path: Path, events: Iterable[Event]) -> None:
    body = b"".join(struct.pack("<II", t, p << 17 | y << 9 | x) for x, y, t, p in events)
    path.write_bytes(b"% Data file\n" + b"\x00\x08" + body)


def write_evt2(path: Path, events: Iterable[Event]) -> None:
    words, high = [0xA << 28], None  # a trigger first: no event
    for x, y, t, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high % 2**28)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    path.write_bytes(b"% evt 2.0\n% end\n" + struct.pack(f"<{len(words)}I", *words))


def write_evt3(path: Path, events: Iterable[Event]) -> None:
    """Neighbours of one row, time and polarity become vectors of 12 or 8 columns, as cameras send them."""
    words: list[int] = [0xE000, 0xF000]
    state: dict[str, int | None] = dict.fromkeys(("high", "low", "y"))
    rest = list(events)
    while rest:
        x, y, t, p = rest[0]
        if state["high"] != t >> 12:
            words.append(8 << 12 | (t >> 12) % 4096)
            state.update(high=t >> 12, low=None)
        if state["low"] != t & 4095:
            words.append(6 << 12 | t & 4095)
            state["low"] = t & 4095
        if state["y"] != y:
            words.append(y)
            state["y"] = y
        row = [e for e in rest if e[1:] == (y, t, p) and x <= e[0] < x + 20]
        run = rest[: len(row)]
        if len(row) > 1 and run == sorted(set(row)):
            columns = {e[0] - x for e in row}
            words += [3 << 12 | p << 11 | x, 4 << 12 | sum(1 << c for c in columns if c < 12)]
            words += [5 << 12 | sum(1 << (c - 12) for c in columns if c >= 12)]
            rest = rest[len(row) :]
        else:
            words.append(2 << 12 | p << 11 | x)
            rest = rest[1:]
    path.write_bytes(b"% format EVT3;height=720;width=1280\n% end\n" + struct.pack(f"<{len(words)}H", *words))


def write_aedat2(path: Path, events: Iterable[Event]) -> None:
    """DVS128, with an external event, which is none of a pixel."""
    body = b"".join(struct.pack(">II", y << 8 | x << 1 | p, t) for x, y, t, p in events)
    head = b"#!AER-DAT2.0\r\n# raw AE data\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    path.write_bytes(head + body + struct.pack(">II", 1 << 15, 3))


def write_aedat2_davis(path: Path, events: Iterable[Event]) -> None:
    body = b"".join(struct.pack(">II", y << 22 | x << 12 | p << 11, t) for x, y, t, p in events)
    head = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis640\r\n"
    path.write_bytes(head + body + struct.pack(">II", 1 << 31 | 5 << 12, 3))  # and a sample of a frame


def write_aedat3(path: Path, events: Iterable[Event]) -> None:
    """Packets of seven polarity events, each with one that is marked as invalid, and a packet of another kind."""
    body, rest = b"", list(events)
    while rest:
        overflow = rest[0][2] >> 31
        part = [e for e in rest[:7] if e[2] >> 31 == overflow]
        rest = rest[len(part) :]
        body += struct.pack("<hhiiiiii", 1, 0, 8, 4, overflow, len(part) + 1, len(part) + 1, len(part))
        body += b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t % 2**31) for x, y, t, p in part)
        body += struct.pack("<II", 9 << 17, 0)
        body += struct.pack("<hhiiiiii", 3, 0, 36, 32, 0, 1, 1, 1) + bytes(36)
    path.write_bytes(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n" + body)


def write_es(path: Path, events: Iterable[Event]) -> None:
    body, last = b"", 0
    for x, y, t, p in events:
        pauses, left = divmod(t - last, 127)
        body += b"\xff" * pauses + struct.pack("<BHH", left << 1 | p, x, y)
        last = t
    path.write_bytes(b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", 640, 480) + body)


def write_es_atis(path: Path, events: Iterable[Event]) -> None:
    """Every second event is one of exposure, which is no spike; its time counts all the same."""
    body, last = b"", 0
    for x, y, t, p in events:
        pauses, left = divmod(t - last, 63)
        body += b"\xff" * (pauses // 3) + (bytes([0xFC | pauses % 3]) if pauses % 3 else b"")
        body += struct.pack("<BHH", left << 2 | p << 1, x, y) + struct.pack("<BHH", 3, 0xFEFF, 0xFFFF)
        last = t
    path.write_bytes(b"Event Stream\x02\x00\x00\x02" + struct.pack("<HH", 304, 240) + body)


WRITERS = {
    "a.bin": write_bs2, "a.bs1": write_bs1, "a.bs2": write_bs2, "a.bs3": write_bs3, "a.dat": write_dat,
    "v1.dat": write_dat1, "evt2.raw": write_evt2, "evt3.raw": write_evt3, "dvs128.aedat": write_aedat2,
    "davis.aedat": write_aedat2_davis, "v3.aedat": write_aedat3, "dvs.es": write_es, "atis.es": write_es_atis,
}  # fmt: skip
"""File name -> writer. Times below 2^23 us and pixels below 128 fit them all; .bs1 has no rows."""
