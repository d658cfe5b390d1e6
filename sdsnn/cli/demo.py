"""`sdsnn demo`: handwritten digits through every stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import console, print_certificate, print_table

if TYPE_CHECKING:
    from ..demo import Demo


def demo(
    run: Annotated[
        Path, typer.Option("--run", help="Run folder to make; a number is added if it exists already.")
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Run digits through every stage, offline.

    Trains on handwritten digits, develops the structure, exports, verifies, simulates, places and prices the network.
    """
    from rich.console import Console

    from ..demo import free_folder, run_demo

    stage = Console(stderr=True, quiet=quiet).status
    result = run_demo(free_folder(run), seed=seed, overrides=settings or [], quiet=quiet, stage=stage)
    print_demo(result)
    if as_json:
        summary = result.report.data["summary"]
        typer.echo(json.dumps({**summary, "run": str(result.folder), "seconds": result.seconds}))


def print_demo(result: Demo) -> None:
    """Print the result of the demo as a table, from the report's numbers."""
    summary = result.report.data["summary"]
    dense, kept = summary["synapses_dense"], summary["synapses_kept"]
    operations = summary["synaptic_operations_dense"], summary["synaptic_operations_per_inference"]
    units = result.exported.compaction.units.items()
    rows = [
        ("test accuracy", f"{summary['test_accuracy_before_export']:.2%}", f"{summary['test_accuracy']:.2%}"),
        *((f"units in {name}", f"{before:,}", f"{after:,}") for name, (before, after) in units),
        ("synapses", f"{dense:,}", f"{kept:,} ({-summary['connection_sparsity']:.1%})"),
        ("spikes per inference", "", f"{summary['spikes_per_inference']:.1f}"),
        ("synaptic operations per inference", *(f"{number:,.0f}" for number in operations)),
        (f"cores of {result.report.data['placement']['chip']}", "", summary["cores"]),
    ]
    print_table(["", "in SLAYER", "exported"], rows, title="sdsnn demo: handwritten digits")
    out = console()
    out.print("Same spikes as the reference simulator, bin for bin:")
    print_certificate(result.exported.certificate)
    if result.report.energy is not None:
        out.print(f"Energy: {result.report.energy.headline()}", markup=False)
    files = ("report.html", "report.json", "network.nir", "certificate.json", "history.jsonl", "config.toml", "best.pt")
    out.print(f"{result.seconds:.0f} s. Files: {', '.join(str(result.folder / name) for name in files)}")
