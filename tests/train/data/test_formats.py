"""Decoders of event files against writers of our own and, where they are installed, the formats' own libraries."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import event_writers
import numpy as np
import pytest

from sdsnn.train.data.recordings import Convention, read_recording
from sdsnn.train.data.spike_files import open_file
from sdsnn_core.errors import FileError


def some_events(rng: np.random.Generator, n: int = 400, *, last: int = 2**23, start: int = 0) -> np.ndarray:
    """Rows x, y, t, p, sorted by time, with equal times, neighbours in a row and long pauses."""
    t = np.sort(rng.integers(start, last, n))
    t[50:90], t[200:230] = t[50], t[200]
    table = np.stack([rng.integers(0, 128, n), rng.integers(0, 128, n), t, rng.integers(0, 2, n)], 1)
    table[50:62, 0], table[50:62, 1], table[50:62, 3] = np.arange(12) * 3 % 20 + 7, 5, 1
    table[50:62] = table[50:62][np.argsort(table[50:62, 0])]
    return table


def columns(events: np.ndarray) -> np.ndarray:
    return np.stack([events[name] for name in ("x", "y", "t", "p")], 1)


@pytest.mark.parametrize("name", list(event_writers.WRITERS))
@pytest.mark.parametrize("n", [400, 0])
def test_what_was_written_is_read(name: str, n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    table = some_events(rng)[:n]
    if name.endswith(".bs1"):
        table[:, 0] += rng.integers(0, 2, n) * 60_000
        table[:, 1] = 0
    event_writers.WRITERS[name](tmp_path / name, map(tuple, table.tolist()))
    np.testing.assert_array_equal(columns(read_recording(tmp_path / name)), table)


def test_larger_fields_and_clocks_that_overflow(rng: np.random.Generator, tmp_path: Path) -> None:
    wide = some_events(rng, last=2**24)
    wide[:, 0] += rng.integers(0, 31, 400) * 128
    wide[:, 1] += rng.integers(0, 31, 400) * 128
    wide[:, 3] = rng.integers(0, 256, 400)
    event_writers.write_bs3(tmp_path / "a.bs3", map(tuple, wide.tolist()))
    np.testing.assert_array_equal(columns(read_recording(tmp_path / "a.bs3")), wide)
    # A clock of 24 bits in EVT 3.0, 34 bits in EVT 2.0, 32 bits in DAT: more than one turn, in steps below half of one.
    for name, bits in (("evt3.raw", 24), ("evt2.raw", 34), ("a.dat", 32), ("v3.aedat", 31)):
        table = some_events(rng, 4000, last=3 * 2**bits)
        event_writers.WRITERS[name](tmp_path / name, map(tuple, table.tolist()))
        read = columns(read_recording(tmp_path / name))
        known = table[:, 2] - table[0, 2] if name != "v3.aedat" else table[:, 2]
        got = read[:, 2] - read[0, 2] if name != "v3.aedat" else read[:, 2]
        np.testing.assert_array_equal(got, known)
        np.testing.assert_array_equal(read[:, [0, 1, 3]], table[:, [0, 1, 3]])


@pytest.mark.parametrize(("name", "encoding"), [("a.dat", "dat"), ("evt2.raw", "evt2"), ("evt3.raw", "evt3")])
def test_prophesee_files_are_those_of_expelliarmus(
    name: str, encoding: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    """Both ways: our reader on its files, and its reader on those of our writer.

    In EVT 3.0 expelliarmus 1.1.12 loses high times when it writes and counts their falls twice when it reads, so the
    times there stay within one high time.
    """
    expelliarmus = pytest.importorskip("expelliarmus")
    wizard = expelliarmus.Wizard(encoding=encoding)
    table = some_events(rng, 3000, start=5 * 4096, last=6 * 4096 if encoding == "evt3" else 2**23)
    events = np.zeros(len(table), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
    for column, field in zip(table.T, ("x", "y", "t", "p"), strict=True):
        events[field] = column
    wizard.save(fpath=tmp_path / name, arr=events)
    if b"evt" not in (head := (tmp_path / name).read_bytes())[:200].lower() and encoding != "dat":
        (tmp_path / name).write_bytes(f"% evt {encoding[-1]}.0\n".encode() + head)
    np.testing.assert_array_equal(columns(read_recording(tmp_path / name)), table)
    event_writers.WRITERS[name](tmp_path / f"ours-{name}", map(tuple, table.tolist()))
    theirs = wizard.read(tmp_path / f"ours-{name}")
    np.testing.assert_array_equal(columns(read_recording(tmp_path / f"ours-{name}")), columns(theirs))


def slayer_io() -> Any:
    """lava-dl's module alone: its package imports what reading spikes does not need."""
    lava = importlib.util.find_spec("lava")
    places = [] if lava is None else [Path(place) for place in lava.submodule_search_locations or ()]
    path = next((p for place in places if (p := place / "lib" / "dl" / "slayer" / "io.py").is_file()), None)
    if path is None:
        pytest.skip("lava-dl is not installed")
    spec = importlib.util.spec_from_file_location("slayer_io", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_slayer_files_are_those_of_lava_dl(rng: np.random.Generator, tmp_path: Path) -> None:
    io = slayer_io()
    table = some_events(rng)
    table[0, 3] = 0  # SLAYER's events count channels from the lowest that occurs
    for ending, dimensions in (("bs1", 1), ("bs2", 2)):
        path = tmp_path / f"a.{ending}"
        rows = table.copy()
        rows[:, 1] *= dimensions == 2
        y = rows[:, 1] if dimensions == 2 else None
        encode = io.encode_2d_spikes if dimensions == 2 else io.encode_1d_spikes
        encode(str(path), io.Event(rows[:, 0], y, rows[:, 3].copy(), rows[:, 2] / 1000))
        np.testing.assert_array_equal(columns(read_recording(path)), rows)


def test_aedat_files_are_those_of_tonic(rng: np.random.Generator, tmp_path: Path) -> None:
    io = pytest.importorskip("tonic.io")
    table = some_events(rng)
    event_writers.write_aedat2_davis(tmp_path / "davis.aedat", map(tuple, table.tolist()))
    with open(tmp_path / "davis.aedat", "rb+") as file:
        file.seek(-8, 2)
        file.truncate()  # tonic takes a sample of a frame for an event
    path = tmp_path / "davis.aedat"
    path.write_bytes(path.read_bytes().replace(b"\r\n# AEChip", b"\r\n# Creation time: now 5\r\n# AEChip"))
    _, _, theirs = io.read_davis_346(str(path))
    ours = read_recording(path)
    np.testing.assert_array_equal(ours["x"], 345 - theirs["x"])  # it mirrors both axes
    np.testing.assert_array_equal(ours["y"], 259 - theirs["y"])
    np.testing.assert_array_equal(ours["t"], theirs["t"])
    np.testing.assert_array_equal(ours["p"], theirs["p"])


def test_the_overflow_events_of_n_caltech_move_the_clock_on(tmp_path: Path) -> None:
    io = pytest.importorskip("tonic.io")
    events = [(1, 2, 10, 1), (0, 240, 0, 0), (3, 4, 20, 0), (0, 240, 5, 0), (5, 6, 7, 1)]
    event_writers.write_bs2(tmp_path / "a.bin", events)
    expected = [[1, 2, 10, 1], [3, 4, 8192 + 20, 0], [5, 6, 16384 + 7, 1]]
    assert columns(read_recording(tmp_path / "a.bin")).tolist() == expected
    dtype = np.dtype([(name, int) for name in ("x", "y", "t", "p")])
    assert columns(io.read_mnist_file(str(tmp_path / "a.bin"), dtype=dtype)).tolist() == expected


def test_an_event_stream_file_of_its_own_library(tmp_path: Path) -> None:
    """What event_stream 1.6 wrote of five events, the third after a pause of 4,800 us."""
    body = bytes.fromhex("0700000100") + bytes.fromhex("0021000200") + b"\xff" + bytes.fromhex("8d02000300")
    path = tmp_path / "a.es"
    path.write_bytes(b'Event Stream\x02\x00\x00\x01"\x00\x1e\x00' + body + b"\xff" * 37 + bytes.fromhex("cb03001d00"))
    expected = [[0, 1, 3, 1], [33, 2, 3, 0], [2, 3, 200, 1], [3, 29, 5000, 1]]
    assert columns(read_recording(path)).tolist() == expected


DAMAGED = {
    "a.bin": (b"1234567", "expected whole events of 5 bytes, got 7 bytes"),
    "a.bs3": (b"1234567890", "expected whole events of 7 bytes, got 10 bytes"),
    "a.dat": (b"% Version 2\n\x0c\x10" + bytes(16), "expected events of 8 bytes, got 16"),
    "b.dat": (b"% Version 2\n\x0c\x08" + bytes(15), "expected whole events of 8 bytes, got 15 bytes"),
    "a.raw": (b"% evt 2.1\n% end\n" + bytes(16), "expected a header with evt 2.0 or evt 3.0, got 2.1"),
    "b.raw": (b"% evt 3.0\n% end\n" + bytes(3), "expected whole words of 2 bytes, got 3 bytes"),
    "a.aedat": (b"#!AER-DAT1.0\r\n", "expected #!AER-DAT2.0 or #!AER-DAT3.1 in the first line, got version 1.0"),
    "b.aedat": (b"#!AER-DAT2.0\r\n# no end", "expected a header of # lines, got one without an end"),
    "c.aedat": (b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + bytes(20), "an end within a packet's header"),
    "a.es": (b"Event Stream\x02\x00\x00\x00" + bytes(9), "expected DVS or ATIS events, got generic events"),
    "b.es": (b"Event Stream\x02\x00\x00\x01" + bytes(4) + b"\x02\x00\x00", "expected whole events of 5 bytes"),
    "c.es": (b"Event Stream\x01\x00\x00\x01" + bytes(9), "expected an Event Stream file of version 2, got version 1"),
    "a.mat": (b"MATLAB 5.0 MAT-file" + bytes(200), "expected a .mat file of MATLAB up to 7.2"),
    "b.mat": (b"MATLAB 7.3 MAT-file" + bytes(600), "up to version 7.2, got version 7.3"),
    "a.pt": (b"PK\x03\x04 nothing", "expected a .pt file of tensors alone"),
    "a.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999, 4), }".ljust(128)
              + bytes(64), "expected 3199999999968 bytes of int64 .*; the file is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DAMAGED))
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    content, message = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        read_recording(tmp_path / name)
    assert str(caught.value).startswith(f"data {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_an_archive_that_declares_too_much_is_not_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", spikes=np.zeros((3000, 1000, 400), np.uint8))
    with pytest.raises(FileError, match=r"expected arrays of at most 1 GiB, got 1\.12 GiB"):
        read_recording(tmp_path / "a.npz")


@pytest.mark.parametrize(("unit", "per_us"), [("us", 1.0), ("ms", 1e-3), ("s", 1e-6)])
@pytest.mark.parametrize("form", ["fields.npy", "table.npy", "columns.npz", "columns.mat", "struct.mat", "columns.pt"])
def test_arrays_of_events_in_every_form_and_unit(
    form: str, unit: str, per_us: float, rng: np.random.Generator, tmp_path: Path
) -> None:
    import scipy.io
    import torch

    table = some_events(rng)
    times = table[:, 2] * per_us if unit != "us" else table[:, 2]
    named = {"X": table[:, 0], "y": table[:, 1], "timestamps": times, "polarity": table[:, 3] * 2 - 1}
    path = tmp_path / form
    if form == "fields.npy":
        events = np.zeros(len(table), [("ts", times.dtype), ("x", "u2"), ("y", "u2"), ("p", "?")])
        events["ts"], events["x"], events["y"], events["p"] = times, *table[:, [0, 1, 3]].T
        np.save(path, events)
    elif form == "table.npy":
        np.save(path, np.stack([table[:, 0], table[:, 1], times, table[:, 3]], 1))
    elif form == "columns.npz":
        np.savez(path, **named)
    elif form == "columns.mat":
        scipy.io.savemat(path, {name: column[:, None] for name, column in named.items()})
    elif form == "struct.mat":  # MATLAB's functions for N-MNIST count pixels and polarities from 1
        counted = {"x": table[:, 0] + 1, "y": table[:, 1] + 1, "p": table[:, 3] + 1, "ts": times}
        scipy.io.savemat(path, {"TD": counted}, do_compression=True)
    else:
        torch.save({name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in named.items()}, path)
    read = read_recording(path, Convention(time_unit=unit))  # type: ignore[arg-type]
    np.testing.assert_array_equal(columns(read), table)


@pytest.mark.parametrize("form", ["a.npy", "a.npz", "a.mat", "a.pt"])
def test_bins_with_the_time_axis_last(form: str, rng: np.random.Generator, tmp_path: Path) -> None:
    import scipy.io
    import torch

    bins = (rng.random((9, 2, 5, 4)) < 0.3).astype(np.uint8)
    last = np.ascontiguousarray(np.moveaxis(bins, 0, -1))
    path = tmp_path / form
    if form == "a.npy":
        np.save(path, last)
    elif form == "a.npz":
        np.savez(path, frames=last)
    elif form == "a.mat":
        scipy.io.savemat(path, {"spikes": last})
    else:
        torch.save(torch.from_numpy(last), path)
    np.testing.assert_array_equal(read_recording(path, Convention(axes="time-last")), bins)
    assert read_recording(path).shape == (2, 5, 4, 9)


BAD_COLUMNS = [
    ({"x": [0.5, 1], "t": [0, 1]}, "field x: expected whole numbers, got 0.5"),
    ({"x": [0, 1], "t": [0, np.nan]}, "field t: expected finite numbers, got nan..nan"),
    ({"x": [0, 1], "t": [0, 2**63]}, "field t: expected finite numbers"),
    ({"x": [0, 1], "t": [0, 1, 2]}, r"expected vectors of one length, got x \(2,\), t \(3,\)"),
    ({"x": ["a", "b"], "t": [0, 1]}, "field x: expected numbers, got <U1"),
    ({"a": [0, 1]}, "expected arrays spikes, events, or t, x, y, p, got a"),
]


@pytest.mark.parametrize(("named", "message"), BAD_COLUMNS)
def test_columns_that_are_no_events_are_one_line(named: dict[str, list[int]], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{name: np.array(column) for name, column in named.items()})
    with pytest.raises(FileError, match=message):
        read_recording(tmp_path / "a.npz")


def test_a_mat_file_that_crashes_scipy_is_one_line(tmp_path: Path) -> None:
    """`make fuzz-files` found two damaged files on which scipy's reader crashes; here its place is taken by a crash."""
    import scipy.io

    def crash(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    scipy.io.savemat(tmp_path / "a.mat", {"spikes": np.zeros((3, 4, 5))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scipy.io, "loadmat", crash)
        with pytest.raises(FileError, match=r"a\.mat: expected a \.mat file .* crashed \(SIGSEGV\)"):
            read_recording(tmp_path / "a.mat")


def test_an_archive_with_another_compression_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", spikes=np.zeros((3, 4, 5), np.uint8))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[8:10] = raw[central + 10 : central + 12] = (99).to_bytes(2, "little")
    (tmp_path / "a.npz").write_bytes(raw)
    for read in (read_recording, lambda path: list(open_file(path))):
        with pytest.raises(FileError, match="compression method is not supported"):
            read(tmp_path / "a.npz")


def test_a_pickle_within_a_pt_file_is_not_run(tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    torch.save(Evil(), tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"expected a \.pt file of tensors alone"):
        read_recording(tmp_path / "a.pt")


def test_decoding_needs_numpy_only(tmp_path: Path) -> None:
    event_writers.write_evt3(tmp_path / "a.raw", [(1, 2, 3, 1)])
    code = (
        "import sys; from pathlib import Path; from sdsnn.train.data.recordings import read_recording;"
        f"read_recording(Path({str(tmp_path / 'a.raw')!r}));"
        "print([name for name in ('torch', 'scipy', 'tonic', 'expelliarmus', 'h5py') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
