"""The only place that touches Lava's import: makes lava-nc 0.10.0 and lava-dl 0.6.0 work on Python 3.10 to 3.13.

Both packages are archived and declare Python 3.10, numpy < 2 and torch < 2.4. Six shims lift that. Each one names the
upstream line it answers and does nothing where that line works. Two come before an import, the others patch modules of
Lava after it. Nothing outside `lava.*` stays patched.

Other modules import Lava inside functions, through `import_slayer`, `import_netx` or `import_lava`. Lava starts its
processes by fork, so they inherit what is patched here; a spawned process must come through here again.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import io
import logging
import multiprocessing
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from .errors import BackendError, MissingDependency

LAVA_VERSIONS = {"lava-nc": "0.10.0", "lava-dl": "0.6.0"}
# Importable name -> distribution that brings it: what the parts of Lava that we use need, and their metadata do not
# give us where they are installed with --no-deps.
_MODULES = {"lava.magma": "lava-nc", "lava.lib.dl": "lava-dl", "networkx": "networkx", "asteval": "asteval"}

_VAR_MODEL = "lava.magma.compiler.var_model"
_MULTIPROCESSING = "lava.magma.runtime.message_infrastructure.multiprocessing"
_OBJECT_DETECTION = "lava.lib.dl.slayer.object_detection"
_lock = threading.RLock()


@dataclasses.dataclass(frozen=True)
class Shim:
    """One repair of Lava.

    upstream: the file and lines it answers. moment: when it comes: before anything of lava-nc ('magma') or lava-dl
    ('dl') is imported, with lava-nc ('core'), or after 'slayer' or 'netx'. needed: whether those lines fail here and
    have not been repaired yet. apply: the repair.
    """

    name: str
    upstream: str
    moment: str
    needed: Callable[[], bool]
    apply: Callable[[], None]


def _complains(action: Callable[[], object]) -> bool:
    """Tell whether numpy refuses `action`, or warns that it will."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            action()
        except (TypeError, DeprecationWarning):
            return True
    return False


def _numpy() -> Any:
    import numpy

    return numpy


# 1 -- a dataclass whose fields default to an instance of an unhashable dataclass


def _needs_hash() -> bool:
    return sys.version_info >= (3, 11) and _VAR_MODEL not in sys.modules


def _import_var_model() -> None:
    """Import `var_model` with a `dataclass` that makes its class ByteEncoder, and no other, hashable.

    Since Python 3.11 a default must be hashable, and `@dataclass` with eq and without frozen takes the hash away.
    A first attempt fails, but imports what the module imports; so the second runs nothing else under the wrapper.
    """
    try:
        importlib.import_module(_VAR_MODEL)
        return
    except ValueError as error:
        if "ByteEncoder" not in str(error):
            raise
    original: Any = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        def decorate(target: Any) -> Any:
            hashable = target.__module__ == _VAR_MODEL and target.__name__ == "ByteEncoder"
            return original(target, **({**options, "unsafe_hash": True} if hashable else options))

        return decorate if cls is None else decorate(cls)

    dataclasses.dataclass = dataclass
    try:
        module: Any = importlib.import_module(_VAR_MODEL)
    finally:
        dataclasses.dataclass = original
    module.dataclass = original


# 2 -- SLAYER imports its object detection, which needs opencv, torchvision and pillow


def _lacks_vision() -> bool:
    vision = ("cv2", "torchvision", "PIL")
    return _OBJECT_DETECTION not in sys.modules and not all(map(importlib.util.find_spec, vision))


def _leave_out_object_detection() -> None:
    empty = types.ModuleType(
        _OBJECT_DETECTION, "Left out by sdsnn_core.lava_compat, since opencv or torchvision is missing."
    )
    empty.__path__ = []
    sys.modules[_OBJECT_DETECTION] = empty


# 3 -- netx reads the weight and bias of an input layer by int() of an array of one element


class _ScalarView:
    """A view of an input layer's group: `keys()` and `[]` as ever, but weight and bias are Python ints."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def keys(self) -> Any:
        return self._group.keys()

    def __getitem__(self, key: str) -> Any:
        value = self._group[key]
        if key in ("weight", "bias"):
            return int(_numpy().asarray(value).ravel()[0])
        return value


def _refuses_int_of_array() -> bool:
    network = importlib.import_module("lava.lib.dl.netx.hdf5").Network
    repaired = hasattr(network.create_input, "__wrapped__")
    return not repaired and _complains(lambda: int(_numpy().zeros(1)))


def _repair_netx_input() -> None:
    network = importlib.import_module("lava.lib.dl.netx.hdf5").Network
    original = network.create_input

    def create_input(layer_config: Any, *args: Any, **options: Any) -> Any:
        return original(_ScalarView(layer_config), *args, **options)

    create_input.__wrapped__ = original  # type: ignore[attr-defined]
    network.create_input = staticmethod(create_input)


# 4 -- .reshape() and .flatten() of a port call np.reshape(newshape=...)


class _Reshape:
    """Reshape to `shape`; a class, so that it travels to the processes that Lava starts."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, data: Any) -> Any:
        return _numpy().reshape(data, self.shape)


def _refuses_newshape() -> bool:
    port = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    repaired = port.get_transform_func_fwd.__module__ == __name__
    numpy = _numpy()
    return not repaired and _complains(lambda: numpy.reshape(numpy.zeros(1), newshape=(1,)))


