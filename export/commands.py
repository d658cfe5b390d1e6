"""Commands of the export stage. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Run folder made by `sdsnn train`.")],
    samples: Annotated[int, typer.Option(min=1, help="Test samples on which all forms are compared.")] = 32,
    lava: Annotated[bool, typer.Option(help="Also compare with Lava's fixed-point processes.")] = True,
) -> None:
    """Write the trained network, without its dead units, as network.nir, and prove that every form spikes alike."""
    from sdsnn.train.run_folder import RunFolder
    from sdsnn_core.errors import BackendError

    from .pipeline import export_run

    folder = RunFolder.open(run)
    exported = export_run(folder, verify_samples=samples, lava=lava)
    before = sum(pair[0] for pair in exported.compaction.units.values())
    after = sum(pair[1] for pair in exported.compaction.units.values())
    typer.echo(f"{exported.network_file}: {after} of {before} units, {count_synapses(exported.network)} synapses")
    for comparison in exported.certificate.comparisons:
        typer.echo(f"  {comparison.backend:8} {describe(comparison)}")
    if not exported.certificate.verified:
        raise BackendError(f"{exported.network_file}: not verified; see {folder.path / 'certificate.json'}")


def verify(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file.")],
    run: Annotated[
        Path | None, typer.Option("--run", help="The run it came from: SLAYER's own spikes join in.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Spikes to run: .npy or .npz (samples, steps, ...).")
    ] = None,
    random: Annotated[int, typer.Option("--random", min=1, help="Without --data: random samples to run.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a random sample.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random samples.")] = 0,
    lava: Annotated[bool, typer.Option(help="Run Lava's fixed-point processes too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Run every form of a network on the same input; write certificate.json beside it, or name the first difference."""
    import json

    from .check_equal import verify_file

    certificate = verify_file(network, run=run, data=data, n_samples=random, n_steps=steps, seed=seed, lava=lava)
    if as_json:
        typer.echo(json.dumps(certificate.as_dict()))
    else:
        typer.echo(f"{network}: {'verified' if certificate.verified else 'NOT VERIFIED'}")
        for comparison in certificate.comparisons:
            typer.echo(f"  {comparison.backend:8} {describe(comparison)}")
    if not certificate.verified:
        raise typer.Exit(1)


def count_synapses(network: object) -> int:
    """Return the number of point-to-point synapses of a network."""
    from sdsnn_core.compaction import n_connections
    from sdsnn_core.network import Network

    assert isinstance(network, Network)
    return sum(n_connections(network, name) for name in network.projections)


def describe(comparison: object) -> str:
    """Return one comparison of a certificate in words."""
    from .verify import Comparison

    assert isinstance(comparison, Comparison)
    if comparison.failed is not None:
        return f"failed: {comparison.failed}"
    text = f"{comparison.bins} bins, {comparison.mismatches} mismatches"
    return text if comparison.first is None else f"{text}, first at {comparison.first}"


COMMANDS = {"export": export, "verify": verify}
