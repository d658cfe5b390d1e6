"""Begin a run or go on with one: configuration, processes, run folder; `sdsnn train` and `sdsnn.train` share it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sdsnn_core.errors import ConfigError

from ..data.load import load_data
from ..development.literal import schedule_for
from .build import group_of
from .config import RunConfig, deciding, load_config, with_directory
from .processes import PeerFailed, ProcessGroup
from .run_folder import RunFolder
from .train import TrainResult, train
from .trainer import Progress


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with the command that goes on."""


class Start(NamedTuple):
    """A run that can begin. resume: it goes on from its last complete epoch."""

    config: RunConfig
    folder: RunFolder
    group: ProcessGroup
    resume: bool = False

    def notes(self) -> list[str]:
        """Return a sentence for each development mechanism that cannot act in this run."""
        return schedule_for(self.config.development, self.config.optimiser.epochs).idle()

    def train(self, progress: Progress | None = None) -> TrainResult:
        """Train to the end. Raises Interrupted on Ctrl-C."""
        try:
            return train(self.config, self.folder, resume=self.resume, progress=progress, group=self.group)
        except KeyboardInterrupt:
            if self.group.rank:
                raise PeerFailed(130) from None
            raise Interrupted(f"interrupted; go on with: sdsnn train --resume {self.folder.path}") from None


def begin(
    config: RunConfig | str | Path,
    folder: RunFolder | str | Path | None = None,
    settings: Sequence[str] = (),
    *,
    download: bool = False,
) -> Start:
    """Make the run folder of a new run; parameters as in `sdsnn.train`. download: fetch the data if missing."""
    resolved = config if isinstance(config, RunConfig) else with_directory(load_config(config, settings))
    group = group_of(resolved)
    if download:
        group.local_rank_0_first(lambda: load_data(resolved.data, resolved.seed, download=True))
    if isinstance(folder, RunFolder):
        return Start(resolved, folder, group)
    name = "run" if config is resolved else Path(str(config)).stem
    path = folder or Path("runs") / f"{name}-{resolved.seed}"
    return Start(resolved, group.from_rank_0(lambda: RunFolder.create(path, resolved)), group)


def go_on(path: str | Path, settings: Sequence[str] = ()) -> Start:
    """Open the folder of a run to resume it. Raises ConfigError for settings that would change the result."""
    folder = RunFolder.open(path)
    resolved = load_config(folder.config_file, settings)
    if deciding(resolved) != deciding(folder.config()):
        keys = "hardware, log, threads, optimiser.accumulate and where data lies"
        raise ConfigError([f"train --resume: --set may change {keys}"])
    return Start(resolved, folder, group_of(resolved), resume=True)
