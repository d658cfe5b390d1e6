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
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sdsnn_core.development.chip_costs import ChipCost
    from sdsnn_core.network import Network

    from .run.config import RunConfig
    from .run.parts.own import Parts
    from .run.run_folder import RunFolder
    from .run.train import TrainResult
    from .run.trainer import Callback, Progress

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
        parts: Parts | None = None,
        callbacks: Sequence[Callback] = (),
        init: Network | Mapping[str, Any] | str | Path | None = None,
        progress: Progress | None = None,
        train_only: bool = False,
        chip_cost: Callable[[Network, str, Any], ChipCost] | None = None,
    ) -> TrainResult:
        """Train a network while its structure develops, and write a run folder.

        Args:
            config: a TOML file, the name of a shipped recipe (digits, mnist_mlp, ...), or a RunConfig.
            folder: run folder to make. Default: runs/<config>-<seed>.
            settings: overrides of keys of a file or recipe, such as "optimiser.epochs=20".
            parts: loss, metric, optimiser and scheduler of your own instead of those that the configuration names.
            callbacks: objects whose `on_epoch_end(line)` takes the history line of each finished epoch.
            init: what the run begins with instead of random weights: a state_dict or the .pt file of one, for the
                model of the configuration; a run folder; or a Network (`sdsnn.read`), which then is the model.
            progress: called after every batch and epoch.
            train_only: train also a model that cannot be lowered.
            chip_cost: what measures a network where `development.chip` is set: `chip_cost` of
                `sdsnn.deploy.placement.objective.cost`, which `sdsnn train` uses, or one of your own.

        Returns:
            The epoch that validation chose, its model, and how it does on the test split.

        Raises:
            ConfigError: unknown keys or bad values of the configuration, all together.
            FileError: the configuration, the data or the initial weights are missing or do not fit, or the folder is
                not empty.
            UnsupportedNode: lowering would refuse the model; raised before the first epoch.

        Examples:
            >>> import sdsnn
            >>> small = ["optimiser.epochs=1", "model.hidden=[8]", "data.n_steps=4", "threads=1"]
            >>> result = sdsnn.train("digits", "runs/example", settings=small)
            >>> result.best_epoch
            0
        """
        from .run.parts.own import Own, Parts
        from .run.start import begin

        own = Own(parts or Parts(), callbacks, train_only=train_only, chip_cost=chip_cost)
        return begin(config, folder, settings, init=init, own=own).train(progress)


sys.modules[__name__].__class__ = _Room
