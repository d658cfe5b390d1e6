"""Binary spikes of N-MNIST and of SLAYER: .bin, .bs1, .bs2, .bs3. Every number is big-endian, times are microseconds.

.bin, .bs2   40 bits: x 8, y 8, polarity 1, time 23 (Orchard et al., Frontiers in Neuroscience 9:437, 2015)
.bs1         40 bits: x 16, channel 1, time 23
.bs3         56 bits: x 12, y 12, channel 8, time 24 (bamsumit/slayerPytorch, src/spikeFileIO.py)
"""

import numpy as np

from .events import Bytes, Events, as_events, words

OVERFLOW_ROW, OVERFLOW = 240, 2**13
"""In a .bin, as in N-Caltech101, an event of this row is no spike: it moves all later times on by this many."""


def read_bs2(raw: Bytes) -> Events:
    """Return the events of a .bs2 file."""
    byte = words(raw, "u1", 5).astype(np.int64)
    return as_events(byte[:, 0], byte[:, 1], _time(byte), byte[:, 2] >> 7)


def read_bin(raw: Bytes) -> Events:
    """Return the events of a .bin file as in N-MNIST and N-Caltech101."""
    events = read_bs2(raw)
    overflow = events["y"] == OVERFLOW_ROW
    if overflow.any():
        events["t"] += np.cumsum(overflow) * OVERFLOW
        events = events[~overflow]
    return events


def read_bs1(raw: Bytes) -> Events:
    """Return the events of a .bs1 file; the channel is p."""
    byte = words(raw, "u1", 5).astype(np.int64)
    return as_events(byte[:, 0] << 8 | byte[:, 1], np.zeros(len(byte)), _time(byte), byte[:, 2] >> 7)


def read_bs3(raw: Bytes) -> Events:
    """Return the events of a .bs3 file; the channel is p."""
    byte = words(raw, "u1", 7).astype(np.int64)
    x, y = byte[:, 0] << 4 | byte[:, 1] >> 4, (byte[:, 1] & 15) << 8 | byte[:, 2]
    return as_events(x, y, byte[:, 4] << 16 | byte[:, 5] << 8 | byte[:, 6], byte[:, 3])


def _time(byte: Events) -> Events:
    """Return the time in the last 23 of 40 bits."""
    time: Events = (byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]
    return time
