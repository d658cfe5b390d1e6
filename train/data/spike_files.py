"""Spikes in files: .npy arrays, and .npz archives that may carry labels. Needs numpy only."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import FileError, one_line

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
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise FileError(f"data {source}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"data {source}: expected a .npy or .npz file of plain arrays ({one_line(error)})") from None
    spikes, labels = (next((arrays[name] for name in names if name in arrays), None) for names in (SPIKES, LABELS))
    if spikes is None:
        raise FileError(f"data {source}: expected an array {' or '.join(SPIKES)}, got {', '.join(arrays) or 'none'}")
    if labels is None:
        return spikes, None
    if labels.shape != spikes.shape[:1] or labels.dtype.kind not in "iu":
        raise FileError(
            f"data {source}: expected one integer label for each of {len(spikes)} samples, got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    return spikes, labels.astype(np.int64)
