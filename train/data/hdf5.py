"""HDF5 files of others: opened in a child process, measured before a value is read, one line for what is wrong.

A damaged header can declare a dataset of terabytes, a heap of strings without end, or structures on which the HDF5
library crashes. So the library runs in a child with limits (`sdsnn_core.system.contained`), which compares every
declared size with what the file stores before a value is read.
"""

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError, SdsnnError, one_line
from sdsnn_core.system.contained import Answer, Limits, contained, limit_memory, limit_time

DAMAGED: Final = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError, AttributeError, AssertionError,
    ArithmeticError,
)  # fmt: skip
DEFLATE_LIMIT: Final = 1040  # zlib's manual: at most 1032 bytes from one
SLACK: Final = 2**16  # bytes a dataset may declare without storing them
OPENING: Final = Limits(4, 2**28)  # for a file of no size; more for larger ones
MOST_TEXTS: Final = 1_000_000  # of one dataset: a graph has two for each edge
READ_BYTES_PER_S: Final = 2**24  # the least that a slow machine decompresses
_HEAP: Final = b"GCOL\x01\0\0\0"  # HDF5 file format 3.0, III.E: global heap collection, version 1


@final
class Dataset:
    """A dataset of an open file: `dataset[()]` is its value, `dataset[i]` a part of it, as h5py gives them.

    Texts are bytes; a dataset without a value (a null dataspace) is "".
    """

    def __init__(self, ask: Answer, place: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._ask, self._place = ask, place
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, index: int | tuple[()]) -> Any:
        return _received(self._ask([self._place, index if isinstance(index, int) else None]))

    @property
    def small(self) -> bool:
        """Whether its value may be asked for together with others."""
        return math.prod(self.shape) * self.dtype.itemsize <= SLACK

    def __len__(self) -> int:
        return self.shape[0]

    def __contains__(self, _name: object) -> bool:
        return False  # it has no members; without this, `in` would read it element by element

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[()], dtype)


