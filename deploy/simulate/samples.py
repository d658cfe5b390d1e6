"""Samples and labels from where users keep them: files, folders of recordings, the test split of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sdsnn.train.data.recordings import CONVENTION, ENDINGS, Convention
from sdsnn.train.data.spike_files import Again, Samples, open_file, open_folder
from sdsnn_core.errors import FileError

FORMS = "an .npz or .npy of spikes or events, a recording, a folder of recordings or a run folder"


def open_samples(path: str | Path, convention: Convention = CONVENTION) -> Samples:
    """Open data of any form.

    Args:
        path: a file or folder as `train/data/spike_files.py` reads them, or a run folder for its test split.
        convention: what arrays do not say of themselves.

    Raises:
        FileError: it is missing, damaged or of other content.
    """
    path = Path(path)
    if path.is_dir():
        return _run_split(path) if (path / "config.toml").is_file() else open_folder(path, convention)
    if not path.is_file():
        raise FileError(f"data {path}: expected {FORMS}, got no such file or folder")
    if path.suffix.lower() not in ENDINGS:
        raise FileError(f"data {path}: expected {FORMS}, got a file that ends in {path.suffix or 'nothing'}")
    return open_file(path, convention)


def _run_split(path: Path) -> Samples:
    """Return the test split of a run. Its spikes may be made while they are read, so they are read in parts."""
    from sdsnn.train.run.run_folder import RunFolder

    test = RunFolder.open(path).test_split()

    def read() -> Iterator[Any]:
        return (x for start in range(0, len(test), 16) for x in test.spikes[start : start + 16])

    return Samples(Again(read), len(test), np.asarray(test.labels))
