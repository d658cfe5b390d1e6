"""Commands on single files: `sdsnn import` and `sdsnn check`. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sdsnn.export.float_import.read import Imported


def import_(
    file: Annotated[Path, typer.Argument(help="A .nir file of norse, snnTorch, sinabs, spikingjelly, rockpool, ...")],
    dt: Annotated[float, typer.Option(help="Seconds of a step, which NIR does not store; most tools use 1e-4.")],
    writer: Annotated[
        str | None, typer.Option(help="Who wrote it, where its parameters do not tell: snntorch, norse, sinabs, ...")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Spikes (.npy, .npz) by which the scale of every layer is chosen.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: FILE.sdsnn.nir.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random spikes used without --calibrate.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, as the last line.")] = False,
) -> None:
    """Turn somebody's float NIR graph into a network of integers, and say for every node what that changed."""
    from sdsnn.export.float_import.read import import_file
    from sdsnn.export.nir_format.writer import write_nir

    made = import_file(file, dt, writer=writer, calibrate=calibrate, seed=seed)
    target = output or file.with_suffix(".sdsnn.nir")
    write_nir(made.network, target)
    print_import(made)
    typer.echo(f"{target}: {sum(p.size for p in made.network.populations.values())} neurons")
    if as_json:
        typer.echo(json.dumps({**made.as_dict(), "file": str(target)}))


def print_import(made: Imported) -> None:
    """Print what became of every node."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    if made.exact:
        typer.echo("every value stands for an integer: nothing was rounded")
        return
    columns = ("node", "size", "weights ±", "thresholds ±", "clipped", "gone", "rate", "was", "silent")
    table = Table(
        *columns,
        box=SIMPLE,
        pad_edge=False,
        title=f"written by: {made.writer}; rates on {made.data}",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for node in made.reports:
        table.add_row(
            node.name, str(node.neurons), f"{node.weight_error:.2%}", f"{node.threshold_error:.2%}",
            str(node.saturated), str(node.vanished), f"{node.rate:.4f}", f"{node.rate_float:.4f}", str(node.silenced),
        )  # fmt: skip
    Console(highlight=False).print(table)
    for node in made.reports:
        for note in node.notes:
            typer.echo(f"{node.name}: {note}")


def check(
    path: Annotated[Path, typer.Argument(help="A run folder, a .nir or a .net file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what will not run, or would run differently, on the way to a chip: layer, limit, what to do."""
    from sdsnn.export.check.check import check_path

    found = check_path(path)
    errors = sum(finding.severity == "error" for finding in found)
    if as_json:
        typer.echo(json.dumps({"file": str(path), "errors": errors, "findings": [f.as_dict() for f in found]}))
    else:
        for finding in found:
            typer.echo(f"{finding.severity}: {finding.where}: {finding.what}; {finding.help} [{finding.rule}]")
        typer.echo(f"{path}: {errors} errors, {len(found) - errors} warnings and notes")
    if errors:
        raise typer.Exit(1)


COMMANDS: dict[str, Any] = {"import": import_, "check": check}
