"""Train spiking networks whose structure develops, and run them on a Loihi-class chip, bit for bit.

The names below are loaded when they are first used, so `import sdsnn` is cheap and needs neither torch nor Lava.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdsnn.deploy.energy.energy import price
    from sdsnn.deploy.placement.place import place
    from sdsnn.deploy.report.report import make_report as report
    from sdsnn.deploy.simulate.backends import simulate, verify
    from sdsnn.export.check.check import check
    from sdsnn.export.files import read_network as read
    from sdsnn.export.files import write_network as write
    from sdsnn.train.development.developer import Developer
    from sdsnn.train.fused import fuse
    from sdsnn.train.run.parts.own import Parts
    from sdsnn.train.slayer.lowering import lower
    from sdsnn_core.activity import Activity
    from sdsnn_core.compaction import compact
    from sdsnn_core.development import DevelopmentConfig
    from sdsnn_core.errors import (
        BackendError,
        ConfigError,
        FileError,
        MissingDependency,
        NetworkError,
        SdsnnError,
        UnsupportedNode,
    )
    from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses

    from . import train

    __version__: str

# `train` is the room itself, which can be called: sdsnn.train(config).
__all__ = [
    "Activity", "BackendError", "ConfigError", "Convolution", "Developer", "DevelopmentConfig", "FileError", "Input",
    "MissingDependency", "Network", "NetworkError", "Output", "Parts", "Population", "SdsnnError", "Synapses",
    "UnsupportedNode", "__version__", "check", "compact", "fuse", "lower", "place", "price", "read", "report",
    "simulate", "train", "verify", "write",
]  # fmt: skip

# Module -> the names it offers here; 'name=other' where it has another name there.
_DOOR = {
    "sdsnn.deploy.energy.energy": ("price",),
    "sdsnn.deploy.placement.place": ("place",),
    "sdsnn.deploy.report.report": ("report=make_report",),
    "sdsnn.deploy.simulate.backends": ("simulate", "verify"),
    "sdsnn.export.check.check": ("check",),
    "sdsnn.export.files": ("read=read_network", "write=write_network"),
    "sdsnn.train.development.developer": ("Developer",),
    "sdsnn.train.fused": ("fuse",),
    "sdsnn.train.run.parts.own": ("Parts",),
    "sdsnn.train.slayer.lowering": ("lower",),
    "sdsnn_core.activity": ("Activity",),
    "sdsnn_core.compaction": ("compact",),
    "sdsnn_core.development": ("DevelopmentConfig",),
    "sdsnn_core.errors": (
        *("BackendError", "ConfigError", "FileError", "MissingDependency", "NetworkError", "SdsnnError"),
        "UnsupportedNode",
    ),
    "sdsnn_core.network": ("Convolution", "Input", "Network", "Output", "Population", "Synapses"),
}
_PLACES = {
    name.partition("=")[0]: (module, name.rpartition("=")[2]) for module, names in _DOOR.items() for name in names
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("sdsnn")
        except PackageNotFoundError:
            value = "unknown"
    elif name == "train":
        value = import_module("sdsnn.train")
    elif name in _PLACES:
        module, attribute = _PLACES[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'sdsnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
