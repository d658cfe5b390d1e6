"""Arrays in .npy, .npz, .mat and .pt files. Sizes that a file declares are compared with the file before it is read."""

import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import one_line
from sdsnn_core.system.contained import Answer, Limits, contained

from .events import FormatError

Arrays = dict[str, npt.NDArray[Any]]
LIMIT: Final = 2**30  # bytes of the arrays of one recording
BYTES_PER_S = 2**22  # the least that a slow machine decodes of a .mat
DENSEST = 1032  # bytes that a byte of a zip archive can stand for, at most (zlib's technical notes)


def read_arrays(path: Path, limit: int = LIMIT, skip: str = "") -> npt.NDArray[Any] | Arrays:
    """Return the array of a file, or its arrays by name.

    Args:
        path: .npy, .npz, .mat (MATLAB up to 7.2) or .pt (a tensor or a dictionary of tensors).
        limit: bytes that the arrays may take.
        skip: an array of an .npz that is not read.

    Raises:
        FormatError: the file is damaged, declares more than it or the limit can hold, or holds something else.
        OSError: it cannot be opened.
    """
    try:
        return _npz(path, limit, skip) if path.suffix == ".npz" else READERS[path.suffix](path, limit)
    except (FormatError, FileNotFoundError):
        raise
    except (Exception, MemoryError) as error:  # of numpy, zipfile, scipy or torch on a damaged file: any
        raise FormatError(f"expected {KINDS[path.suffix]} ({one_line(error)})") from None


def _npy(path: Path, limit: int) -> npt.NDArray[Any]:
    with open(path, "rb") as file:
        _check(file, os.fstat(file.fileno()).st_size, limit)
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))


def _npz(path: Path, limit: int, skip: str = "") -> Arrays:
    arrays: Arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == skip:
                continue
            if member.file_size > DENSEST * member.compress_size:
                raise FormatError(f"{member.filename} declares {member.file_size} bytes, more than the file can hold")
            with archive.open(member) as file:
                limit -= _check(file, member.file_size, limit)
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _check(file: IO[bytes], size: int, limit: int) -> int:
    """Return the bytes that the header of an array declares. Raises FormatError where the file has fewer."""
    shape, _, dtype = read_header(file)
    declared = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FormatError(f"expected plain values, got {dtype}")
    if min(shape, default=0) < 0 or declared > size - file.tell():
        raise FormatError(
            f"expected {declared} bytes of {dtype} {shape}, got {size - file.tell()}; the file is damaged"
        )
    _within(declared, limit)
    return declared


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return (shape, whether it is in column order, dtype) of an .npy stream, and leave it at the first value."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version in readers:
            return readers[version](file)
    except Exception as error:  # of numpy, of Python's tokenizer that it uses, of zipfile
        raise FormatError(f"expected the header of an array ({one_line(error)})") from None
    raise FormatError(f"expected version 1.0 or 2.0 of the .npy format, got {version[0]}.{version[1]}")


def _within(declared: int, limit: int) -> None:
    if declared > limit:
        raise FormatError(f"expected arrays of at most {limit / 2**30:.3g} GiB, got {declared / 2**30:.3g} GiB")


def _mat(path: Path, limit: int) -> Arrays:
    """Read in a child with limits: a damaged file can crash scipy's reader."""
    import scipy.io  # here, so that the child has it

    with open(path, "rb") as file:
        if file.read(19) == b"MATLAB 7.3 MAT-file":
            raise FormatError("expected a .mat file up to version 7.2, got version 7.3; save it with -v7")
    size = path.stat().st_size

    def start() -> Answer:
        sizes = {"single": 4, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4}
        shapes = scipy.io.whosmat(path)
        _within(sum(math.prod(shape) * sizes.get(kind, 8) for _, shape, kind in shapes), limit)
        arrays = _numeric(scipy.io.loadmat(path, simplify_cells=True))
        return lambda name: list(arrays) if name is None else arrays[name]

    with contained(start, Limits(10 + size / BYTES_PER_S, 2 * limit + 2**28)) as ask:
        return {name: ask(name) for name in ask(None)}


def _numeric(content: dict[str, Any]) -> Arrays:
    """Return the arrays of numbers of a .mat file; those of its struct, where it holds one alone."""
    values = {name: value for name, value in content.items() if not name.startswith("__")}
    while len(values) == 1 and isinstance(value := next(iter(values.values())), dict):
        values = value
    arrays = {name: np.atleast_1d(value) for name, value in values.items() if not isinstance(value, (dict, str))}
    return {name: array for name, array in arrays.items() if array.dtype.kind in "biuf"}


def _pt(path: Path, limit: int) -> npt.NDArray[Any] | Arrays:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    tensors = content if isinstance(content, dict) else {"": content}
    others = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise FormatError(f"expected a tensor or a dictionary of tensors, got {type(tensors[others[0]]).__name__}")
    _within(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), limit)
    dense = {str(name): tensor.detach().to_dense() for name, tensor in tensors.items()}
    arrays = {name: (x.float() if x.dtype == torch.bfloat16 else x).numpy() for name, x in dense.items()}
    return arrays if isinstance(content, dict) else arrays[""]


READERS: Final[Mapping[str, Callable[[Path, int], npt.NDArray[Any] | Arrays]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".mat": _mat,
    ".pt": _pt,
}
KINDS: Final = {
    ".npy": "an .npy file of plain arrays",
    ".npz": "an .npz file of plain arrays",
    ".mat": "a .mat file of MATLAB up to 7.2",
    ".pt": "a .pt file of tensors alone",
}
