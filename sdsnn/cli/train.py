"""`sdsnn train`: from data and a recipe to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    from sdsnn.train.data.load import load_data
    from sdsnn.train.development.literal import schedule_for
    from sdsnn.train.run.config import deciding, load_config, with_directory
    from sdsnn.train.run.processes import PeerFailed, assemble
    from sdsnn.train.run.progress import Bars
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trainer import train as run_training
    from sdsnn_core.development import stop_criteria
    from sdsnn_core.errors import ConfigError

    if (config is None) == (resume is None):
        raise ConfigError(["train: give either a CONFIG or --resume RUN"])
    if resume is not None:
        if run:
            raise ConfigError(["train --resume: goes on in the run's own folder; --run does not apply"])
        folder = RunFolder.open(resume)
        resolved = load_config(folder.config_file, settings or [])
        if deciding(resolved) != deciding(folder.config()):
            raise ConfigError(
                ["train --resume: --set may change hardware, log, threads, optimiser.accumulate and where data lies"]
            )
    else:
        assert config is not None
        resolved = with_directory(load_config(config, settings or []))
    team = assemble(resolved.hardware)
    if resume is None:
        if download:
            team.machine_by_machine(lambda: load_data(resolved.data, resolved.seed, download=True))
        path = run or Path("runs") / f"{Path(str(config)).stem}-{resolved.seed}"
        folder = team.from_leader(lambda: RunFolder.create(path, resolved))
    if team.leader:
        for sentence in schedule_for(resolved.development, resolved.optimiser.epochs).idle():
            typer.echo(f"note: development.{sentence}")
    bars = Bars(resolved.optimiser.epochs, quiet=quiet or not team.leader)
    try:
        with bars:
            result = run_training(resolved, folder, resume=resume is not None, progress=bars, team=team)
    except KeyboardInterrupt:
        if not team.leader:
            raise PeerFailed(130) from None
        raise Interrupted(f"interrupted; go on with: sdsnn train --resume {folder.path}") from None
    if not team.leader:
        return
    developer = result.trainer.developer
    typer.echo(
        f"{folder.path}: epoch {result.best_epoch} chosen on validation ({result.validation_accuracy:.2%}); "
        f"test accuracy {result.test.accuracy:.2%}, "
        f"{developer.connection_sparsity():.1%} of synapses gone"
    )
    for sentence in stop_criteria.unmet(resolved.development, developer.metrics()):
        typer.echo(f"note: development.{sentence}")
    if export:
        from .export import export as export_command

        export_command(folder.path)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what to do next."""
