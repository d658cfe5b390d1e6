"""Verification of a network file, and the certificate beside it."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from sdsnn.train.data.spike_files import read_spikes
from sdsnn_core.activity import prepare_inputs, random_spikes
from sdsnn_core.backend import Backend
from sdsnn_core.compaction import compact
from sdsnn_core.errors import NetworkError, UnsupportedNode, one_line
from sdsnn_core.files import write_json
from sdsnn_core.network import Network

from ..files import read_network
from ..nir_format.writer import write_nir
from ..resolution import resolution_of, with_resolution
from .backends import NetxFile, backends_for, write_netx_file
from .certificate import Certificate, verify

RANDOM_SAMPLES: Final = 8
RANDOM_BINS: Final = 2**23  # of all neurons, samples and steps; Lava takes 13 s for 2**22 of a convolutional network


def verify_file(
    path: Path,
    *,
    run: Path | None = None,
    data: Path | None = None,
    n_samples: int | None = None,
    n_steps: int = 32,
    seed: int = 0,
    lava: bool = True,
    extra: Mapping[str, Backend] | None = None,
    folder: Path | None = None,
) -> tuple[Certificate, Path]:
    """Verify a network file, and write the certificate, and traces of a mismatch, beside it.

    Args:
        path: a .nir or .net file, or a run folder with network.nir.
        run: the run folder it was exported from; its SLAYER model is compared too.
        data: file of spikes (samples, steps, ...); otherwise random ones are drawn.
        n_samples: random samples to draw; None for 8, fewer where a large network would make more than 2**23 bins.
        n_steps: steps of each.
        seed: of the drawing.
        lava: run Lava's processes and lava-dl's netx too.
        extra: more back ends by name.
        folder: where to write. Default: beside the file.

    Returns:
        The certificate, and the file it was written to (see `write_certificate`).

    Raises:
        FileError: a file is missing, damaged or of another kind.
        NetworkError: the data do not match the network, or it is not the network of `run`.
    """
    network = read_network(path)
    folder = folder or (path if path.is_dir() else path.parent)
    if data is not None:
        spikes, _ = read_spikes(data)
        inputs, _, _ = prepare_inputs(network, spikes)
    else:
        if n_samples is None:
            bins = n_steps * sum(population.size for population in network.populations.values())
            n_samples = max(1, min(RANDOM_SAMPLES, RANDOM_BINS // bins))
        inputs = random_spikes(np.random.default_rng(seed), network, n_samples, n_steps)
    slayer = {} if run is None else {"slayer": _slayer_backend(run, network, inputs)}
    with tempfile.TemporaryDirectory() as temporary:
        netx, nir_file, why_no_nir = _netx_file(path, network, Path(temporary)), None, ""
        try:
            nir_file = write_nir(network, Path(temporary) / "network.nir")
        except (NetworkError, UnsupportedNode) as error:
            why_no_nir = one_line(error)
        chosen = backends_for(nir_file, netx, lava=lava, extra=extra, why_no_nir=why_no_nir)
        certificate = verify(network, inputs, {**slayer, **chosen.run}, traces=folder, skipped=chosen.skipped)
    return certificate, write_certificate(certificate, folder, random=data is None)


def write_certificate(certificate: Certificate, folder: Path, *, random: bool) -> Path:
    """Write certificate.json to `folder`, but replace no stronger one; return the file that was written.

    Where a certificate.json is there, one on random input goes to certificate-random.json, and one with fewer back ends
    to certificate-partial.json.
    """
    target = folder / "certificate.json"
    if target.exists():
        names = {comparison.backend for comparison in certificate.comparisons}
        if random:
            target = folder / "certificate-random.json"
        elif _backends_in(target) - names:
            target = folder / "certificate-partial.json"
    write_json(target, certificate.as_dict())
    return target


def _backends_in(path: Path) -> set[str]:
    """Return the names of the back ends in a certificate; none where it cannot be read."""
    try:
        return {comparison["backend"] for comparison in json.loads(path.read_text("utf-8"))["comparisons"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _netx_file(path: Path, network: Network, folder: Path) -> NetxFile:
    """Return the file itself if it is a netx file, else one written for the purpose."""
    if path.suffix != ".net":
        return write_netx_file(network, folder / "network.net")
    if "input_weight" in network.provenance:
        return NetxFile(path, None, "its first layer has neurons, whose bias is the input; this back end has no way in")
    return NetxFile(path, "sdsnn", None)


def _slayer_backend(run: Path, network: Network, inputs: dict[str, np.ndarray]) -> Backend:
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trained import load_trained

    from ..pipeline import lower_trained, slayer_backend

    trained = load_trained(RunFolder.open(run))
    compaction = compact(with_resolution(lower_trained(trained), resolution_of(network)))
    if compaction.network.digest() != network.digest():
        raise NetworkError(f"run {run}: expected the network of the file, got another one; export it again")
    return slayer_backend(trained, compaction, next(iter(inputs.values())))
