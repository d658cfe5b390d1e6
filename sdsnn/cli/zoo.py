"""`sdsnn zoo`: the trained networks that come with the package."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .output import print_table


def zoo(
    name: Annotated[str | None, typer.Argument(help="A network, for all about it.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """List the trained networks that come with sdsnn.

    `zoo:NAME` stands for a network wherever a command takes one.
    """
    from ..zoo.zoo import entries, find

    if name is not None:
        entry = find(name)
        if as_json:
            typer.echo(json.dumps(entry.as_dict()))
            return
        typer.echo(f"{entry.name}: {entry.title}")
        typer.echo(
            f"{entry.accuracy:.2%} of {entry.samples:,} test samples, {entry.synapses:,} synapses, "
            f"{entry.sparsity:.1%} absent"
        )
        comparisons = json.loads((entry.folder / "certificate.json").read_text("utf-8"))["comparisons"]
        typer.echo(
            f"certificate: {', '.join(each['backend'] for each in comparisons)} against the reference: "
            f"{sum(each['mismatches'] for each in comparisons)} of {sum(each['bins'] for each in comparisons):,} bins "
            "differ"
        )
        typer.echo(f"data: {entry.data} ({entry.data_licence}): {entry.citation}")
        typer.echo(f"licence: {entry.licence}")
        typer.echo(f"made at commit {entry.commit} by")
        for command in entry.commands:
            typer.echo(f"  {command}")
        typer.echo(f"files: {entry.folder}")
        return
    all_of_them = entries()
    if as_json:
        typer.echo(json.dumps([entry.as_dict() for entry in all_of_them]))
        return
    headings = ("name", "network", "accuracy", "synapses", "absent", "KiB")
    rows = [
        (
            *(f"zoo:{each.name}", each.title, f"{each.accuracy:.2%}", f"{each.synapses:,}"),
            *(f"{each.sparsity:.1%}", f"{each.n_bytes / 1024:.0f}"),
        )
        for each in all_of_them
    ]
    print_table(headings, rows, left=(0, 1))
    typer.echo("sdsnn zoo NAME prints data, licence, certificate and the commands that made it")
