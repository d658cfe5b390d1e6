"""Commands of the export stage. Heavy imports happen inside, when a command runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import files as commands_files
from .train import AFTERWARDS

if TYPE_CHECKING:
    from sdsnn.export.verify.certificate import Backend, Certificate, Comparison

# Back ends of later stages, which this one cannot import: their command modules enter them here.
EXTRA_BACKENDS: dict[str, Backend] = {}
BUNDLERS: list[Callable[[Path], Path]] = []  # what --bundle makes, entered in the same way


def export(
    run: Annotated[Path, typer.Argument(help="Run folder made by `sdsnn train`.")],
    samples: Annotated[int, typer.Option(min=1, help="Test samples on which all forms are compared.")] = 32,
    lava: Annotated[bool, typer.Option(help="Also compare with Lava's fixed-point processes.")] = True,
    resolution: Annotated[
        str, typer.Option(help="Bits by which states are finer than SLAYER's (0..7), or 'auto': as many as fit.")
    ] = "0",
    sinabs: Annotated[bool, typer.Option("--sinabs", help="Also write network.sinabs.nir, for sinabs.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle", help="Also make a folder for someone who has the chip.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON, as the last line.")] = False,
) -> None:
    """Write the trained network, without its dead units, as NIR and netx, and prove that every form spikes alike."""
    from sdsnn.export.pipeline import export_run
    from sdsnn.export.resolution import resolution_of
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn_core.errors import BackendError

    folder = RunFolder.open(run)
    bits = _bits(resolution)
    exported = export_run(folder, verify_samples=samples, lava=lava, extra=EXTRA_BACKENDS, resolution=bits)
    before = sum(pair[0] for pair in exported.compaction.units.values())
    after = sum(pair[1] for pair in exported.compaction.units.values())
    typer.echo(f"{exported.network_file}: {after} of {before} units, {count_synapses(exported.network)} synapses")
    if finer := resolution_of(exported.network):
        typer.echo(f"states: {finer} bits finer than SLAYER's own")
    if sinabs:
        from sdsnn.export.nir_format.sinabs import write_sinabs

        typer.echo(f"{write_sinabs(exported.network, folder.path / 'network.sinabs.nir')}")
    netx = exported.netx
    if netx.path is None:
        typer.echo(f"no network.net: {netx.reason}")
    elif netx.loader == "sdsnn":
        typer.echo(f"{netx.path}: exact only in sdsnn's loader ({netx.reason})")
    else:
        typer.echo(f"{netx.path}")
    print_certificate(exported.certificate)
    for make in BUNDLERS if bundle and exported.certificate.verified else []:
        typer.echo(f"{make(folder.path)}")
    if as_json:
        typer.echo(json.dumps(exported.certificate.as_dict()))
    if not exported.certificate.verified:
        raise BackendError(f"{exported.network_file}: not verified; see {folder.path / 'certificate.json'}")


def _bits(given: str) -> int | None:
    """Return what --resolution asks for: a number of bits, None for 'auto'."""
    from sdsnn_core.errors import NetworkError

    if given == "auto":
        return None
    if not given.isdecimal():
        raise NetworkError(f"--resolution: got {given!r}, allowed are 0 to 7 and 'auto'")
    return int(given)


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
    from sdsnn.export.verify.files import verify_file

    certificate = verify_file(
        network, run=run, data=data, n_samples=random, n_steps=steps, seed=seed, lava=lava, extra=EXTRA_BACKENDS
    )
    if as_json:
        typer.echo(json.dumps(certificate.as_dict()))
    else:
        typer.echo(f"{network}: {'verified' if certificate.verified else 'NOT VERIFIED'}")
        print_certificate(certificate)
    if not certificate.verified:
        raise typer.Exit(1)


def count_synapses(network: object) -> int:
    """Return the number of point-to-point synapses of a network."""
    from sdsnn_core.network import Network

    assert isinstance(network, Network)
    return network.n_synapses()


def print_certificate(certificate: Certificate) -> None:
    """Print one line for every back end."""
    for comparison in certificate.comparisons:
        typer.echo(f"  {comparison.backend:9} {describe(comparison)}")
    for name, reason in certificate.skipped.items():
        typer.echo(f"  {name:9} skipped: {reason}")


def describe(comparison: Comparison) -> str:
    """Return one comparison of a certificate in words."""
    if comparison.failed is not None:
        return f"failed: {comparison.failed}"
    text = f"{comparison.bins} bins, {comparison.mismatches} mismatches"
    if (first := comparison.first) is None:
        return text
    place = f"node {first['node']}, neuron {first['neuron']}, step {first['step']} of sample {first['sample']}"
    where = f"; traces in {comparison.trace_file}" if comparison.trace_file else ""
    return f"{text}, first at {place} (reference {first['reference']}, here {first['here']}){where}"


AFTERWARDS[:] = [export]  # sdsnn train --export
COMMANDS: dict[str, Any] = {"export": export, "verify": verify, **commands_files.COMMANDS}
