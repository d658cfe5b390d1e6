"""Compile a function with numba and keep the machine code on disk, until any source in its folder changes.

numba renews kept code when the file of the outermost function changes, but not when a file of a function that it calls
does. Here the key is the text of all sources in the kernel's folder. So a kernel calls only kernels of its own folder.
"""

import functools
import hashlib
import importlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DAMAGE = (OSError, EOFError, pickle.UnpicklingError, ValueError, AttributeError, ImportError, IndexError, TypeError)


@functools.lru_cache
def sources_hash(folder: Path) -> str:
    """Return a SHA-256 over the names and contents of a folder's Python files."""
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def _store_of(function: Callable[..., Any]) -> Any:
    """Return numba's cache for `function`, keyed by its folder's sources; None if no directory can be written."""
    caching: Any = importlib.import_module("numba.core.caching")  # its annotations are partial

    class Store(caching.FunctionCache):  # type: ignore[misc]
        def load_overload(self, *arguments: Any) -> Any:
            try:
                return super().load_overload(*arguments)
            except _DAMAGE:  # a file cut off by a crash: compile again
                return None

        def save_overload(self, *arguments: Any) -> None:
            try:
                try:
                    super().save_overload(*arguments)
                except _DAMAGE:
                    self.flush()  # writes an empty index over a damaged one
                    super().save_overload(*arguments)
            except OSError:  # the disk is full
                self.disable()

    try:
        store = Store(function)
    except RuntimeError:  # numba found no directory: neither beside the source nor in the user's cache
        return None
    stamp = sources_hash(Path(function.__code__.co_filename).parent)
    store._cache_file = caching.IndexDataCacheFile(store.cache_path, store._impl.filename_base, stamp)
    return store


def compiled(function: Callable[..., Any], *, fastmath: bool | set[str] = False) -> Any:
    """Compile a function when it is first called; it runs without the GIL, and its machine code is kept on disk.

    It may call functions that this module compiled, of the same folder. fastmath: freedoms that LLVM may take with
    floats, as numba names them. Where nothing can be written, or a kept file is damaged, it compiles for this process.
    """
    from numba import njit

    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    store = _store_of(function)
    if store is not None:
        dispatcher._cache = store
    return dispatcher


def contracted(function: Callable[..., Any]) -> Any:
    """Like `compiled`, with a product and a sum rounded once: for gradients."""
    return compiled(function, fastmath={"contract"})


def reassociated(function: Callable[..., Any]) -> Any:
    """Like `contracted`, with sums taken in any order: for gradients that are sums over rows."""
    return compiled(function, fastmath={"contract", "reassoc"})


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of those that call it; only they are kept on disk."""
    from numba import njit

    return njit(error_model="numpy")(function)


def spliced(function: Callable[..., Any]) -> Any:
    """Like `inlined`, and never as a call, which innermost loops would pay for: numba leaves that to the compiler."""
    from numba import njit

    return njit(error_model="numpy", forceinline=True)(function)
