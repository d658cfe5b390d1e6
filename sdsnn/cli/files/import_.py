"""`sdsnn import`: somebody's float NIR graph as a network of integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..output import print_table

if TYPE_CHECKING:
    from sdsnn.export.float_import.read import Imported


def import_(
    file: Annotated[Path, typer.Argument(help="A .nir file of norse, snnTorch, sinabs, ..., or a netx .net file.")],
    dt: Annotated[
        float | None, typer.Option(help="Seconds per step, which NIR does not store; most tools use 1e-4.")
    ] = None,
    writer: Annotated[
        str | None, typer.Option(help="The tool that wrote it, if not recognised: snntorch, norse, sinabs, ...")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Spikes (.npy, .npz) from which the scale of every layer is chosen.")
    ] = None,
    input_max: Annotated[
        int | None,
        typer.Option(min=1, max=255, help="Largest value of an input bin, for counts; default from the data."),
    ] = None,
    refractory: Annotated[
        int, typer.Option(min=0, max=62, help="Steps of refractory period after a spike, for which NIR has no place.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .nir or .net file; default FILE.sdsnn.nir.")
    ] = None,
    readout: Annotated[
        Literal["spikes", "voltage"] | None,
        typer.Option(help="Read the outputs by their spikes or by their voltage.", show_default=False),
    ] = None,
    readout_threshold: Annotated[
        int | None,
        typer.Option(min=1, help="Threshold for neurons that never fire, instead of 131072; 65536 for Loihi 2."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the file even if the network will not work.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random spikes used without --calibrate.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, as the last line.")] = False,
) -> None:
    """Quantise a float NIR graph of another tool.

    Writes a network in Loihi's integers, and reports the error of every node.
    """
    from dataclasses import replace

    from sdsnn.export.files import write_network
    from sdsnn.export.float_import.read import import_file
    from sdsnn.export.readout import with_readout, with_readout_threshold

    choices: dict[str, Any] = {"seed": seed, "input_max": input_max, "refractory": refractory, "force": force}
    imported = import_file(file, dt, writer=writer, calibrate=calibrate, **choices)
    if readout is not None:
        imported = replace(imported, network=with_readout(imported.network, readout))
    if readout_threshold is not None:
        imported = replace(imported, network=with_readout_threshold(imported.network, readout_threshold))
    target = output or file.with_suffix(".sdsnn.nir")
    print_import(imported)
    write_network(imported.network, target)
    typer.echo(f"{target}: {sum(p.size for p in imported.network.populations.values())} neurons")
    if as_json:
        typer.echo(json.dumps({**imported.as_dict(), "file": str(target)}))


def print_import(imported: Imported) -> None:
    """Print the quantisation error of every node."""
    if imported.exact:
        typer.echo("every value is an integer: nothing was rounded")
        return
    headings = ("node", "size", "weight error", "threshold error", "clipped", "to 0", "rate", "float rate")
    rows = (
        (
            *(node.name, node.neurons, f"{node.weight_error:.2%}", f"{node.threshold_error:.2%}"),
            *(node.saturated, node.vanished, f"{node.rate:.4f}", f"{node.rate_float:.4f}"),
            *(f"{node.differing:.2%}", node.silenced),
        )
        for node in imported.reports
    )
    title = f"written by: {imported.writer}; rates on {imported.data}; errors are the largest of each node"
    print_table((*headings, "bins that differ", "silenced"), rows, title=title)
    typer.echo(f"reading compared with the graph run node by node: {imported.checked} bins, 0 differ")
    for line in (*imported.notes, *(f"problem: {problem}" for problem in imported.problems)):
        typer.echo(line)
    for node in imported.reports:
        for note in node.notes:
            typer.echo(f"{node.name}: {note}")
        for cause, bins in node.costs.items():
            if any(note.startswith(cause) for note in node.notes):
                continue
            typer.echo(f"{node.name}: {bins} of {node.bins} bins differ because of {cause}")
    if imported.silent:
        typer.echo(
            f"the output was silent in {imported.silent} of {imported.samples} samples, in floats in "
            f"{imported.silent_float}: they have no class"
        )
