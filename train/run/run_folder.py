"""The run folder: configuration, history, checkpoints and results of a run.

config.toml       the resolved configuration, defaults included
environment.json  versions, machine kind, threads, when
history.jsonl     one line per epoch
history.csv       the same as a table; tensorboard/, if log.tensorboard is set
checkpoint.pt     the state after the last complete epoch; --resume goes on from it, or, where it is damaged, from
                  checkpoint.pt.previous
best.pt           the state of the epoch that validation chose
init.pt           the network that the run began as, where --init gave one
init.json         what the run began with, and how that does on validation and test
data.json         shape of the samples, number of classes, largest input, seconds of a step, task
test.json         how the chosen epoch does on the test split, at the end of training
network.nir, certificate.json, report.json   written by export
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from sdsnn_core.errors import FileError
from sdsnn_core.files import version_of, write_json, write_text
from sdsnn_core.network import Network

from ..data.load import Split, load_data
from .checkpoint import load_checkpoint, save_checkpoint
from .config import RunConfig, load_config
from .parts.network_state import network_from, network_state

LOCK: Final = ".lock"
_PACKAGES = (
    *("sdsnn", "torch", "numpy", "scipy", "nir", "lava-nc", "lava-dl", "numba", "scikit-learn", "tonic"),
    *("lightning-fabric", "triton"),
)


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.toml"
        self.history_file = self.path / "history.jsonl"
        self.checkpoint_file = self.path / "checkpoint.pt"
        self.best_file = self.path / "best.pt"
        self.data_file = self.path / "data.json"
        self.test_file = self.path / "test.json"
        self.init_file = self.path / "init.json"
        self.initial_network_file = self.path / "init.pt"
        self.network_file = self.path / "network.nir"
        self.report_file = self.path / "report.json"

    @classmethod
    def create(cls, path: str | Path, config: RunConfig) -> RunFolder:
        """Make a new run folder, or take one whose run never began. Raises FileError where there is anything else."""
        folder = cls(path)
        if folder.path.is_dir() and not folder.config_file.exists():
            folder.remove_leftovers()  # of a run that was killed before it had a configuration
        unborn = {folder.config_file.name, "environment.json", "data.json", "init.pt", LOCK}  # data were missing, say
        if folder.path.exists() and (
            not folder.path.is_dir() or not {path.name for path in folder.path.iterdir()} <= unborn
        ):
            raise FileError(f"run folder {folder.path}: exists and is not empty; choose another or use --resume")
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"run folder {folder.path}: cannot be made ({error.strerror})") from None
        with folder.locked():
            write_text(folder.config_file, config.to_toml())
            write_json(folder.path / "environment.json", environment(config))
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder. Raises FileError where it is not one."""
        folder = cls(path)
        if not folder.config_file.is_file():
            raise FileError(f"run folder {folder.path}: has no config.toml, so it is not a run of sdsnn")
        return folder

    def config(self) -> RunConfig:
        """Return the resolved configuration of the run."""
        return load_config(self.config_file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the kernel releases it even if the process is killed.

        Raises FileError if another process holds it.
        """
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise FileError(f"run folder {self.path}: expected no other training, got one that runs now") from None
        except NotImplementedError:
            pass  # a file system without locks
        except OSError as error:
            raise FileError(f"run folder {self.path}: cannot be locked ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    def initial_network(self) -> Network | None:
        """Return the network that the run began as; None if it began with a model of its configuration."""
        if not self.initial_network_file.exists():
            return None
        return network_from(load_checkpoint(self.initial_network_file)["network"])

    def keep_initial_network(self, network: Network) -> None:
        """Write the network that the run begins as."""
        save_checkpoint(self.initial_network_file, {"format": 1, "network": network_state(network)})

    def test_split(self) -> Split:
        """Load the test split of the run's data set."""
        config = self.config()
        return load_data(config.data, config.seed).test

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """Return the content of a small file of the folder; None where there is none. Raises FileError if damaged."""
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise FileError(f"{path}: cannot be read ({error})") from None
        return content

    def append_history(self, line: dict[str, Any]) -> None:
        """Add one epoch to the history."""
        try:
            with open(self.history_file, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise FileError(f"{self.history_file}: cannot be written ({error.strerror})") from None

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def history(self) -> list[dict[str, Any]]:
        """Return the epochs of the history in order; a last line cut off by a crash is left out."""
        if not self.history_file.exists():
            return []
        lines = []
        for text in self.history_file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def cut_history(self, n_epochs: int) -> None:
        """Keep the first `n_epochs` epochs: those before the checkpoint."""
        text = "".join(json.dumps(line) + "\n" for line in self.history()[:n_epochs])
        write_text(self.history_file, text)


def environment(config: RunConfig) -> dict[str, Any]:
    """Return what a run ran on: versions, machine kind, seed, time."""
    import torch

    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": config.seed,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda_device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: version_of(name) or "not installed" for name in _PACKAGES},
    }
