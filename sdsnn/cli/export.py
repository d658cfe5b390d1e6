"""`sdsnn export`: from a run to verified files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .output import print_certificate


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of `sdsnn train`.")],
    samples: Annotated[int, typer.Option(min=1, help="Number of test samples that are compared.")] = 32,
    lava: Annotated[bool, typer.Option(help="Also compare with Lava's fixed-point processes.")] = True,
    resolution: Annotated[
        str, typer.Option(help="Extra bits of the neurons' states (0 to 7), or 'auto': as many as fit.")
    ] = "0",
    sinabs: Annotated[bool, typer.Option("--sinabs", help="Also write network.sinabs.nir, for sinabs.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle", help="Also write a folder for someone with the chip.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON, as the last line.")] = False,
) -> None:
    """Write a trained network and verify it.

    The network is written without its dead units, as NIR and where possible as netx; every form is compared with the
    reference simulator, spike by spike. Exit status 2 if anything differs.
    """
    from sdsnn.deploy.simulate.backends import BACKENDS
    from sdsnn.export.pipeline import export_run
    from sdsnn.export.resolution import resolution_of
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn_core.errors import BackendError

    folder = RunFolder.open(run)
    exported = export_run(
        folder, verify_samples=samples, lava=lava, extra={"engine": BACKENDS["engine"]}, resolution=_bits(resolution)
    )
    before, after = (sum(sizes) for sizes in zip(*exported.compaction.units.values(), strict=True))
    typer.echo(f"{exported.network_file}: {after} of {before} units, {exported.network.n_synapses()} synapses")
    if extra_bits := resolution_of(exported.network):
        typer.echo(f"states: {extra_bits} bits finer than SLAYER's own")
    if sinabs:
        from sdsnn.export.nir_format.sinabs import write_sinabs

        typer.echo(f"{write_sinabs(exported.network, folder.path / 'network.sinabs.nir')}")
    netx = exported.netx
    if netx.path is None:
        typer.echo(f"no network.net: {netx.reason}")
    else:
        typer.echo(f"{netx.path}" + (f": exact only in sdsnn's loader ({netx.reason})" if netx.reason else ""))
    certificate = exported.certificate
    print_certificate(certificate)
    if bundle and certificate.verified:
        from sdsnn.deploy.loihi2.bundle import make_bundle

        typer.echo(f"{make_bundle(folder.path)}")
    if as_json:
        typer.echo(json.dumps(certificate.as_dict()))
    if not certificate.verified:
        raise BackendError(f"{exported.network_file}: not verified; see {folder.path / 'certificate.json'}")


def _bits(option: str) -> int | None:
    """Return the bits of --resolution, None for 'auto'."""
    from sdsnn_core.errors import NetworkError

    if option == "auto":
        return None
    if not option.isdecimal():
        raise NetworkError(f"--resolution: expected 0 to 7 or auto, got {option}")
    return int(option)
