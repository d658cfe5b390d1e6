"""Begin a run or go on with one: configuration, processes, run folder; `sdsnn train` and `sdsnn.train` share it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Network

from ..data.load import load_data
from ..development.literal import schedule_for
from .config import RunConfig, deciding, load_config, with_directory
from .parts.build import group_of
from .parts.own import NOTHING, Own
from .parts.warm_start import read_init
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
    own: Own = NOTHING

    def notes(self) -> list[str]:
        """Return a sentence for each development mechanism that cannot act in this run."""
        return schedule_for(self.config.development, self.config.optimiser.epochs).idle()

    def train(self, progress: Progress | None = None) -> TrainResult:
        """Train to the end. Raises Interrupted on Ctrl-C."""
        try:
            return train(
                self.config, self.folder, resume=self.resume, progress=progress, group=self.group, own=self.own
            )
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
    init: Network | Mapping[str, Any] | str | Path | None = None,
    own: Own = NOTHING,
) -> Start:
    """Make the run folder of a new run; parameters as in `sdsnn.train`. download: fetch the data if missing."""
    resolved = config if isinstance(config, RunConfig) else with_directory(load_config(config, settings))
    if init is not None:
        weights, resolved = read_init(init, resolved)
        own = own._replace(init=weights)
    group = group_of(resolved)
    if download:
        group.local_rank_0_first(lambda: load_data(resolved.data, resolved.seed, download=True))
    if isinstance(folder, RunFolder):
        return Start(resolved, folder, group, own=own)
    name = "run" if isinstance(config, RunConfig) else Path(str(config)).stem
    path = folder or Path("runs") / f"{name}-{resolved.seed}"
    return Start(resolved, group.from_rank_0(lambda: RunFolder.create(path, resolved)), group, own=own)


def go_on(path: str | Path, settings: Sequence[str] = (), own: Own = NOTHING) -> Start:
    """Open the folder of a run to resume it. Raises ConfigError for settings that would change the result."""
    folder = RunFolder.open(path)
    resolved = load_config(folder.config_file, settings)
    if deciding(resolved) != deciding(folder.config()):
        keys = "hardware, log, threads, optimiser.accumulate and where data lies or the teacher"
        raise ConfigError([f"train --resume: --set may change {keys}"])
    return Start(resolved, folder, group_of(resolved), resume=True, own=own)
