"""Event Stream 2 (.es), events of DVS and ATIS cameras.

Layout: https://github.com/neuromorphic-paris/event_stream. An event is five bytes, a time since the event before and a
pixel; bytes that no event can begin with prolong that time.
"""

from array import array

import numpy as np
import numpy.typing as npt

from .events import Bytes, Events, FormatError, as_events

MAGIC, DVS, ATIS, EVENT = b"Event Stream", 1, 2, 5
KINDS = ("generic", "DVS", "ATIS", "display", "colour")


def read_es(raw: Bytes) -> Events:
    """Return the events of an Event Stream file of type DVS or ATIS; ATIS exposures are left out."""
    head = raw[:20].tobytes()
    if head[:12] != MAGIC or len(head) < 20 or head[12] != 2:
        got = f"version {head[12]}" if head[:12] == MAGIC and len(head) > 12 else "no such header"
        raise FormatError(f"expected an Event Stream file of version 2, got {got}")
    if head[15] not in (DVS, ATIS):
        kind = KINDS[head[15]] if head[15] < len(KINDS) else f"type {head[15]}"
        raise FormatError(f"expected DVS or ATIS events, got {kind} events")
    low = 1 if head[15] == DVS else 2  # bits of the first byte that are no time
    body = raw[20:]
    span = (256 >> low) - 1  # microseconds of one overflow
    is_pause = body >= (0xFE if low == 1 else 0xFC)
    pause = np.where(is_pause, body == 0xFF if low == 1 else body & 3, 0)
    starts = _starts(is_pause)
    if len(starts) and starts[-1] + EVENT > len(body):
        raise FormatError(f"expected whole events of {EVENT} bytes, got an end within one; the file is damaged")
    # Only pauses between events prolong a time: the same values within an event are a pixel.
    before = np.concatenate([[0], np.cumsum(pause)])
    ends = np.concatenate([[0], starts[:-1] + EVENT]) if len(starts) else starts
    waited = before[starts] - before[ends]
    byte = body[starts[:, None] + np.arange(EVENT)].astype(np.int64)
    time = np.cumsum((byte[:, 0] >> low) + span * waited)
    events = as_events(byte[:, 1] | byte[:, 2] << 8, byte[:, 3] | byte[:, 4] << 8, time, byte[:, 0] >> (low - 1) & 1)
    return events[byte[:, 0] & 1 == 0] if low == 2 else events


def _starts(is_pause: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return where the events begin: each at the first byte behind the one before that is no pause."""
    size = len(is_pause)
    index = np.where(is_pause, size, np.arange(size))
    following = np.minimum.accumulate(index[::-1])[::-1] if size else index
    ahead = array("q", np.concatenate([following, np.full(EVENT, size)]).astype(np.int64).tobytes())
    starts, at = [], ahead[0]
    while at < size:
        starts.append(at)
        at = ahead[at + EVENT]
    return np.array(starts, np.int64)
