"""The back ends of this room, and which of them can run a network."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

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
    return lambda network, *arguments, **options: reference.run(read_network(path), *arguments, **options)


def netx_backend(path: Path) -> Backend:
    """Return a back end that runs the `.net` file `path` in lava-dl's netx."""
    return lambda network, *arguments, **options: run_netx(path, *arguments, **options)


def recorded(
    trains: Mapping[str, npt.NDArray[np.uint8]], voltages: Mapping[str, npt.NDArray[np.int32]] | None = None
) -> Backend:
    """Return a back end that ran already, SLAYER for one.

    trains: population -> (samples, steps, size) 0/1. voltages: the same of outputs that are read by their voltage, in
    state units.
    """
    arrays: list[npt.NDArray[Any]] = [*trains.values(), *(voltages or {}).values()]
    n_samples, n_steps = arrays[0].shape[:2] if arrays else (0, 0)
    return lambda *arguments, **options: Activity(n_steps, n_samples, {}, {}, {}, spikes=trains, voltage=voltages or {})


def _written(ending: str, write: Callable[[Network, Path], Path], backend: Callable[[Path], Backend]) -> Backend:
    """Return a back end that writes the network to a temporary file and runs that file."""

    def run(network: Network, *arguments: Any, **options: Any) -> Activity:
        with tempfile.TemporaryDirectory(prefix="sdsnn-") as folder:
            path = write(network, Path(folder) / f"network{ending}")
            return backend(path)(network, *arguments, **options)

    return run


_write_netx = partial(write_netx, loader="sdsnn")
BACKENDS: Final[Mapping[str, Backend]] = {
    "reference": reference.run,
    "nir": _written(".nir", write_nir, file_backend),
    "netx file": _written(".net", _write_netx, file_backend),
    "netx": _written(".net", _write_netx, netx_backend),
    "lava": run_lava,
}


class Backends(NamedTuple):
    """Back ends of a comparison: name -> back end; and name -> why it takes no part."""

    run: dict[str, Backend]
    skipped: dict[str, str]


class NetxFile(NamedTuple):
    """A `.net` file: its path and who must load it, None for nobody; reason: why there is no file or no loader."""

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


def backends_for(
    nir_file: Path | None,
    netx: NetxFile,
    *,
    lava: bool,
    extra: Mapping[str, Backend] | None = None,
    why_no_nir: str = "no file",
) -> Backends:
    """Return the back ends of export and verify: files read back, `extra`, and with `lava` what runs in Lava.

    nir_file: holds the network; None where it could not be written, for the reason `why_no_nir`. netx: what
    `write_netx_file` returned. lava: False leaves Lava and lava-dl's netx out.
    """
    reason = netx.reason or "no file"
    run: dict[str, Backend] = {}
    skipped: dict[str, str] = {}
    in_lava: dict[str, Backend] = {"lava": run_lava}
    for name, path, why in (("nir", nir_file, why_no_nir), ("netx file", netx.path, reason)):
        if path is None:
            skipped[name] = why
        else:
            run[name] = file_backend(path)
    if netx.path is None or netx.loader is None:
        skipped["netx"] = reason
    else:
        in_lava = {"netx": netx_backend(netx.path), **in_lava}
    if lava and lava_available():
        run |= in_lava
    else:
        reason = "Lava is not installed (docs/installation.md)" if lava else "not asked for"
        skipped |= dict.fromkeys(in_lava, reason)
    return Backends({**run, **(extra or {})}, skipped)
