"""Check for Intel's extension of Lava for Loihi 2, which is proprietary, before anything is built."""

from __future__ import annotations

import importlib.util

from sdsnn_core.errors import MissingDependency

# What the run needs of the extension, by import name (Lava's own sources and lava-dl's tutorials use these names).
EXTENSION = (
    "lava.magma.compiler.subcompilers.nc.ncproc_compiler",
    "lava.magma.core.model.c.model",
    "lava.magma.core.model.nc.model",
    "lava.proc.embedded_io.spike",
    "lava.utils.loihi2_profiler",
)


def missing_modules() -> list[str]:
    """Return the modules of the extension that are missing; Lava itself must be importable."""
    return [name for name in EXTENSION if not _importable(name)]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # a parent package is missing
        return False


def require_extension() -> None:
    """Raise MissingDependency with one message: what is missing, how people get it, what runs here instead."""
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    if missing := missing_modules():
        raise MissingDependency(
            f"Loihi 2: Intel's Lava extension is not installed (missing {', '.join(missing)}). It is not public: "
            "members of Intel's Neuromorphic Research Community get it (intel-nrc.org), and Lava was archived in "
            "May 2026. The same spikes run here with --target engine or --target lava; `sdsnn export --bundle` "
            "makes a folder for someone who has the chip"
        )
