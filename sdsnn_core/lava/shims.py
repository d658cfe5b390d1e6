"""The repairs of the archived Lava: six shims, each with the line it answers and the test whether it is needed.

`compat.py` applies them. Two come before an import, the others patch modules of Lava after it. Nothing outside
`lava.*` stays patched.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

_VAR_MODEL = "lava.magma.compiler.var_model"
_OBJECT_DETECTION = "lava.lib.dl.slayer.object_detection"


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
    """Return whether numpy refuses `action`, or warns that a later version will."""
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
        _OBJECT_DETECTION, "Left out by sdsnn_core.lava.compat, since opencv or torchvision is missing."
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
