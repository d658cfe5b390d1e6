"""Commands of the training stage. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped recipe (digits, mnist_mlp, ...).")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder to make; default runs/<config>-<seed>.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set optimiser.epochs=20")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Run folder to go on with.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set if it is not there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Train a network of SLAYER blocks while its structure develops; writes a run folder."""
    from sdsnn_core.errors import ConfigError

    from .config import load_config
    from .data import load_data
    from .datasets import with_directory
    from .loop import train as run_training
    from .progress import Bars
    from .run_folder import RunFolder

    if (config is None) == (resume is None):
        raise ConfigError(["train: give either a CONFIG or --resume RUN"])
    if resume is not None:
        if settings or run:
            raise ConfigError(
                ["train --resume: goes on with the run's own configuration; --set and --run do not apply"]
            )
        folder = RunFolder.open(resume)
        resolved = folder.config()
    else:
        assert config is not None
        resolved = with_directory(load_config(config, settings or []))
        if download:
            load_data(resolved.data, resolved.seed, download=True)
        folder = RunFolder.create(run or Path("runs") / f"{Path(config).stem}-{resolved.seed}", resolved)
    bars = Bars(resolved.optimiser.epochs, quiet=quiet)
    try:
        with bars:
            result = run_training(resolved, folder, resume=resume is not None, progress=bars)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; go on with: sdsnn train --resume {folder.path}") from None
    typer.echo(
        f"{folder.path}: epoch {result.best_epoch} chosen on validation ({result.validation_accuracy:.2%}); "
        f"test accuracy {result.test.accuracy:.2%}, "
        f"{result.trainer.developer.connection_sparsity():.1%} of synapses gone"
    )


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what to do next."""


COMMANDS = {"train": train}
