"""How the engine's functions become machine code, and how that code is kept between processes."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, typeof
from numba.extending import intrinsic

i32 = np.int32
type_of: Callable[[Any], Any] = typeof
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def part(function: Callable[..., Any]) -> Any:
    """Compile `function` as a part of those that call it; only they are kept."""
    return njit(function, error_model="numpy")


def instruction(function: Callable[..., Any]) -> Any:
    """Make a function for compiled code out of one that writes its LLVM instructions."""
    return intrinsic(function)


def sources() -> int:
    """Return a number that changes with every change of the engine's code."""
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    return int.from_bytes(sha.digest()[:7], "big")


class Kept:
    """A function that is compiled when it is first called, and kept on disk where numba finds a place for it.

    make: returns the function, given `sources()`. Numba renews kept code when the file of the outermost function
    changes, but not when one does that it calls; what the function closes over is part of its key, so `sources()` is.
    Where nothing can be written or what was kept is damaged, the function is compiled for this process only.
    """

    def __init__(self, make: Callable[[int], Callable[..., Any]]) -> None:
        self._function = make(sources())
        self._compiled: Any = None
        try:
            self._kept: Any = njit(self._function, cache=True, **OPTIONS)
        except RuntimeError:  # "no locator available": neither beside this file nor in the user's cache
            self._kept = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the function; all calls must be with arguments of the same types."""
        if self._compiled is None:
            self._compiled = self._load(arguments)
        return self._compiled(*arguments)

    def _load(self, arguments: tuple[Any, ...]) -> Any:
        """Compile for the types of `arguments`, or take what was kept."""
        types = tuple(map(type_of, arguments))
        if self._kept is not None:
            try:
                self._kept.compile(types)
                return self._kept
            except (OSError, EOFError, pickle.UnpicklingError):  # no space left, or a file cut off by a crash
                self._kept = None
        compiled = njit(self._function, **OPTIONS)
        compiled.compile(types)
        return compiled