def _repair_reshape_port() -> None:
    def get_transform_func_fwd(self: Any) -> _Reshape:
        return _Reshape(self.shape)

    def get_transform_func_bwd(self: Any) -> _Reshape:
        return _Reshape(self.old_shape)

    port = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    port.get_transform_func_fwd = get_transform_func_fwd
    port.get_transform_func_bwd = get_transform_func_bwd


# 5 -- the geometry of a convolution is held in int8


_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups")


def _has_narrow_convolution() -> bool:
    model = importlib.import_module("lava.proc.conv.models").AbstractPyConvModel
    return any(getattr(model, name).d_type is _numpy().int8 for name in _GEOMETRY)


def _widen_convolution() -> None:
    model = importlib.import_module("lava.proc.conv.models").AbstractPyConvModel
    lava_type = importlib.import_module("lava.magma.core.model.py.type").LavaPyType
    for name in _GEOMETRY:
        setattr(model, name, lava_type(_numpy().ndarray, _numpy().int32, precision=32))


# 6 -- SLAYER's kernels are compiled for 8.0 on every GPU from there on, which gives Hopper (9.0) none


def _gpu_capability() -> tuple[int, int] | None:
    import torch

    return torch.cuda.get_device_capability(0) if torch.cuda.is_available() else None


def _architecture(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _has_wrong_architecture() -> bool:
    listed = importlib.import_module("lava.lib.dl.slayer.jitconfig").TORCH_CUDA_ARCH_LIST
    capability = _gpu_capability()
    return capability is not None and capability > (8, 0) and listed == "8.0"


def _set_architecture() -> None:
    capability = _gpu_capability()
    assert capability is not None, "applied where it is not needed"
    jitconfig: Any = importlib.import_module("lava.lib.dl.slayer.jitconfig")
    jitconfig.TORCH_CUDA_ARCH_LIST = _architecture(capability)


SHIMS = (
    Shim(
        "hashable ByteEncoder",
        "lava-nc 0.10.0: lava/magma/compiler/var_model.py:210-238",
        "magma",
        _needs_hash,
        _import_var_model,
    ),
    Shim(
        "no object detection",
        "lava-dl 0.6.0: lava/lib/dl/slayer/__init__.py:15",
        "dl",
        _lacks_vision,
        _leave_out_object_detection,
    ),
    Shim(
        "scalar input weight",
        "lava-dl 0.6.0: lava/lib/dl/netx/hdf5.py:280,285",
        "netx",
        _refuses_int_of_array,
        _repair_netx_input,
    ),
    Shim(
        "reshape port",
        "lava-nc 0.10.0: lava/magma/core/process/ports/ports.py:920,931",
        "core",
        _refuses_newshape,
        _repair_reshape_port,
    ),
    Shim(
        "wide convolution",
        "lava-nc 0.10.0: lava/proc/conv/models.py:25-29",
        "core",
        _has_narrow_convolution,
        _widen_convolution,
    ),
    Shim(
        "GPU architecture",
        "lava-dl 0.6.0: lava/lib/dl/slayer/jitconfig.py:15-18",
        "slayer",
        _has_wrong_architecture,
        _set_architecture,
    ),
)


def install_command() -> str:
    """Return the shell command that installs Lava for the running Python."""
    packages = " ".join(f"{name}=={version}" for name, version in LAVA_VERSIONS.items())
    if sys.version_info < (3, 11):
        return f"pip install {packages}"
    return f"pip install asteval networkx && pip install --no-deps --ignore-requires-python {packages}"


def missing() -> list[str]:
    """Return the distributions that Lava needs and that are not installed; imports nothing of them."""
    absent = []
    for module, distribution in _MODULES.items():
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # of a parent package
            found = False
        if not found:
            absent.append(distribution)
    return absent


def lava_available() -> bool:
    """Tell whether Lava and what it needs are installed; imports nothing of them."""
    return not missing()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lava's own files say while they are compiled and imported: their warnings, and what they print.

    They print that a toolbox for one of their demos is missing; the compiler of extensions that SLAYER loads prints or
    logs, by version of torch, that it sees no GPU. Other packages' warnings pass.
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
    """Let Lava's `set_start_method('fork')` pass where it would change nothing, and answer where it would.

    Lava calls it when lava/magma/runtime/message_infrastructure/multiprocessing.py:47 is imported; the standard
    library raises if a start method is set already, even the same one.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None or _MULTIPROCESSING in sys.modules or sys.platform == "win32":
        yield
        return
    if method != "fork":
        raise BackendError(
            f"lava: got multiprocessing start method {method!r}, allowed 'fork', which Lava sets when it is imported;"
            " import Lava before you set another, or run it in a child process (sdsnn_core.lava_child)"
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


def _require_lava() -> None:
    absent = missing()
    if absent:
        raise MissingDependency(f"lava: {', '.join(absent)} not installed; install with: {install_command()}")


def ensure_lava() -> None:
    """Make `import lava...` work: apply the shims that come before an import, and those of Lava's processes.

    Calling it again does nothing. Loads neither torch nor SLAYER. Raises MissingDependency where Lava or something it
    needs is not installed, and BackendError where another multiprocessing start method than fork is set.
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
