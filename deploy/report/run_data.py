"""A run folder, or a network alone, as the report reads it: a missing part is None, a corrupt one an error."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn.export.files import read_network
from sdsnn.export.nir_format.reader import read_nir
from sdsnn_core.activity import Activity
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, one_line
from sdsnn_core.network import Network

from ..energy.dense_shapes import DenseShapes
from ..simulate.measure import measure
from ..simulate.simulation import Options

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
    class. scores: metrics of a task other than one label per sample. absent: part -> why it is missing.
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
    scores: Mapping[str, float]
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


def read_run(
    run: str | Path | Network,
    *,
    samples: int | None = None,
    data: Any = None,
    rate: float | None = None,
    options: Options | None = None,
) -> RunData:
    """Read a run folder or a network, and simulate the network.

    run: a run folder, a .nir or .net file, or a Network. data, rate, options: what it runs on, see `measure`; default:
    the test split of the run. samples: how many of them to record for activity and energy (0: do not simulate; None: as
    many as fit in 256 MiB). Raises FileError if there is neither, or a file of the run is corrupt.
    """
    if isinstance(run, Network) or Path(run).is_file():
        return _network_alone(run, samples, data, rate, options)
    folder = Path(run)
    if not folder.is_dir():
        raise FileError(f"run {folder}: expected a run folder made by `sdsnn train`, got no folder")
    if not any((folder / name).is_file() for name in PARTS):
        raise FileError(f"run {folder}: expected at least one of {', '.join(PARTS)}, got none")
    absent: dict[str, str] = {}
    config = _text(folder / "config.toml", absent)
    network = None
    if (folder / "network.nir").is_file():
        network = read_nir(folder / "network.nir")
    else:
        absent["network.nir"] = "not recorded; `sdsnn export` writes it"
    export = _of_network(folder / "export.json", network, absent)
    activity: Activity | None = None
    confusion: npt.NDArray[np.int64] | None = None
    silent = 0
    scores: Mapping[str, float] = {}
    own = data is None and rate is None
    if network is None or samples == 0 or (own and config is None):
        lacks = "no network.nir" if network is None else "--samples 0" if samples == 0 else "no config.toml"
        absent["activity"] = f"not simulated: {lacks}"
    else:
        try:
            source = folder if own else data
            activity, confusion, silent, scores = measure(network, source, rate, samples=samples, options=options)
        except (SdsnnError, ImportError) as error:
            if not own:
                raise
            absent["activity"] = f"not simulated: {one_line(error)}"
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
        scores=scores,
        measured=_of_network(folder / "measured.json", network, {}),
        hashes={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in hashed if path.is_file()},
        absent=absent,
    )


def read_for_placement(path: Path) -> tuple[Network, DenseShapes | None]:
    """Read a .nir or .net file, or a run folder with its shapes before pruning. Raises FileError."""
    if not path.is_dir():
        return read_network(path), None
    network = read_network(path / "network.nir")
    return network, _before(network, _of_network(path / "export.json", network, {}), {})


def _network_alone(
    run: str | Path | Network, samples: int | None, data: Any, rate: float | None, options: Options | None
) -> RunData:
    """Read a network without a run, and simulate it where data or a rate say on what."""
    path = Path("network") if isinstance(run, Network) else Path(run)
    network = run if isinstance(run, Network) else read_network(path)
    done: dict[str, Any] = {"activity": None, "confusion": None, "silent": 0, "scores": {}}
    absent = {}
    if samples == 0 or (data is None and rate is None):
        absent["activity"] = f"not simulated: {'--samples 0' if samples == 0 else 'neither data nor a rate was given'}"
    else:
        done = measure(network, data, rate, samples=samples, options=options)._asdict()
    none: dict[str, Any] = dict.fromkeys(("config", "environment", "export", "certificate", "before", "measured"))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}
    return RunData(path=path, history=[], network=network, hashes=hashes, absent=absent, **none, **done)


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
        raise FileError(f"{path}: expected text, got a file that cannot be read as text") from None


def _mapping(path: Path, absent: dict[str, str]) -> dict[str, Any] | None:
    text = _text(path, absent)
    if text is None:
        return None
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{path}: expected JSON, got other content ({error})") from None
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
