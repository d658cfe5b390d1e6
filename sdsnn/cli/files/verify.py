"""`sdsnn verify`: every back end against the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..output import print_certificate


def verify(
    network: Annotated[Path, typer.Argument(help="A .nir or .net file, or a run folder.")],
    run: Annotated[
        Path | None, typer.Option("--run", help="The run it was exported from: compares SLAYER's spikes too.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Spikes to run: .npy or .npz (samples, steps, ...).")
    ] = None,
    random: Annotated[
        int | None,
        typer.Option("--random", min=1, help="Without --data: number of random samples. Default: 8, fewer if large."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a random sample.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random samples.")] = 0,
    lava: Annotated[bool, typer.Option(help="Run Lava's fixed-point processes too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Compare every back end with the reference.

    All of them run the same input, and every bin is compared. Writes certificate.json beside the network. A stronger
    certificate that is already there is kept: one on random input goes to certificate-random.json, one with fewer back
    ends to certificate-partial.json. Exit status 1 if anything differs; the first difference is named.
    """
    from sdsnn.deploy.simulate.backends import BACKENDS
    from sdsnn.export.verify.files import verify_file

    from ...zoo.zoo import results_folder

    certificate, written = verify_file(
        network,
        run=run,
        data=data,
        n_samples=random,
        n_steps=steps,
        seed=seed,
        lava=lava,
        extra={"engine": BACKENDS["engine"]},
        folder=results_folder(network),
    )
    if as_json:
        typer.echo(json.dumps(certificate.as_dict()))
    else:
        typer.echo(f"{network}: {'verified' if certificate.verified else 'NOT VERIFIED'}")
        print_certificate(certificate)
    if written.name != "certificate.json":
        typer.echo(f"{written}: written beside the stronger certificate.json", err=True)
    if not certificate.verified:
        raise typer.Exit(1)
