"""Mutations of files: of their bytes, or of what the bytes mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
EXTREMES = (0, 1, 2, 127, 128, 255, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutated(raw: bytes, rng: Rng, meant: Callable[[bytes, Rng], bytes] | None) -> bytes:
    """Return a damaged file: half of the time by its meaning, where a mutation knows it."""
    if meant is not None and rng.random() < 0.5:
        try:
            raw = meant(raw, rng)
        except Exception:  # a mutation that its own library refuses to write
            return damaged(raw, rng)
        return raw if rng.random() < 0.8 else damaged(raw, rng)
    return damaged(raw, rng)


def damaged(raw: bytes, rng: Rng) -> bytes:
    """Return the bytes after one to three flips, cuts, insertions, copies or extreme numbers."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        size = len(data)
        at = int(rng.integers(0, max(1, size if rng.random() < 0.5 else min(size, 512))))
        length = int(rng.integers(1, 65))
        kind = int(rng.integers(7))
        if kind == 0:
            for place in rng.integers(0, max(1, size), int(rng.integers(1, 9))):
                data[place : place + 1] = bytes([data[place] ^ (1 << int(rng.integers(8)))]) if size else b"x"
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.bytes(length)
        elif kind == 3:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
        elif kind == 4:
            del data[at : at + length]
        elif kind == 5:
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(EXTREMES[rng.integers(len(EXTREMES))]) % 256**width
            data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")
        else:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
    return bytes(data)
