"""The datasets of a netx `.net` file: opening it, and reading one field with a refusal that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core import geometry
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode
from sdsnn_core.network import DELAY_MAX, NEVER_FIRES, Shape

from ..nir_format.dialect import Int64Array
from .format import CUBA_TYPES, SUPPORTED_LAYERS

_DAMAGED: Final = (OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError, MemoryError, AttributeError)


@contextmanager
def open_netx(path: Path) -> Iterator[Any]:
    """Open a netx file; errors inside name it. Raises FileError for one that is missing, damaged or no netx network."""
    import h5py

    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise FileError(f"{path}: is not an HDF5 file; allowed are netx networks (.net)")
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get("layer"), h5py.Group):
                raise FileError("HDF5 file without a netx network (a group 'layer')")
            yield file
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise FileError(f"{path}: damaged file ({type(error).__name__}: {' '.join(str(error).split())})") from error


def text(group: Any, key: str, where: str) -> str:
    """Return a dataset of one string."""
    if key not in group:
        raise NetworkError(f"{where}: got no {key}, allowed are {', '.join(SUPPORTED_LAYERS)}")
    value = np.asarray(group[key][()]).reshape(-1)[0]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def integers(group: Any, key: str, where: str) -> Int64Array:
    """Return a dataset as int64, refusing fractions (netx would cut them off)."""
    if key not in group:
        raise NetworkError(f"{where}: got no {key}, which this type of layer needs")
    values = np.asarray(group[key][()])
    if values.dtype.kind not in "iufb" or not np.array_equal(values, np.rint(values)):
        raise NetworkError(
            f"{where} {key}: got values that are not integers, allowed are integers (netx cuts fractions)"
        )
    return values.astype(np.int64)


def pair(group: Any, key: str, where: str) -> tuple[int, int]:
    """Return a dataset of one or two integers as (y, x)."""
    return geometry.pair(integers(group, key, where), f"{where} {key}")


def spread(values: Int64Array, shape: Shape, where: str) -> Int64Array:
    """Return values given for all, per channel or whole ((N,) or (W, H, C)) as an array of `shape`."""
    whole: Int64Array = np.zeros(shape, np.int64)
    if values.size == 1:
        whole += values.reshape(-1)[0]
        return whole
    if len(shape) == 3 and values.shape == shape[::-1]:
        whole += values.transpose(2, 1, 0)
        return whole
    if len(shape) == 3 and values.shape == shape[:1]:
        whole += values.reshape(-1, 1, 1)
        return whole
    if values.ndim == 1 and values.size == int(np.prod(shape)):
        return values.reshape(shape)
    raise NetworkError(f"{where}: got shape {values.shape}, allowed are one value, one per channel or one per neuron")


def neuron_integers(group: Any, where: str, shape: Shape) -> dict[str, Int64Array]:
    """Return current_decay, voltage_decay and threshold of a neuron group, each of `shape`."""
    kind = text(group, "type", where)
    if kind not in CUBA_TYPES:
        raise UnsupportedNode(f"{where}: got type {kind!r}, allowed are {', '.join(CUBA_TYPES)}")
    for key, allowed in (("gradedSpike", 0), ("weight_exp", 0), ("refDelay", 1)):
        if key in group and (values := np.asarray(group[key][()])).size and (values != allowed).any():
            raise UnsupportedNode(
                f"{where} {key}: got {values.reshape(-1)[0]}, which netx ignores; allowed is {allowed}"
            )
    names = {"current_decay": "iDecay", "voltage_decay": "vDecay", "threshold": "vThMant"}
    found = {name: spread(integers(group, key, where), shape, f"{where} {key}") for name, key in names.items()}
    # SLAYER's Affine writes 2**18 - 1: like every threshold from 2**17 on, no voltage of 24 bits exceeds it.
    found["threshold"] = np.minimum(found["threshold"], NEVER_FIRES)
    return found


def delay_matrix(group: Any, where: str, n_post: int, n_pre: int) -> Int64Array:
    """Return delays as (n_post, n_pre), as netx reads them: a vector is taken per output where its length allows."""
    values = np.asarray(group["delay"][()])
    steps = np.floor(values.astype(np.float64)).astype(np.int64)
    if values.size and (steps.min() < 0 or steps.max() > DELAY_MAX):
        raise NetworkError(f"{where} delay: got {values.min()}..{values.max()}, allowed 0..{DELAY_MAX} (netx clips)")
    if steps.ndim == 1 and steps.size == n_post:
        steps = steps[:, None]
    elif steps.shape not in ((), (1,), (n_pre,), (n_post, n_pre)):
        raise NetworkError(f"{where} delay: got shape {steps.shape}, allowed (), ({n_post},), ({n_pre},) or a matrix")
    whole: npt.NDArray[np.int64] = np.broadcast_to(steps, (n_post, n_pre))
    return whole