@final
class Group(Mapping[str, Any]):
    """A group of an open file: name -> Group or Dataset; 'a/b' is b in a."""

    def __init__(self, ask: Answer, place: str, members: Mapping[str, Any]) -> None:
        self._ask, self._place = ask, place
        self._members = {
            name: Group(ask, f"{place}/{name}", entry)
            if isinstance(entry, dict)
            else Dataset(ask, f"{place}/{name}", tuple(entry[0]), entry[1])
            for name, entry in members.items()
        }

    def __getitem__(self, name: str) -> Any:
        first, _, rest = name.partition("/")
        member = self._members[first]
        if not rest:
            return member
        if not isinstance(member, Group):
            raise KeyError(name)
        return member[rest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def plain(self) -> dict[str, Any]:
        """Return the values of all members, groups as dictionaries, texts as str: as `nir.serialization` reads them."""
        few = [name for name, member in self.items() if isinstance(member, Dataset) and member.small]
        answers = self._ask([[f"{self._place}/{name}" for name in few], None]) if few else []
        values = dict(zip(few, map(_received, answers), strict=True))
        for name, member in self.items():
            if name not in values:
                values[name] = member.plain() if isinstance(member, Group) else member[()]
        return {name: _decoded(values[name]) for name in self}


def _received(value: Any) -> Any:
    """Return a value as h5py gives it, from what the child sent."""
    if isinstance(value, np.ndarray):
        return value if value.ndim else value[()]
    texts = [text.encode("utf-8", "surrogateescape") for text in value["texts"]]
    shape = tuple(value["shape"])
    if not shape:
        return texts[0]
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


@contextmanager
def open_hdf5(path: Path, kind: str) -> Iterator[Group]:
    """Open an HDF5 file as `hdf5_file` does; errors raised inside start with its path, whoever raises them."""
    try:
        with hdf5_file(path, kind) as root:
            yield root
    except SdsnnError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise type(error)(f"{path}: {error}") from error
    except DAMAGED as error:
        raise FileError(f"{path}: damaged HDF5 file ({one_line(error)})") from error


@contextmanager
def hdf5_file(path: Path, kind: str) -> Iterator[Group]:
    """Open an HDF5 file for reading, in a child process.

    Args:
        path: The file.
        kind: What it should be, for errors: "a NIR graph (.nir)".

    Yields:
        The file's root, whose datasets are read when they are asked for.

    Raises:
        FileError: The file is missing, is not HDF5, is damaged, declares more data than it can hold, or makes the HDF5
            library crash or run too long.
    """
    import h5py  # noqa: F401  (loaded before the fork, so that the child need not)

    if not path.is_file():
        raise FileError(f"{path}: no such file")
    size = path.stat().st_size
    limits = Limits(OPENING.cpu_s + size / READ_BYTES_PER_S, OPENING.memory + size)
    with contained(lambda: _opened(path, kind), limits) as ask_child:

        def ask(request: Any) -> Any:
            try:
                return ask_child(request)
            except FileError as error:
                raise FileError(f"{path}: {error}") from None

        yield Group(ask, "", ask(["", None]))


def _opened(path: Path, kind: str) -> Answer:
    """Open a file; answer ['', None] with its members, [place, index] with a value, [places, None] with several."""
    import h5py

    try:
        if not h5py.is_hdf5(path):
            raise FileError(f"expected {kind}, got {_other_format(path)}")
        _check_heaps(path)
        file = h5py.File(path, "r")
        members, sizes = _members(file, path.stat().st_size)
    except SdsnnError:
        raise
    except (*DAMAGED, struct.error) as error:
        raise FileError(f"damaged HDF5 file ({one_line(error)})") from error
    seconds = OPENING.cpu_s + sizes.one / READ_BYTES_PER_S
    limit_memory(OPENING.memory + 4 * sizes.one)

    def value(place: str, index: int | None = None) -> Any:
        try:
            return _value(file[place], index)
        except DAMAGED as error:
            raise FileError(f"damaged HDF5 file ({place[1:]}: {one_line(error)})") from error

    def answer(request: Any) -> Any:
        place, index = request
        limit_time(seconds)
        if not place:
            return members
        return [value(each) for each in place] if isinstance(place, list) else value(place, index)

    return answer


def _value(dataset: Any, index: int | None) -> Any:
    """Return a numeric value as an array, texts as {"texts": ..., "shape": ...}."""
    if dataset.shape is None:  # a null dataspace
        return {"texts": [""], "shape": []}
    if dataset.dtype.kind in "OSU" and dataset.size > MOST_TEXTS:
        raise FileError(f"{dataset.name[1:]}: expected at most {MOST_TEXTS} texts, got {dataset.size}")
    value = dataset[()] if index is None else dataset[index]
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return array
    texts = [text if isinstance(text, str) else bytes(text).decode("utf-8", "surrogateescape") for text in array.flat]
    return {"texts": texts, "shape": list(array.shape)}


class _Sizes:
    """Bytes of a file's datasets: one: what the largest declares. stored: what all of them store."""

    def __init__(self) -> None:
        self.one = self.stored = 0


def _members(file: Any, file_size: int) -> tuple[dict[str, Any], _Sizes]:
    """Return name -> members of a group, or (shape, dtype) of a dataset; compare declared sizes with the storage."""
    import h5py

    sizes, open_groups = _Sizes(), set()

    def of_dataset(name: str, item: Any) -> list[Any]:
        if item.shape is None:
            return [(), "O"]
        declared, stored = math.prod(item.shape) * item.dtype.itemsize, item.id.get_storage_size()
        sizes.one, sizes.stored = max(sizes.one, declared), sizes.stored + stored
        if sizes.stored > file_size + SLACK or declared > SLACK + DEFLATE_LIMIT * stored:
            raise FileError(f"damaged HDF5 file ({name} declares {declared} bytes and stores {stored})")
        return [list(item.shape), "O" if item.dtype.kind == "O" else item.dtype.str]

    def of_group(place: str, group: Any) -> dict[str, Any]:
        address = h5py.h5o.get_info(group.id).addr
        if address in open_groups:
            raise FileError(f"damaged HDF5 file (group {place!r} holds itself)")
        open_groups.add(address)
        members: dict[str, Any] = {}
        for name in group:
            if not isinstance(name, str):  # h5py gives None for a name that it cannot read
                raise FileError(f"damaged HDF5 file (group {place!r} has a member without a name)")
            item = group.get(name)
            if isinstance(item, h5py.Group):
                members[name] = of_group(f"{place}/{name}", item)
            elif isinstance(item, h5py.Dataset):
                members[name] = of_dataset(f"{place}/{name}"[1:], item)
        open_groups.discard(address)
        return members

    return of_group("", file), sizes


def _other_format(path: Path) -> str:
    """Return what a file that is not HDF5 most likely is."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a pickle, as torch.save writes it"
    return "a file that is not an HDF5 file" if head else "an empty file"


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
