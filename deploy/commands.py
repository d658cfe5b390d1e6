"""Commands of the deployment stage. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import commands_deploy, commands_simulate

if TYPE_CHECKING:
    from .demo import Summary


def demo(
    run: Annotated[Path, typer.Option("--run", help="Run folder to make; a number is added if it is there.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Handwritten digits through every stage, offline: train, develop, export, verify, simulate, price."""
    from rich.console import Console

    from sdsnn.train.config import load_config
    from sdsnn.train.progress import Bars

    from .demo import free_folder, run_demo

    overrides = settings or []
    bars = Bars(load_config("digits", overrides).optimiser.epochs, quiet=quiet)
    console = Console(stderr=True, quiet=quiet)
    summary = run_demo(free_folder(run), seed=seed, overrides=overrides, bars=bars, stage=console.status)
    print_summary(summary)
    if as_json:
        keys = (
            "test_accuracy", "test_accuracy_before_export", "connection_sparsity", "units_kept", "units_dense",
            "synapses_kept", "synapses_dense", "spikes_per_inference", "synaptic_operations_per_inference",
            "synaptic_operations_dense", "mismatches", "bins_compared", "verified", "backends", "seed", "run",
            "seconds",
        )  # fmt: skip
        content = summary.as_dict()
        typer.echo(json.dumps({key: content[key] for key in keys}))


def print_summary(summary: Summary) -> None:
    """Print the result of the demo as a table."""
    from rich.console import Console
    from rich.table import Table

    from sdsnn.export.commands import describe

    content = summary.as_dict()
    console = Console(highlight=False)
    table = Table(title="sdsnn demo: handwritten digits", title_justify="left")
    table.add_column("")
    table.add_column("dense", justify="right")
    table.add_column("developed and exported", justify="right")

    def row(name: str, dense: str, kept: str) -> None:
        table.add_row(name, dense, kept)

    row("test accuracy", f"(in SLAYER) {content['test_accuracy_before_export']:.2%}", f"{content['test_accuracy']:.2%}")
    for name, (before, after) in summary.exported.compaction.units.items():
        row(f"units in {name}", f"{before:,}", f"{after:,}")
    row(
        "synapses",
        f"{content['synapses_dense']:,}",
        f"{content['synapses_kept']:,} ({-content['connection_sparsity']:.1%})",
    )
    row("spikes per inference", "", f"{content['spikes_per_inference']:.1f}")
    row(
        "synaptic operations per inference",
        f"{content['synaptic_operations_dense']:,.0f}",
        f"{content['synaptic_operations_per_inference']:,.0f}",
    )
    console.print(table)
    console.print("Same spikes as the reference simulator, bin for bin:")
    for comparison in summary.exported.certificate.comparisons:
        console.print(f"  {comparison.backend:8} {describe(comparison)}")
    console.print(f"Energy: {summary.energy.headline()}")
    console.print(f"{content['seconds']:.0f} s. Files: {', '.join(content['files'])}")


COMMANDS: dict[str, Any] = {"demo": demo, **commands_deploy.COMMANDS, **commands_simulate.COMMANDS}
