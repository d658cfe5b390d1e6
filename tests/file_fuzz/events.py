"""Small files of events and arrays in every form, and mutations that know .npy, .npz, .mat and .pt."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import dataset_writers
import event_writers
import numpy as np

from .damage import Rng, damaged


def event_seeds(folder: Path) -> list[Path]:
    """Write one small file of every form of events."""
    import scipy.io
    import torch

    rng = np.random.default_rng(7)
    t = np.sort(rng.integers(0, 50_000, 60))
    table = np.stack([rng.integers(0, 30, 60), rng.integers(0, 30, 60), t, rng.integers(0, 2, 60)], 1)
    for name, write in event_writers.WRITERS.items():
        write(folder / name, map(tuple, table.tolist()))
    columns = dict(zip("xytp", table.T, strict=True))
    spikes, labels = (rng.random((6, 9, 2, 4, 4)) < 0.3).astype(np.uint8), np.arange(6) % 3
    structured = np.zeros(60, [(name, "<i8") for name in "xytp"])
    for name, column in columns.items():
        structured[name] = column
    np.save(folder / "fields.npy", structured)
    np.save(folder / "table.npy", table)
    np.save(folder / "spikes.npy", spikes)
    np.savez(folder / "columns.npz", **columns)
    np.savez(folder / "spikes.npz", spikes=spikes, labels=labels)
    np.savez_compressed(folder / "packed.npz", x=spikes, y=np.eye(3)[labels])
    np.savez(folder / "events.npz", events=structured, offsets=[0, 20, 60], labels=[0, 1])
    scipy.io.savemat(folder / "td.mat", {"TD": columns}, do_compression=True)
    scipy.io.savemat(folder / "spikes.mat", {"spikes": spikes, "labels": labels})
    torch.save({"spikes": torch.from_numpy(spikes), "labels": torch.from_numpy(labels)}, folder / "spikes.pt")
    torch.save(torch.from_numpy(spikes[0]), folder / "frames.pt")
    if importlib.util.find_spec("aedat"):
        t, x, y, p = (columns[name] for name in "txyp")
        (folder / "v4.aedat4").write_bytes(dataset_writers.aedat4(t, x, y, p))
    return sorted(folder.iterdir())


def read_events(path: Path) -> None:
    """Read a file as training and as simulation do."""
    from sdsnn.deploy.simulate.samples import open_samples
    from sdsnn.train.data.event_cache import Grid, Sensor, bins_of
    from sdsnn.train.data.recordings import read_recording
    from sdsnn.train.data.spike_files import read_spikes
    from sdsnn.train.data.summary import Summary
    from sdsnn_core.errors import SdsnnError

    try:
        samples = open_samples(path)
        summary = Summary(50, 1000.0)
        for sample in samples:
            summary.add(sample, limit=50)
            if sample.dtype.names is not None:
                bins_of(sample, Sensor(4096, 4096, 256, True), Grid(50, 1000.0), str(path))
        summary.line()
    except SdsnnError:
        for read in (read_recording, read_spikes):
            try:
                read(path)
            except SdsnnError:
                continue
        raise


def change_npy(raw: bytes, rng: Rng) -> bytes:
    """Change the shape, type or order that a header declares."""
    text = raw[10:].split(b"\n", 1)[0].decode("latin-1")
    choice = int(rng.integers(4))
    if choice == 0:
        numbers = list(re.finditer(r"\d+", text[text.index("shape") :]))
        where = numbers[rng.integers(len(numbers))]
        start = text.index("shape") + where.start()
        new = str(rng.choice(["0", "1", "-1", "99999999999999", "18446744073709551616", "1e9", "7"]))
        text = text[:start] + new + text[start + len(where[0]) :]
    elif choice == 1:
        new = str(rng.choice(["|O", "<f8", "<c16", "|S9", "<U7", ">i4", "<M8[us]", "|V5", "<f2", "|b1", "zz"]))
        text = re.sub(r"'descr': ('[^']*'|\[.*?\])", f"'descr': '{new}'", text)
    elif choice == 2:
        text = text.replace("False", "True")
    else:
        text = text.replace("shape", "shapes") if rng.random() < 0.5 else text[:-9]
    body = text.encode("latin-1").ljust(len(raw[10:].split(b"\n", 1)[0]))
    return raw[:8] + len(body + b"\n").to_bytes(2, "little") + body + b"\n" + raw[10:].split(b"\n", 1)[1]


def change_npz(raw: bytes, rng: Rng) -> bytes:
    """Change one member, with a right checksum; or rename, drop or double it."""
    source = zipfile.ZipFile(io.BytesIO(raw))
    target, names = io.BytesIO(), source.namelist()
    chosen = names[rng.integers(len(names))]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            content, choice = source.read(name), int(rng.integers(5))
            if name == chosen and choice < 2:
                content = change_npy(content, rng)
            elif name == chosen and choice == 2:
                content = damaged(content, rng)
            elif name == chosen and choice == 3:
                name = str(rng.choice(["q.npy", "x.npy", "labels.npy", "spikes.npy", "events", "../x.npy"]))
            elif name == chosen:
                continue
            archive.writestr(name, content)
    return target.getvalue()


def change_mat(raw: bytes, rng: Rng) -> bytes:
    """Write other variables: texts, cells, empty, nested, complex or huge sparse ones."""
    import scipy.io
    import scipy.sparse

    values: list[Any] = [
        "text", np.zeros((0, 3)), np.array([1j, 2]), {"a": {"b": 3}}, np.array([[1, "a"]], object), 3.0,
        scipy.sparse.csc_matrix((10**6, 10**6)), np.full((2, 2, 2, 2), np.nan), np.arange(6.0)[None],
    ]  # fmt: skip
    names = rng.permutation(["spikes", "x", "t", "p", "labels", "events", "TD"])[: int(rng.integers(1, 5))]
    target = io.BytesIO()
    scipy.io.savemat(target, {str(name): values[rng.integers(len(values))] for name in names})
    return target.getvalue()


def change_pt(raw: bytes, rng: Rng) -> bytes:
    """Save other values: no tensors, sparse, expanded, complex or quantised ones."""
    import torch

    values: list[Any] = [
        3, "text", None, [torch.zeros(3)], torch.zeros(3, 4, dtype=torch.complex64), torch.zeros(1).expand(10**12),
        torch.sparse_coo_tensor(torch.zeros((2, 0), dtype=torch.long), torch.zeros(0), (10**9, 10**9)),
        torch.zeros(2, 3, 4, dtype=torch.bfloat16), torch.full((2, 3, 4), float("nan")), torch.zeros(0, 3, 4),
        torch.quantize_per_tensor(torch.zeros(2, 3, 4), 0.1, 0, torch.quint8), torch.zeros(2, 3, 4, requires_grad=True),
        torch.empty(5, 6, 7, device="meta"),
    ]  # fmt: skip
    chosen = values[rng.integers(len(values))]
    content = {str(rng.choice(["spikes", "x", "t", "labels"])): chosen, 5: torch.zeros(2)}
    target = io.BytesIO()
    torch.save(chosen if rng.random() < 0.5 else content, target)
    return target.getvalue()
