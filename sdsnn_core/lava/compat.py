"""The only place that touches Lava's import: makes lava-nc 0.10.0 and lava-dl 0.6.0 work on Python 3.10 to 3.13.

Both packages are archived and declare Python 3.10, numpy < 2 and torch < 2.4. The six shims of `shims.py` lift
that; the functions here apply those that are needed, each at its moment. Nothing outside `lava.*` stays patched.

Other modules import Lava inside functions, through `import_slayer`, `import_netx` or `import_lava`. Lava starts its
processes by fork, so they inherit what is patched here; a spawned process must come through here again.
"""

import importlib
import importlib.util
import io
import logging
import multiprocessing
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from ..errors import BackendError, MissingDependency
from .shims import SHIMS

LAVA_VERSIONS = {"lava-nc": "0.10.0", "lava-dl": "0.6.0"}
# Importable name -> distribution that brings it: what the parts of Lava that we use need, and their metadata do not
# give us where they are installed with --no-deps.
_MODULES = {"lava.magma": "lava-nc", "lava.lib.dl": "lava-dl", "networkx": "networkx", "asteval": "asteval"}

_MULTIPROCESSING = "lava.magma.runtime.message_infrastructure.multiprocessing"
_lock = threading.RLock()
_applied: list[str] = []


def pip_command() -> str:
    """Return what to type for `pip install` of the running interpreter, be its environment active or not."""
    active = Path(shutil.which("python") or "").absolute() == Path(sys.executable).with_name("python").absolute()
    python = "python" if active else os.path.relpath(sys.executable)
    return f"{sys.executable if python.startswith('..') else python} -m pip install"


def install_command() -> str:
    """Return the shell command that installs Lava for the running Python."""
    pip = pip_command()
    packages = " ".join(f"{name}=={version}" for name, version in LAVA_VERSIONS.items())
    if sys.version_info < (3, 11):
        return f"{pip} {packages}"
    return f"{pip} asteval networkx && {pip} --no-deps --ignore-requires-python {packages}"


def missing() -> list[str]:
    """Return the distributions that Lava needs and that are not installed; imports nothing of them."""

    def absent(module: str) -> bool:
        try:
            return importlib.util.find_spec(module) is None
        except ModuleNotFoundError:  # of a parent package
            return True

    return [distribution for module, distribution in _MODULES.items() if absent(module)]


def lava_available() -> bool:
    """Return whether Lava and its dependencies are installed, without importing them."""
    return not missing()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and the output of Lava's own files, and of torch's compiler of extensions, during an import.

    They name a missing toolbox for a demo, or a missing GPU. Other packages' warnings pass.
    """
    extensions = logging.getLogger("torch.utils.cpp_extension")
    level = extensions.level
    extensions.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            # The compiler names the file, the rest the module.
            warnings.filterwarnings("ignore", module=r"(.*[/\\])?lava[./\\]")
            yield
    finally:
        extensions.setLevel(level)


@contextmanager
def _fork_allowed() -> Iterator[None]:
    """Let Lava's `set_start_method('fork')` pass where it would change nothing; raise BackendError where it would.

    lava/magma/runtime/message_infrastructure/multiprocessing.py:47 calls it, which raises if a method is set already.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None or _MULTIPROCESSING in sys.modules or sys.platform == "win32":
        yield
        return
    if method != "fork":
        raise BackendError(
            f"lava: expected multiprocessing start method 'fork', which Lava sets when it is imported, got {method!r};"
            " import Lava before you set another, or run it in a child process (sdsnn_core.lava.child)"
        )
    multiprocessing.set_start_method(None, force=True)
    try:
        yield
    finally:
        if multiprocessing.get_start_method(allow_none=True) is None:
            multiprocessing.set_start_method(method)


def _apply(*moments: str) -> None:
    for shim in SHIMS:
        if shim.moment in moments and shim.needed():
            shim.apply()
            _applied.append(shim.name)


def applied_shims() -> list[str]:
    """Return the names of the shims that were needed in this process so far; the others found nothing to repair."""
    return list(_applied)


def _require_lava() -> None:
    if absent := missing():
        raise MissingDependency(f"lava: {', '.join(absent)} not installed; install with: {install_command()}")


def ensure_lava() -> None:
    """Make `import lava...` work: apply the shims that come before an import, and those of Lava's processes.

    Loads neither torch nor SLAYER. Raises MissingDependency where Lava or something it needs is not installed, and
    BackendError where another multiprocessing start method than fork is set.
    """
    with _lock:
        _require_lava()
        with _quiet(), _fork_allowed():
            _apply("magma", "dl", "core")


def import_lava(name: str) -> Any:
    """Import and return the module `name` of Lava, as 'lava.proc.lif.process', with the shims applied."""
    with _lock:
        ensure_lava()
        with _quiet(), _fork_allowed():
            return importlib.import_module(name)


def import_slayer() -> Any:
    """Return the module `lava.lib.dl.slayer`; its CUDA kernels will be built for the GPU that is here.

    Leaves lava-nc, and with it the start method of multiprocessing, alone: SLAYER does not need it.
    """
    with _lock:
        _require_lava()
        with _quiet():
            _apply("dl")
            module = importlib.import_module("lava.lib.dl.slayer")
            _apply("slayer")
        return module


def import_netx() -> Any:
    """Return the module `lava.lib.dl.netx`."""
    with _lock:
        module = import_lava("lava.lib.dl.netx")
        with _quiet():
            _apply("netx", "slayer")
        return module
