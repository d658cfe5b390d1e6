"""Spikes in files: .npy arrays, and .npz archives that may carry labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import FileError

SPIKES, LABELS = ("spikes", "x"), ("labels", "y")


def read_spikes(path: str | Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None]:
    """Read spikes (samples, steps, ...) and, where the file has them, labels (samples,).

    .npy holds the spikes; .npz holds them as `spikes` or `x`, and labels as `labels` or `y`. Raises FileError where
    the file is missing, corrupt or holds something else.
    """
    source = Path(path)
    try:
        content: Any = np.load(source, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content as archive:
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise FileError(f"data {source}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"data {source}: not a .npy or .npz file of plain arrays ({error})") from None
    spikes = next((found[name] for name in SPIKES if name in found), None)
    if spikes is None:
        raise FileError(f"data {source}: has {', '.join(found) or 'nothing'}; needed is one of {', '.join(SPIKES)}")
    labels = next((found[name] for name in LABELS if name in found), None)
    if labels is not None and (labels.shape != spikes.shape[:1] or labels.dtype.kind not in "iu"):
        raise FileError(
            f"data {source}: labels of shape {labels.shape} and dtype {labels.dtype}, "
            f"needed is one integer for each of {spikes.shape[0]} samples"
        )
    return spikes, None if labels is None else labels.astype(np.int64)
