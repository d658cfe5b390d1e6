"""`sdsnn compact`: a network without what cannot change its output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_COUNTED = ("units", "synapses", "bytes")


def compact(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The .nir or .net file to write. Default: FILE-compact of the same kind."),
    ] = None,
) -> None:
    """Remove units and synapses that never matter to the output.

    No training is needed, and every output spike stays the same.
    """
    from sdsnn.export.files import read_network, write_network
    from sdsnn_core.compaction import compact as compact_network

    from ...zoo.zoo import results_folder

    loaded = read_network(network)
    compaction = compact_network(loaded)
    suffix = network.suffix if network.suffix in (".nir", ".net") else ".nir"
    folder = results_folder(network) or network.parent
    path = out or folder / f"{network.stem}-compact{suffix}"
    write_network(compaction.network, path)
    counts = compaction.counts()
    changes = (f"{name} {counts[f'{name}_masked']:,} -> {counts[f'{name}_compacted']:,}" for name in _COUNTED)
    typer.echo(f"{path}: {', '.join(changes)}")
