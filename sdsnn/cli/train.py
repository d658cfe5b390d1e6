"""`sdsnn train`: from data and a recipe to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
        typer.Option("--resume", help="Run folder to continue; --set may change keys that leave the result alone."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Begin with these weights: a .pt file of a state_dict, a run folder, or a .nir or .net file, whose "
            "network then is the model."
        ),
    ] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Train also a model that export would refuse.")
    ] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set if it is missing.")] = False,
    export: Annotated[bool, typer.Option("--export", help="Then run `sdsnn export` on the result.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Train a network and develop its structure.

    The network is a chain of SLAYER blocks. The run folder holds the configuration, history and checkpoints.
    """
    from sdsnn.train.run.config import load_config
    from sdsnn.train.run.parts.own import Own
    from sdsnn.train.run.progress import Bars
    from sdsnn.train.run.start import begin, go_on
    from sdsnn_core.development import stop_criteria
    from sdsnn_core.errors import ConfigError

    if (config is None) == (resume is None):
        raise ConfigError(["train: give either a CONFIG or --resume RUN"])
    if resume and run:
        raise ConfigError(["train --resume: goes on in the run's own folder; --run does not apply"])
    if resume and init:
        raise ConfigError(["train --resume: goes on with the run's own weights; --init does not apply"])
    own = Own(train_only=train_only, chip_cost=_chip_cost)
    if resume:
        start = go_on(resume, settings or [], own)
    else:
        if (chip := load_config(str(config), settings or []).development.chip) is not None:
            _check_chip(chip)
        start = begin(str(config), run, settings or [], download=download, init=_read(init), own=own)
    is_rank_0, folder = start.group.rank == 0, start.folder.path
    if is_rank_0:
        echo_log("sdsnn.data")
        echo_log("sdsnn.development")
        for sentence in start.notes():
            typer.echo(f"note: development.{sentence}")
    with Bars(start.config.optimiser.epochs, quiet=quiet or not is_rank_0) as bars:
        result = start.train(bars)
    if not is_rank_0:
        return
    developer, task = result.trainer.developer, result.trainer.task
    if (initial := result.initial) is not None:
        typer.echo(
            f"{initial.source} before the first epoch: {task.describe(initial.validation)} on validation, "
            f"{task.describe(initial.test)} on test"
        )
    chosen = f"{result.validation:.2%}" if task.main == "accuracy" else task.describe(result.validation)
    typer.echo(
        f"{folder}: epoch {result.best_epoch} chosen on validation ({chosen}); "
        f"test {task.describe(result.test.main)}, {developer.connection_sparsity():.1%} of synapses masked"
    )
    if others := [f"{name} {value:.4g}" for name, value in list(result.test.scores.items())[1:]]:
        typer.echo(f"test {', '.join(others)}")
    if result.test.silent:
        typer.echo(
            f"the output was silent in {result.test.silent} of {result.test.answers} test "
            f"{'samples' if task.kind == 'label' else 'steps'}: they have no class and count as wrong"
        )
    for sentence in stop_criteria.unmet(start.config.development, developer.metrics()):
        typer.echo(f"note: development.{sentence}")
    if export:
        from .export import export as export_command

        export_command(folder)


def _chip_cost(network: Any, chip: str, spikes: Any) -> Any:
    """Return the cost of a network on a chip, for `development.chip`."""
    from sdsnn.deploy.placement.objective.cost import chip_cost

    return chip_cost(network, chip, spikes)


def _check_chip(chip: str) -> None:
    """Raise an error before the training where a chip is unknown or its cores are."""
    from sdsnn.deploy.placement.chip import load_chip
    from sdsnn_core.errors import ConfigError

    if not load_chip(chip).placeable:
        raise ConfigError([f"development.chip: expected a chip whose cores are known, got {chip}"])


def _read(init: Path | None) -> Any:
    """Return what --init names as `begin` takes it: networks read, paths of weights as they are."""
    if init is None or init.suffix not in (".nir", ".net"):
        return init
    from dataclasses import replace

    from sdsnn.export.files import read_network

    network = read_network(init)
    return replace(network, provenance={**network.provenance, "file": str(init)})
