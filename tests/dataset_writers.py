"""Writes tiny data sets of the right formats for the tests of data sets and recipes."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np


def write_mnist(folder: Path, rng: np.random.Generator, n: int = 60) -> dict[str, np.ndarray]:
    arrays = {
        "x_train": rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), "y_train": (np.arange(n) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, (20, 28, 28)).astype(np.uint8), "y_test": (np.arange(20) % 10).astype(np.uint8),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist.npz", **arrays)
    return arrays


def write_nmnist(folder: Path, rng: np.random.Generator, n: int = 4) -> None:
    for part in ("Train", "Test"):
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
            for index in range(n):
                x, y = rng.integers(0, 34, (2, 200))
                t, p = np.sort(rng.integers(0, 330_000, 200)), rng.integers(0, 2, 200)
                words = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], 1).astype(np.uint8)
                words.tofile(folder / part / str(digit) / f"{index:05}.bin")


def write_gesture(folder: Path, rng: np.random.Generator) -> None:
    for part, users in (("ibmGestureTrain", range(1, 6)), ("ibmGestureTest", (24,))):
        for user in users:
            place = folder / part / f"user{user:02}_led"
            place.mkdir(parents=True)
            for label in range(11):
                columns = [rng.integers(0, 128, 300), rng.integers(0, 128, 300), rng.integers(0, 2, 300)]
                np.save(place / f"{label}.npy", np.stack([*columns, np.sort(rng.integers(500, 900, 300))], 1))


def write_heidelberg(folder: Path, names: tuple[str, ...], n_classes: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with h5py.File(folder / name, "w") as file:
            n = 4 * n_classes
            kind = (h5py.vlen_dtype(np.float16), h5py.vlen_dtype(np.uint16))
            times = file.create_dataset("spikes/times", (n,), kind[0])
            units = file.create_dataset("spikes/units", (n,), kind[1])
            for index in range(n):
                times[index] = np.sort(rng.random(50)).astype(np.float16)
                units[index] = rng.integers(0, 700, 50).astype(np.uint16)
            file["labels"] = np.arange(n) % n_classes


def aedat4(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    """Return a file of AEDAT 4.0, uncompressed: magic, flatbuffer of the header, one packet with one flatbuffer.

    In both buffers: root offset, identifier, vtable (sizes, offsets of fields), table, then what the table points to.
    """
    node = '<node name="{0}" path="/mainloop/Recorder/outInfo/{0}/">'
    attributes = '<attr key="compression" type="string">NONE</attr><attr key="typeIdentifier" type="string">EVTS</attr>'
    size = '<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr>'
    inner = f"{node.format('0')}{attributes}{node.format('info')}{size}</node></node>"
    about = f'<dv version="2.0">{node.format("outInfo")}{inner}</node></dv>'.encode()
    # compression int32 0, position of the data table int64 -1 (none), string of streams
    header = struct.pack("<I4sHHHHH6xiiqI", 24, b"IOHE", 10, 20, 4, 8, 16, 16, 0, -1, 4)
    header += struct.pack("<I", len(about)) + about + b"\0"
    fields = {"names": ["t", "x", "y", "on"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12]}
    events = np.zeros(len(t), np.dtype({**fields, "itemsize": 16}))  # type: ignore[call-overload]
    events["t"], events["x"], events["y"], events["on"] = t, x, y, p
    packet = struct.pack("<I4sHHH2xiI4xI", 16, b"EVTS", 6, 8, 4, 8, 8, len(events)) + events.tobytes()
    head = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(header)) + header
    return head + struct.pack("<iiI", 0, len(packet) + 4, len(packet)) + packet


def write_cifar10_dvs(folder: Path, rng: np.random.Generator, n: int = 8) -> None:
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(n):
            start = int(rng.integers(10**15))
            t = start + np.sort(rng.integers(0, 300_000, 400))
            x, y, p = rng.integers(0, 128, 400), rng.integers(0, 128, 400), rng.integers(0, 2, 400)
            x[0], y[0], p[0] = label, index, 1  # the first event tells which recording it is
            (folder / name / f"cifar10_{name}_{index}.aedat4").write_bytes(aedat4(t, x, y, p))


def write_skin(
    folder: Path, rng: np.random.Generator, name: str = "objects", n_classes: int = 36, bins: int = 40
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 4), ("test", 1)):
        labels = np.arange(n * n_classes) % n_classes
        spikes = (rng.random((len(labels), bins, 78)) < 0.1).astype(np.uint8)
        np.savez(folder / f"{name}_{part}.npz", spikes=spikes, labels=labels)


SPEAKERS = ("ann", "bob", "george")


def write_fsdd(folder: Path, rng: np.random.Generator, repetitions: tuple[int, ...] = (0, 5, 6, 7, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keys = [(digit, who, again) for digit in range(10) for who in range(len(SPEAKERS)) for again in repetitions]
    waves = [rng.integers(-3000, 3000, rng.integers(500, 1500)).astype(np.int16) for _ in keys]
    digit, speaker, recording = (np.array(column, np.uint8) for column in zip(*keys, strict=True))
    np.savez(
        folder / "fsdd_8khz_int16.npz", audio=np.concatenate(waves), offsets=np.cumsum([0, *map(len, waves)]),
        digit=digit, speaker=speaker, recording=recording, speaker_names=np.array(SPEAKERS),
    )  # fmt: skip


def write_braille(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    label, repetition = np.repeat(np.arange(27), 7), np.tile([0, 1, 2, 3, 4, 40, 41], 27)
    np.savez(
        folder / "braille_taxels_27x50.npz", taxel=rng.integers(55, 256, (189, 20, 12)).astype(np.uint8),
        length=rng.integers(18, 21, 189).astype(np.uint8), label=label.astype(np.uint8),
        letters=np.array(["Space", *map(chr, range(65, 91))]), repetition=repetition.astype(np.uint8),
    )  # fmt: skip


def write_ecg(folder: Path, rng: np.random.Generator, n_steps: int = 41) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for part, n in (("train", 40), ("test", 9)):
        spikes = (rng.random((n, n_steps, 4)) < 0.2).astype(np.int8)
        spikes[:, -1, 0] = -1
        mask = (rng.random((n, n_steps)) < 0.9).astype(np.uint8)
        label = (rng.integers(0, 6, (n, n_steps)) * mask).astype(np.uint8)
        arrays.update({f"x_{part}": spikes, f"y_{part}": label, f"mask_{part}": mask})
    np.savez(folder / "qtdb_events.npz", **arrays)


def write_series(
    folder: Path, rng: np.random.Generator, name: str, lengths: tuple[int, int] = (20, 24), channels: int = 1
) -> None:
    """lengths: the shortest and the longest series."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for part, n in (("train", 40), ("test", 20)):
        length = rng.integers(lengths[0], lengths[1] + 1, n).astype(np.int32)
        values = rng.normal(3, 2, (n, channels, length.max())).astype(np.float32)
        values[np.broadcast_to(np.arange(length.max()) >= length[:, None, None], values.shape)] = np.nan
        arrays.update(
            {f"x_{part}": values, f"y_{part}": np.array(list("ab"))[np.arange(n) % 2], f"length_{part}": length}
        )
    np.savez(folder / f"{name}.npz", **arrays)
