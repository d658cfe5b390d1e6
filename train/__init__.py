"""From data to a trained network: SLAYER blocks, structural development, checkpoints, and lowering to a Network.

The room can be called: `sdsnn.train(config)` trains, see `help(sdsnn.train.__call__)`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run.config import RunConfig
    from .run.run_folder import RunFolder
    from .run.train import TrainResult
    from .run.trainer import Progress

# torch reads this before its first allocation, and never again: large tensors on huge pages, where the kernel grants
# them on request (docs/fused_neuron.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


class _Room(ModuleType):
    """This package, callable: `sdsnn.train` is both the room of that name and the function."""

    def __call__(
        self,
        config: RunConfig | str | Path,
        folder: RunFolder | str | Path | None = None,
        *,
        settings: tuple[str, ...] | list[str] = (),
        progress: Progress | None = None,
    ) -> TrainResult:
        """Train a network while its structure develops, and write a run folder.

        Args:
            config: a TOML file, the name of a shipped recipe (digits, mnist_mlp, ...), or a RunConfig.
            folder: run folder to make. Default: runs/<config>-<seed>.
            settings: overrides of keys of a file or recipe, such as "optimiser.epochs=20".
            progress: called after every batch and epoch.

        Returns:
            The epoch that validation chose, its model, and how it does on the test split.

        Raises:
            ConfigError: unknown keys or bad values of the configuration, all together.
            FileError: the configuration or the data are missing, or the folder is not empty.

        Examples:
            >>> import sdsnn
            >>> small = ["optimiser.epochs=1", "model.hidden=[8]", "data.n_steps=4", "threads=1"]
            >>> result = sdsnn.train("digits", "runs/example", settings=small)
            >>> result.best_epoch
            0
        """
        from .run.start import begin

        return begin(config, folder, settings).train(progress)


sys.modules[__name__].__class__ = _Room
