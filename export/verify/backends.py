"""The back ends of this room, and which of them can run a network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core import reference
from sdsnn_core.activity import Activity
from sdsnn_core.backend import Backend
from sdsnn_core.errors import NetworkError, UnsupportedNode, one_line
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import Network

from ..files import read_network
from ..lava.run import run_lava
from ..netx.run import run_netx
from ..netx.writer import Loader, write_netx
from ..nir_format.writer import write_nir


def file_backend(path: Path) -> Backend:
    """Return a back end that reads the network file `path` and runs what it says on the reference."""

    def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
        return reference.run(read_network(path), spikes, n_steps, **options)

    return run


def netx_backend(path: Path) -> Backend:
    """Return a back end that runs the `.net` file `path` in lava-dl's netx."""

    def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
        return run_netx(path, spikes, n_steps, **options)

    return run


def recorded(trains: Mapping[str, npt.NDArray[np.uint8]]) -> Backend:
    """Return a back end that ran already, SLAYER for one. trains: population -> (samples, steps, size) 0/1."""

    def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
        n_samples, steps = next(iter(trains.values())).shape[:2] if trains else (0, 0)
        return Activity(steps, n_samples, {}, {}, {}, spikes=trains)

    return run


def _written(ending: str, write: Callable[[Network, Path], Path], backend: Callable[[Path], Backend]) -> Backend:
    """Return a back end that writes the network to a temporary file and runs that file."""

    def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
        with tempfile.TemporaryDirectory(prefix="sdsnn-") as folder:
            path = write(network, Path(folder) / f"network{ending}")
            return backend(path)(network, spikes, n_steps, **options)

    return run


_write_netx = partial(write_netx, loader="sdsnn")
BACKENDS: Final[Mapping[str, Backend]] = {
    "reference": reference.run,
    "nir": _written(".nir", write_nir, file_backend),
    "netx file": _written(".net", _write_netx, file_backend),
    "netx": _written(".net", _write_netx, netx_backend),
    "lava": run_lava,
}


@dataclass(frozen=True)
class Backends:
    """Back ends of a comparison: name -> back end; and name -> why it takes no part."""

    run: dict[str, Backend] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetxFile:
    """A `.net` file that was written: its path and who must load it; or why there is none."""

    path: Path | None
    loader: Loader | None
    reason: str | None


def write_netx_file(network: Network, path: Path) -> NetxFile:
    """Write `network` for plain netx, else for our loader, else remove an older file and say why."""
    reasons: list[str] = []
    loaders: tuple[Loader, ...] = ("netx", "sdsnn")
    for loader in loaders:
        try:
            return NetxFile(write_netx(network, path, loader=loader), loader, reasons[0] if reasons else None)
        except (NetworkError, UnsupportedNode) as error:
            reasons.append(one_line(error))
    path.unlink(missing_ok=True)
    return NetxFile(None, None, reasons[-1])


def backends_for(nir_file: Path, netx: NetxFile, *, lava: bool, extra: Mapping[str, Backend] | None = None) -> Backends:
    """Return the back ends of export and verify: files read back, `extra`, and with `lava` what runs in Lava.

    nir_file: holds the network. netx: what `write_netx_file` returned. lava: False leaves Lava and lava-dl's netx out.
    """
    chosen = Backends({"nir": file_backend(nir_file)})
    why_not_lava = None if lava else "not asked for"
    if lava and not lava_available():
        why_not_lava = "Lava is not installed (docs/installation.md)"
    if netx.path is None:
        chosen.skipped["netx"] = netx.reason or "no file"
    else:
        chosen.run["netx file"] = file_backend(netx.path)
        if why_not_lava is None:
            chosen.run["netx"] = netx_backend(netx.path)
        else:
            chosen.skipped["netx"] = why_not_lava
    if why_not_lava is None:
        chosen.run["lava"] = run_lava
    else:
        chosen.skipped["lava"] = why_not_lava
    chosen.run.update(extra or {})
    return chosen
