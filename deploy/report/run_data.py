"""A run folder as the report reads it: a missing part is None, a corrupt one an error."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, one_line
from sdsnn_core.network import Network

from ..energy.dense_shapes import DenseShapes

CHUNK = 64  # samples that a data set makes at once
RECORDED = 256 * 2**20  # bytes of recorded spikes, where the number of samples is not set
PARTS = ("config.toml", "history.jsonl", "network.nir", "network.net")  # a folder with none of them is no run
HASHED = (
    "config.toml", "environment.json", "history.jsonl", "best.pt", "network.nir", "network.net", "export.json",
    "certificate.json", "measured.json",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class RunData:
    """Content of a run folder, and what the exported network does on the test split.

    history: one mapping per epoch. export, certificate, measured: the JSON files of those names. before: shapes before
    pruning. activity: of samples spread over the test split, spikes recorded. confusion: (classes, classes), rows the
    true class, of the whole test split on the exported network; `silent` more samples had no spike at the output and no
    class. absent: part -> why it is missing.
    """

    path: Path
    config: str | None
    environment: Mapping[str, Any] | None
    history: list[dict[str, Any]]
    export: Mapping[str, Any] | None
    certificate: Mapping[str, Any] | None
    network: Network | None
    before: DenseShapes | None
    activity: Activity | None
    confusion: npt.NDArray[np.int64] | None
    silent: int
    measured: Mapping[str, Any] | None
    hashes: Mapping[str, str]
    absent: Mapping[str, str]

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the exported network on the whole test split; a silent output counts as wrong."""
        return None if self.confusion is None else float(np.trace(self.confusion) / self.tested)

    @property
    def tested(self) -> int:
        """Samples of the test split that were simulated."""
        return 0 if self.confusion is None else int(self.confusion.sum()) + self.silent


def read_run(path: str | Path, *, samples: int | None = None) -> RunData:
    """Read a run folder, and simulate the test split on the exported network.

    samples: how many of them to record for activity and energy (0: do not simulate; None: as many as fit in 256 MiB).
    Raises FileError if it is not a folder with a run in it, or a file in it is corrupt.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileError(f"run {folder}: expected a run folder made by `sdsnn train`, got no folder")
    if not any((folder / name).is_file() for name in PARTS):
        raise FileError(f"run {folder}: expected at least one of {', '.join(PARTS)}, got none")
    absent: dict[str, str] = {}
    config = _text(folder / "config.toml", absent)
    network = None
    if (folder / "network.nir").is_file():
        from sdsnn.export.nir_format.reader import read_nir

        network = read_nir(folder / "network.nir")
    else:
        absent["network.nir"] = "not recorded; `sdsnn export` writes it"
    export = _of_network(folder / "export.json", network, absent)
    activity, confusion, silent = _simulated(folder, network, config, samples, absent)
    hashed = [folder / name for name in HASHED]
    return RunData(
        path=folder,
        config=config,
        environment=_mapping(folder / "environment.json", absent),
        history=_history(folder / "history.jsonl", absent),
        export=export,
        certificate=_of_network(folder / "certificate.json", network, absent),
        network=network,
        before=_before(network, export, absent),
        activity=activity,
        confusion=confusion,
        silent=silent,
        measured=_of_network(folder / "measured.json", network, {}),
        hashes={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in hashed if path.is_file()},
        absent=absent,
    )


def read_for_placement(path: Path) -> tuple[Network, DenseShapes | None]:
    """Read a .nir or .net file, or a run folder with its shapes before pruning. Raises FileError."""
    from sdsnn.export.files import read_network

    if not path.is_dir():
        return read_network(path), None
    network = read_network(path / "network.nir")
    return network, _before(network, _of_network(path / "export.json", network, {}), {})


def _simulated(
    folder: Path, network: Network | None, config: str | None, samples: int | None, absent: dict[str, str]
) -> tuple[Activity | None, npt.NDArray[np.int64] | None, int]:
    """Return (activity of some samples, confusion of all, how many were silent), or a reason in `absent`."""
    if network is None or config is None or samples == 0:
        lacks = "no network.nir" if network is None else "no config.toml" if config is None else "--samples 0"
        absent["activity"] = f"not simulated: {lacks}"
        return None, None, 0
    try:
        from sdsnn.train.run.run_folder import RunFolder

        from ..engine import run
        from ..simulate.simulation import simulate_data

        test = RunFolder(folder).test_split()
        size = sum(network.size_of(name) for name in (*network.inputs, *network.populations))
        most = samples or max(1, RECORDED // (size * test.spikes.shape[1]))
        # A spread over the split rather than its head, in case it is sorted.
        chosen = np.unique(np.linspace(0, len(test) - 1, min(most, len(test))).astype(np.int64))
        chunks = (test.spikes[start : start + CHUNK] for start in range(0, len(test), CHUNK))
        whole = simulate_data(network, itertools.chain.from_iterable(chunks), test.labels)
        return run(network, test.spikes[chosen]), whole.confusion, whole.silent
    except (SdsnnError, ImportError) as error:
        absent["activity"] = f"not simulated: {one_line(error)}"
        return None, None, 0


def _of_network(path: Path, network: Network | None, absent: dict[str, str]) -> dict[str, Any] | None:
    """Read a JSON file that belongs to network.nir; one of another network counts as absent."""
    content = _mapping(path, absent)
    if content is None or network is None or content.get("network_sha256") == network.digest():
        return content
    absent[path.name] = "belongs to another network than network.nir"
    return None


def _before(network: Network | None, export: Mapping[str, Any] | None, absent: dict[str, str]) -> DenseShapes | None:
    if network is None or export is None:
        return None
    try:
        return DenseShapes.of(network, DenseShapes.of_export(export))
    except NetworkError as error:
        absent["unpruned"] = str(error)
        return None


def _text(path: Path, absent: dict[str, str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        absent[path.name] = "not recorded"
        return None
    except (OSError, UnicodeDecodeError):
        raise FileError(f"{path}: cannot be read as text") from None


def _mapping(path: Path, absent: dict[str, str]) -> dict[str, Any] | None:
    text = _text(path, absent)
    if text is None:
        return None
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(loaded, dict):
        raise FileError(f"{path}: expected a JSON object, got a {type(loaded).__name__}")
    return loaded


def _history(path: Path, absent: dict[str, str]) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate((_text(path, absent) or "").splitlines(), 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            absent["history.jsonl"] = f"line {number} is cut off; the {number - 1} before it are shown"
            break
        if not isinstance(line, dict):
            raise FileError(f"{path} line {number}: expected a JSON object, got a {type(line).__name__}")
        lines.append(line)
    return lines
