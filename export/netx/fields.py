"""Fields of a netx `.net` file as they stand, and as integers."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.hdf5 import Group, open_hdf5
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import NEVER_FIRES, Shape

from ..nir_format.dialect import Int64Array

Layers = Mapping[str, Any]  # "layer N" -> HDF5 group
OLD_TYPES: Final = {"recurrent": "dense_rec"}  # of releases before lava-dl 0.4
MAX_NEURONS: Final = 2**27  # of one layer; a shape of more is a damaged one
NEURON_FIELDS: Final = {"current_decay": "iDecay", "voltage_decay": "vDecay", "threshold": "vThMant"}


@contextmanager
def open_netx(path: Path) -> Iterator[Any]:
    """Open a netx file; errors inside start with its path. Raises FileError for one that is no netx network."""
    with open_hdf5(path, "a netx network (.net)") as file:
        if not isinstance(file.get("layer"), Group):
            raise FileError("expected a netx network (a group 'layer'), got an HDF5 file without one")
        yield file


def layers_of(file: Any) -> Layers:
    """Return the layers in order. Raises FileError where their numbers have gaps."""
    numbers = sorted(int(name) for name in file["layer"] if name.isdecimal())
    if numbers != list(range(len(file["layer"]))) or not numbers:
        members = ", ".join(sorted(file["layer"])[:5]) or "none"
        raise FileError(f"group 'layer': expected members 0, 1, ... without a gap, got {members}")
    return {f"layer {number}": file["layer"][str(number)] for number in numbers}


def text(group: Any, key: str) -> str:
    """Return a dataset of one string, "" where it is absent."""
    value = np.asarray(group[key][()]).reshape(-1)[0] if key in group else ""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def kind_of(group: Any) -> str:
    """Return the type of a layer, today's name for an old one."""
    kind = text(group, "type")
    return OLD_TYPES.get(kind, kind)


def loop_weight(group: Any) -> str:
    """Return the name under which a recurrent layer keeps the weights of its loop."""
    return "recWeight" if "weight_rec" not in group and "recWeight" in group else "weight_rec"


def plain(group: Any, key: str) -> npt.NDArray[Any] | None:
    """Return a dataset, or None where it is absent, empty (a null dataspace) or a group (complex weights)."""
    if key not in group or hasattr(group[key], "keys"):
        return None
    values = np.asarray(group[key][()])
    no_value = not values.size or values.dtype.kind == "O" or (values.dtype.kind in "SU" and not any(values.flat))
    return None if no_value else values


def integers(group: Any, key: str, where: str) -> Int64Array:
    """Return a dataset as int64."""
    if (values := plain(group, key)) is None:
        raise NetworkError(f"{where}: expected a field {key}, got none")
    return values.astype(np.int64)


def spread(values: Int64Array, shape: Shape, where: str) -> Int64Array:
    """Return values given for all, per channel or whole ((N,) or (W, H, C)) as an array of `shape`."""
    if values.size == 1:
        values = values.reshape(-1)[0]
    elif len(shape) == 3 and values.shape == shape[::-1]:
        values = values.transpose(2, 1, 0)
    elif len(shape) == 3 and values.shape == shape[:1]:
        values = values.reshape(-1, 1, 1)
    elif values.ndim == 1 and values.size == int(np.prod(shape)):
        values = values.reshape(shape)
    else:
        raise NetworkError(
            f"{where}: expected one value, one per channel or one per neuron of {shape}, got shape {values.shape}"
        )
    return np.broadcast_to(values, shape).astype(np.int64)


def neuron_integers(group: Any, where: str, shape: Shape) -> dict[str, Int64Array]:
    """Return current_decay, voltage_decay and threshold of a neuron group, each of `shape`."""
    if math.prod(shape) > MAX_NEURONS:
        raise NetworkError(f"{where}: expected up to {MAX_NEURONS} neurons, got shape {shape}")
    values = {name: spread(integers(group, key, where), shape, f"{where} {key}") for name, key in NEURON_FIELDS.items()}
    # SLAYER's Affine writes 2**18 - 1: like every threshold from 2**17 on, no voltage of 24 bits exceeds it.
    values["threshold"] = np.minimum(values["threshold"], NEVER_FIRES)
    return values


def delay_matrix(values: npt.NDArray[Any], where: str, n_post: int, n_pre: int) -> Int64Array:
    """Return delays as (n_post, n_pre), as netx reads them: a vector is taken per output where its length allows."""
    steps = np.floor(values.astype(np.float64)).astype(np.int64)
    if steps.ndim == 1 and steps.size == n_post:
        steps = steps[:, None]
    elif steps.shape not in ((), (1,), (n_pre,), (n_post, n_pre)):
        raise NetworkError(
            f"{where}: expected shape (), ({n_post},), ({n_pre},) or ({n_post}, {n_pre}), got {steps.shape}"
        )
    whole: Int64Array = np.broadcast_to(steps, (n_post, n_pre))
    return whole
