"""Reading a run folder for the report: what is not there is None, what is corrupt is an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, output_counts
from sdsnn_core.errors import FileError, NetworkError, SdsnnError
from sdsnn_core.network import Network

HASHED = ("config.toml", "history.jsonl", "best.pt", "checkpoint.pt", "network.nir", "network.net", "certificate.json")


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run folder holds.

    history: one mapping per epoch. told: report.json as the run left it. activity: of the first samples of the test
    split, with labels (n,), where both could be had. before: population -> units before removal. absent: part -> why
    it is not there.
    """

    path: Path
    config: str | None
    environment: Mapping[str, Any] | None
    history: list[dict[str, Any]]
    certificate: Mapping[str, Any] | None
    told: Mapping[str, Any]
    network: Network | None
    activity: Activity | None
    labels: npt.NDArray[np.int64] | None
    confusion: npt.NDArray[np.int64] | None
    measured: Mapping[str, Any] | None
    hashes: Mapping[str, str]
    absent: Mapping[str, str]

    @property
    def before(self) -> dict[str, int]:
        """Units of each population before removal, as far as the run tells."""
        found: dict[str, int] = {}
        layers = self.told.get("layers")
        if isinstance(layers, Mapping):
            for name, layer in layers.items():
                units = layer.get("units") if isinstance(layer, Mapping) else None
                if isinstance(units, list) and units and isinstance(units[0], int):
                    found[str(name)] = units[0]
        if self.network is not None:
            found = {n: u for n, u in found.items() if n in self.network.nodes and u >= self.network.size_of(n)}
        return found

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the exported network on the test split: told by the run, else of the samples simulated."""
        if isinstance(self.told.get("test_accuracy"), float | int):
            return float(self.told["test_accuracy"])
        return self.simulated_accuracy

    @property
    def predictions(self) -> npt.NDArray[np.int64] | None:
        """Class with the most output spikes for each simulated sample."""
        if self.network is None or self.activity is None:
            return None
        try:
            return output_counts(self.network, self.activity).argmax(axis=1).astype(np.int64)
        except NetworkError:  # a voltage readout has no counts
            return None

    @property
    def simulated_accuracy(self) -> float | None:
        """Share of right predictions among the simulated samples."""
        predictions = self.predictions
        if predictions is None or self.labels is None:
            return None
        return float((predictions == self.labels).mean())


def read_run(path: str | Path, *, samples: int = 256) -> RunData:
    """Read a run folder; simulate `samples` of its test split (0: none) on the exported network.

    Raises FileError if it is not a folder with a run in it, or a file in it is corrupt.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileError(f"run {folder}: not a folder; allowed is a run folder made by `sdsnn train`")
    if not any((folder / name).is_file() for name in ("config.toml", "history.jsonl", "network.nir", "report.json")):
        raise FileError(f"run {folder}: holds none of config.toml, history.jsonl, network.nir, report.json")
    absent: dict[str, str] = {}
    config = _text(folder / "config.toml", absent)
    network = None
    if (folder / "network.nir").is_file():
        from sdsnn.export.nir_reader import read_nir

        network = read_nir(folder / "network.nir")
    else:
        absent["network.nir"] = "not recorded; `sdsnn export` writes it"
    activity, labels = _activity(folder, network, config, samples, absent)
    told = _mapping(folder / "report.json", absent) or {}
    certificate = _mapping(folder / "certificate.json", absent)
    if certificate is not None and network is not None and certificate.get("network_sha256") != network.digest():
        absent["certificate"] = "certificate.json is of another network than network.nir"
    return RunData(
        path=folder,
        config=config,
        environment=_mapping(folder / "environment.json", absent),
        history=_history(folder / "history.jsonl", absent),
        certificate=certificate,
        told=told.get("run_summary", told) if told.get("kind") == "sdsnn-report" else told,
        network=network,
        activity=activity,
        labels=labels,
        confusion=_confusion(folder, network, activity, labels),
        measured=_mapping(folder / "measured.json", {}),
        hashes={name: _sha256(folder / name) for name in HASHED if (folder / name).is_file()},
        absent=absent,
    )


def confusion_matrix(
    labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.int64]:
    """Return (n_classes, n_classes) counts: row is the true class, column the predicted one."""
    return np.bincount(labels * n_classes + predictions, minlength=n_classes**2).reshape(n_classes, n_classes)


def _confusion(
    folder: Path, network: Network | None, activity: Activity | None, labels: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.int64] | None:
    path = folder / "confusion.npy"
    if path.is_file():
        try:
            loaded = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError):
            raise FileError(f"{path}: is not an array saved by numpy") from None
        if loaded.ndim != 2 or loaded.shape[0] != loaded.shape[1] or loaded.dtype.kind not in "iu":
            raise FileError(f"{path}: got {loaded.dtype} of shape {loaded.shape}, allowed a square array of integers")
        return np.asarray(loaded, np.int64)
    if network is None or activity is None or labels is None:
        return None
    try:
        counts = output_counts(network, activity)
    except NetworkError:
        return None
    if labels.size and labels.max() >= counts.shape[1]:
        return None
    return confusion_matrix(labels, counts.argmax(axis=1).astype(np.int64), counts.shape[1])


def _activity(
    folder: Path, network: Network | None, config: str | None, samples: int, absent: dict[str, str]
) -> tuple[Activity | None, npt.NDArray[np.int64] | None]:
    """Simulate the first test samples; any reason why that cannot be done is noted."""
    if network is None or config is None or not samples:
        absent["activity"] = "not simulated: " + (
            "no network.nir" if network is None else "no config.toml" if config is None else "--samples 0"
        )
        return None, None
    try:
        from sdsnn.train.config import load_config
        from sdsnn.train.data import load_data
        from sdsnn_core import reference

        resolved = load_config(folder / "config.toml", [])
        test = load_data(resolved.data, resolved.seed).test
        # A spread over the split rather than its head, in case it is sorted.
        chosen = np.linspace(0, len(test) - 1, min(samples, len(test))).astype(np.int64)
        return reference.run(network, test.spikes[chosen]), test.labels[chosen]
    except (SdsnnError, ImportError) as error:
        absent["activity"] = f"not simulated: {' '.join(str(error).split())}"
        return None, None


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
        raise FileError(f"{path}: got a {type(loaded).__name__}, allowed a JSON object")
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
            raise FileError(f"{path} line {number}: got a {type(line).__name__}, allowed a JSON object")
        lines.append(line)
    return lines


def _sha256(path: Path) -> str:
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()
