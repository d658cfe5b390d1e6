"""`sdsnn train`: from data and a recipe to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import echo_log


def train(
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped recipe (digits, mnist_mlp, ...).")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder to make. Default: runs/<config>-<seed>.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set optimiser.epochs=20")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            help="Run folder to continue; --set may change only keys that leave the result unchanged.",
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set if it is missing.")] = False,
    export: Annotated[bool, typer.Option("--export", help="Then run `sdsnn export` on the result.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Train a network and develop its structure.

    The network is a chain of SLAYER blocks. The run folder holds the configuration, history and checkpoints.
    """
    from sdsnn.train.run.progress import Bars
    from sdsnn.train.run.start import begin, go_on
    from sdsnn_core.development import stop_criteria
    from sdsnn_core.errors import ConfigError

    if (config is None) == (resume is None):
        raise ConfigError(["train: give either a CONFIG or --resume RUN"])
    if resume and run:
        raise ConfigError(["train --resume: goes on in the run's own folder; --run does not apply"])
    start = go_on(resume, settings or []) if resume else begin(str(config), run, settings or [], download=download)
    is_rank_0, folder = start.group.rank == 0, start.folder.path
    if is_rank_0:
        echo_log("sdsnn.data")
        for sentence in start.notes():
            typer.echo(f"note: development.{sentence}")
    with Bars(start.config.optimiser.epochs, quiet=quiet or not is_rank_0) as bars:
        result = start.train(bars)
    if not is_rank_0:
        return
    developer = result.trainer.developer
    typer.echo(
        f"{folder}: epoch {result.best_epoch} chosen on validation ({result.validation_accuracy:.2%}); "
        f"test accuracy {result.test.accuracy:.2%}, {developer.connection_sparsity():.1%} of synapses masked"
    )
    for sentence in stop_criteria.unmet(start.config.development, developer.metrics()):
        typer.echo(f"note: development.{sentence}")
    if export:
        from .export import export as export_command

        export_command(folder)
