"""The repairs of the archived Lava: six shims, which `compat.py` applies. Nothing outside `lava.*` stays patched."""

import dataclasses
import importlib
import importlib.util
import operator
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

_VAR_MODEL = "lava.magma.compiler.var_model"
_OBJECT_DETECTION = "lava.lib.dl.slayer.object_detection"


@dataclasses.dataclass(frozen=True)
class Shim:
    """One repair of Lava."""

    name: str
    upstream: str  # the file and lines it repairs
    moment: (
        str  # before lava-nc ('magma') or lava-dl ('dl') is imported, with lava-nc ('core'), after 'slayer' or 'netx'
    )
    needed: Callable[[], bool]  # whether those lines fail here and have not been repaired yet
    apply: Callable[[], None]


def _complains(action: Callable[[], object]) -> bool:
    """Return whether numpy refuses `action`, or warns that a later version will."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            action()
        except (TypeError, DeprecationWarning):
            return True
    return False


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
    empty = types.ModuleType(_OBJECT_DETECTION, "Left out by sdsnn_core.lava, since opencv or torchvision is missing.")
    empty.__path__ = []
    sys.modules[_OBJECT_DETECTION] = empty


# 3 -- netx reads the weight and bias of an input layer by int() of an array of one element
def _refuses_int_of_array() -> bool:
    network = importlib.import_module("lava.lib.dl.netx.hdf5").Network
    repaired = hasattr(network.create_input, "__wrapped__")
    return not repaired and _complains(lambda: int(np.zeros(1)))


def _repair_netx_input() -> None:
    network = importlib.import_module("lava.lib.dl.netx.hdf5").Network
    original = network.create_input

    def create_input(layer_config: Any, *args: Any, **options: Any) -> Any:
        group = {key: layer_config[key] for key in layer_config.keys()}  # noqa: SIM118 (an HDF5 group)
        scalars = {key: int(np.asarray(group[key]).ravel()[0]) for key in ("weight", "bias") if key in group}
        return original(group | scalars, *args, **options)

    create_input.__wrapped__ = original  # type: ignore[attr-defined]
    network.create_input = staticmethod(create_input)


# 4 -- .reshape() and .flatten() of a port call np.reshape(newshape=...)
def _refuses_newshape() -> bool:
    port = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    repaired = port.get_transform_func_fwd.__module__ == __name__
    reshape: Any = np.reshape
    return not repaired and _complains(lambda: reshape(np.zeros(1), newshape=(1,)))


def _repair_reshape_port() -> None:
    port = importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort
    # Unlike a lambda, a methodcaller can be pickled: Lava sends it to the processes that it starts.
    port.get_transform_func_fwd = lambda self: operator.methodcaller("reshape", self.shape)
    port.get_transform_func_bwd = lambda self: operator.methodcaller("reshape", self.old_shape)


# 5 -- the geometry of a convolution is held in int8


_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups")


def _has_narrow_convolution() -> bool:
    model = importlib.import_module("lava.proc.conv.models").AbstractPyConvModel
    return any(getattr(model, name).d_type is np.int8 for name in _GEOMETRY)


def _widen_convolution() -> None:
    model = importlib.import_module("lava.proc.conv.models").AbstractPyConvModel
    lava_type = importlib.import_module("lava.magma.core.model.py.type").LavaPyType
    for name in _GEOMETRY:
        setattr(model, name, lava_type(np.ndarray, np.int32, precision=32))


# 6 -- SLAYER's kernels are compiled for 8.0 on every GPU from there on, which gives Hopper (9.0) none
def _gpu_capability() -> tuple[int, int] | None:
    import torch

    return torch.cuda.get_device_capability(0) if torch.cuda.is_available() else None


def _has_wrong_architecture() -> bool:
    listed = importlib.import_module("lava.lib.dl.slayer.jitconfig").TORCH_CUDA_ARCH_LIST
    capability = _gpu_capability()
    return capability is not None and capability > (8, 0) and listed == "8.0"


def _set_architecture() -> None:
    capability = _gpu_capability()
    assert capability is not None, "applied where it is not needed"
    jitconfig: Any = importlib.import_module("lava.lib.dl.slayer.jitconfig")
    jitconfig.TORCH_CUDA_ARCH_LIST = f"{capability[0]}.{capability[1]}"


# fmt: off
SHIMS = (
    Shim("hashable ByteEncoder", "lava-nc 0.10.0: lava/magma/compiler/var_model.py:210-238",
         "magma", _needs_hash, _import_var_model),
    Shim("no object detection", "lava-dl 0.6.0: lava/lib/dl/slayer/__init__.py:15",
         "dl", _lacks_vision, _leave_out_object_detection),
    Shim("scalar input weight", "lava-dl 0.6.0: lava/lib/dl/netx/hdf5.py:280,285",
         "netx", _refuses_int_of_array, _repair_netx_input),
    Shim("reshape port", "lava-nc 0.10.0: lava/magma/core/process/ports/ports.py:920,931",
         "core", _refuses_newshape, _repair_reshape_port),
    Shim("wide convolution", "lava-nc 0.10.0: lava/proc/conv/models.py:25-29",
         "core", _has_narrow_convolution, _widen_convolution),
    Shim("GPU architecture", "lava-dl 0.6.0: lava/lib/dl/slayer/jitconfig.py:15-18",
         "slayer", _has_wrong_architecture, _set_architecture),
)
