"""Which back ends can run a network, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError, UnsupportedNode, one_line
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Network

from ..netx.writer import Loader, write_netx
from .certificate import Backend, lava_backend, netx_file_backend, nir_backend


@dataclass(frozen=True)
class Backends:
    """run: name -> back end. skipped: name -> why it takes no part."""

    run: dict[str, Backend] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetxFile:
    """A `.net` file that was written: its path and who must load it; or why there is none."""

    path: Path | None
    loader: Loader | None
    reason: str | None


def write_netx_file(network: Network, path: Path) -> NetxFile:
    """Write `network` for plain netx, else for our loader, else remove what stood there and say why."""
    reasons: list[str] = []
    loaders: tuple[Loader, ...] = ("netx", "sdsnn")
    for loader in loaders:
        try:
            return NetxFile(write_netx(network, path, loader=loader), loader, reasons[0] if reasons else None)
        except (NetworkError, UnsupportedNode) as error:
            reasons.append(one_line(error))
    path.unlink(missing_ok=True)
    return NetxFile(None, None, reasons[-1])


def backends_for(
    network: Network, nir_file: Path, netx: NetxFile, *, lava: bool, extra: Mapping[str, Backend] | None = None
) -> Backends:
    """Return the back ends of export and verify: files read back, `extra`, and with `lava` what runs in Lava.

    nir_file: holds the network. netx: what `write_netx_file` returned. lava: False leaves Lava and lava-dl's netx out.
    """
    found = Backends({"nir": nir_backend(nir_file)})
    why_not_lava = None if lava else "not asked for"
    if lava and not lava_available():
        why_not_lava = "Lava is not installed (docs/installation.md)"
    if netx.path is None:
        found.skipped["netx"] = netx.reason or "no file"
    else:
        found.run["netx file"] = netx_file_backend(netx.path)
        if why_not_lava is None:
            found.run["netx"] = _netx_backend(netx.path)
        else:
            found.skipped["netx"] = why_not_lava
    if why_not_lava is None:
        found.run["lava"] = lava_backend()
    else:
        found.skipped["lava"] = why_not_lava
    found.run.update(extra or {})
    return found


def _netx_backend(path: Path, timeout_s: float = 300.0) -> Backend:
    def run(network: Network, spikes: Mapping[str, Any]) -> Mapping[str, npt.NDArray[np.uint8]]:
        from ..netx.run import run_netx

        return run_netx(path, spikes, record=list(network.populations), timeout_s=timeout_s).spikes

    return run
