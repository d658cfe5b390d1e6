"""HDF5 files of others: measured before anything is read, and one line for whatever is wrong with them.

A damaged header can declare a dataset of terabytes, or a heap of strings in which HDF5 looks for ever. So every
declared size is compared with what the file stores before a value is read.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sdsnn_core.errors import FileError, SdsnnError, one_line

DAMAGED: Final = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError, AttributeError, AssertionError,
    ArithmeticError,
)  # fmt: skip
DEFLATE_LIMIT: Final = 1040  # zlib's manual: at most 1032 bytes from one
SLACK: Final = 2**16  # bytes a dataset may declare without storing them
_HEAP: Final = b"GCOL\x01\0\0\0"  # HDF5 file format 3.0, III.E: global heap collection, version 1


@contextmanager
def open_hdf5(path: Path, kind: str) -> Iterator[Any]:
    """Open an HDF5 file for reading; errors raised inside start with its path.

    Args:
        path: The file.
        kind: What it should be, for errors: "a NIR graph (.nir)".

    Raises:
        FileError: The file is missing, is not HDF5, is damaged, or declares more data than it can hold.
    """
    import h5py

    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise FileError(f"{path}: expected {kind}, got {_other_format(path)}")
    try:
        _check_heaps(path)
        with h5py.File(path, "r") as file:
            _check_datasets(file, path.stat().st_size)
            yield file
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error
    except DAMAGED as error:
        raise FileError(f"{path}: damaged HDF5 file ({one_line(error)})") from error


def _other_format(path: Path) -> str:
    """Return what a file that is not HDF5 most likely is."""
    head = path.read_bytes()[:64]
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a pickle, as torch.save writes it"
    return "a file that is not an HDF5 file" if head else "an empty file"


def _check_datasets(file: Any, file_size: int) -> None:
    """Compare the declared size of every dataset with its storage; each object is visited once."""
    import h5py

    def check(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return
        declared, stored = math.prod(item.shape) * item.dtype.itemsize, item.id.get_storage_size()
        if stored > file_size or declared > SLACK + DEFLATE_LIMIT * stored:
            raise FileError(f"damaged HDF5 file ({name} declares {declared} bytes and stores {stored})")

    file.visititems(check)


def _check_heaps(path: Path) -> None:
    """Walk every heap of strings as HDF5 does, which takes an entry of no length for the next one without end."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_HEAP)
        while at >= 0:
            place, end = at + 16, at + struct.unpack_from("<Q", content, at + 8)[0]
            while end <= len(content) and place + 16 <= end:
                index, length = struct.unpack_from("<H6xQ", content, place)
                step = 16 + (length + 7) // 8 * 8 if index else length
                if not step:
                    break
                place += step
            if end > len(content) or place > end or place + 16 <= end:
                raise FileError("damaged HDF5 file (a heap of strings that does not fit the file)")
            at = content.find(_HEAP, at + 1)
