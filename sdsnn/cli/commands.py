"""Commands of the deployment stage. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import deploy as commands_deploy
from . import extra_backends
from . import simulate as commands_simulate

if TYPE_CHECKING:
    from ..demo import Demo


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

    from sdsnn.train.run.config import load_config
    from sdsnn.train.run.progress import Bars

    from ..demo import free_folder, run_demo

    overrides = settings or []
    bars = Bars(load_config("digits", overrides).optimiser.epochs, quiet=quiet)
    console = Console(stderr=True, quiet=quiet)
    made = run_demo(free_folder(run), seed=seed, overrides=overrides, bars=bars, stage=console.status)
    print_demo(made)
    if as_json:
        typer.echo(json.dumps(made.numbers()))


def print_demo(made: Demo) -> None:
    """Print the result of the demo as a table, from the report's numbers."""
    from rich.console import Console
    from rich.table import Table

    from .export import describe

    found = made.report.data["summary"]
    console = Console(highlight=False)
    table = Table(title="sdsnn demo: handwritten digits", title_justify="left")
    table.add_column("")
    table.add_column("in SLAYER", justify="right")
    table.add_column("exported", justify="right")

    def row(name: str, before: str, after: str) -> None:
        table.add_row(name, before, after)

    row("test accuracy", f"{found['test_accuracy_before_export']:.2%}", f"{found['test_accuracy']:.2%}")
    for name, (before, after) in made.exported.compaction.units.items():
        row(f"units in {name}", f"{before:,}", f"{after:,}")
    row("synapses", f"{found['synapses_dense']:,}", f"{found['synapses_kept']:,} ({-found['connection_sparsity']:.1%})")
    row("spikes per inference", "", f"{found['spikes_per_inference']:.1f}")
    row(
        "synaptic operations per inference",
        f"{found['synaptic_operations_dense']:,.0f}",
        f"{found['synaptic_operations_per_inference']:,.0f}",
    )
    row(f"cores of {made.report.data['placement']['chip']}", "", f"{found['cores']}")
    console.print(table)
    console.print("Same spikes as the reference simulator, bin for bin:")
    for comparison in made.exported.certificate.comparisons:
        console.print(f"  {comparison.backend:8} {describe(comparison)}")
    if made.report.energy is not None:
        console.print(f"Energy: {made.report.energy.headline()}", markup=False)
    console.print(f"{made.seconds:.0f} s. Files: {', '.join(made.files)}")


extra_backends.register()
COMMANDS: dict[str, Any] = {"demo": demo, **commands_deploy.COMMANDS, **commands_simulate.COMMANDS}
